//! Why an upstream gave no usable answer. A failure names no address, since clients read it and the address may be internal.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::outcome::Reason;
use crate::unconnected::Unconnected;

/// When a client may try again after a failure that may be over by then.
const SOON: Duration = Duration::from_secs(1);

/// Why an upstream gave no usable answer, in words for the client. Cheap to clone: many waiting requests may get one failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection to any of its addresses.
    #[error("{0}")]
    Unreachable(Unconnected),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// All addresses, or a host that they lead to, failed a moment ago and are not asked for a while.
    #[error("{trouble} a moment ago; it is not asked again for some seconds")]
    Resting {
        /// How they failed.
        trouble: Trouble,
        /// How much of the while is left.
        left: Duration,
    },
    /// 5xx.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// Its connection cap is reached.
    #[error("all connections that this proxy may have to it are in use (upstream.max_connections)")]
    Busy,
    /// It sent compressed bytes although asked not to; they are not decoded (P-93).
    #[error("it sent compressed content although asked not to")]
    Coded,
    /// The bytes are not those of the digest (P-85).
    #[error("its content does not match the requested digest")]
    DigestMismatch,
    /// No manifest in any known form.
    #[error("its response is not a manifest")]
    NoManifest,
    /// More than a named limit allows.
    #[error("its response is larger than the limit")]
    TooLarge,
    /// A redirect that is not followed: no target, too many, to http, or to a private address.
    #[error("its redirect is not followed: {0}")]
    Redirect(&'static str),
    /// Its token server is not one the password may go to (architecture: realms).
    #[error("its token server is not trusted with the password; see upstream.realms")]
    RealmNotTrusted,
    /// Its cloud issues no login for this proxy (`upstream.login`).
    #[error("this proxy's login to it could not be renewed; it tries again soon")]
    NotLoggedIn {
        /// How long the identity service is not asked.
        left: Duration,
    },
    /// Its answer makes no sense.
    #[error("its response is invalid: {0}")]
    Nonsense(&'static str),
    /// The client's request body broke off or stalled: the upstream did not fail.
    #[error("the request's body broke off")]
    ClientBody,
}

/// How an address failed, so that it is not asked for a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trouble {
    /// It gave no answer in time.
    #[default]
    Silence,
    /// There was no connection to it.
    Unconnected(Unconnected),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("no answer in time"),
            Self::Unconnected(why) => why.fmt(f),
        }
    }
}

impl Failure {
    /// Whether the upstream could not be asked, or could not answer.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut
            | Self::Resting { .. }
            | Self::Broken
            | Self::Busy
            | Self::NotLoggedIn { .. } => true,
            Self::Status(status) => status.is_server_error(),
            Self::Coded
            | Self::DigestMismatch
            | Self::NoManifest
            | Self::TooLarge
            | Self::Redirect(_)
            | Self::RealmNotTrusted
            | Self::Nonsense(_)
            | Self::ClientBody => false,
        }
    }

    /// When the client may try again. `None`: trying again does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Resting { left, .. } => Some(*left),
            Self::NotLoggedIn { left } => Some((*left).max(SOON)),
            failure => failure.is_silence().then_some(SOON),
        }
    }

    /// The reason in header, log and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) => Reason::Unreachable,
            Self::TimedOut => Reason::TimedOut,
            Self::Resting { .. } => Reason::Resting,
            Self::Status(_) => Reason::UpstreamError,
            Self::Broken => Reason::Broke,
            Self::Busy => Reason::Busy,
            Self::Coded => Reason::Coded,
            Self::DigestMismatch => Reason::DigestMismatch,
            Self::NoManifest => Reason::NoManifest,
            Self::TooLarge => Reason::TooLarge,
            Self::Redirect(_) => Reason::RedirectRefused,
            Self::RealmNotTrusted => Reason::RealmNotTrusted,
            Self::NotLoggedIn { .. } => Reason::NotLoggedIn,
            Self::Nonsense(_) => Reason::Unusable,
            Self::ClientBody => Reason::RequestBroke,
        }
    }
}
