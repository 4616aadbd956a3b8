//! Why there is no connection to a server.

/// Why there is no connection: what of it concerns whoever pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unconnected {
    /// The host's name has no address, or nobody could say.
    #[error("its host name was not resolved")]
    NotResolved,
    /// Nobody listens there, or a firewall says so.
    #[error("the connection was refused")]
    Refused,
    /// No connection came about within `timeouts.connect`.
    #[error("the connection timed out")]
    TimedOut,
    /// TLS: we do not accept its certificate.
    #[error("its certificate was not accepted")]
    Certificate,
    /// The proxy on the way out was not reached, or does not let it through.
    #[error("the forward proxy gave no connection")]
    Proxy,
    /// Anything else, or nothing is known.
    #[error("no connection")]
    Unknown,
}
