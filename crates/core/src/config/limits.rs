//! `[limits]` and `[timeouts]`.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::order;
use super::units::{Bytes, Span};

/// `[limits]`: a named limit for everything that grows; one field for each key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct Limits {
    /// Client connections at once; requests on further connections wait until one is closed, except requests for
    /// `/healthz`, `/readyz` and `/metrics`. The number is lower if the process may not open three files per connection
    /// (`RLIMIT_NOFILE`, which is raised to its hard limit at start-up).
    pub connections: usize,
    /// Connections at once from one IPv4 address or one IPv6 network of 64 bits; further ones are closed immediately.
    /// Addresses in `trusted_proxies` are exempt; the clients that they name by the PROXY protocol are not.
    ///
    /// Default: a quarter of limits.connections, at least 64.
    pub connections_per_address: usize,
    /// Response bytes in memory that clients have not read yet, for all clients together: manifests, lists and pieces
    /// of blobs. A manifest or list larger than 64KiB waits until there is room. One client may use a quarter, and so
    /// may the responses arriving from one upstream. While the limit is reached, a client that holds some of this
    /// memory and reads less than 64KiB in 10s is disconnected.
    pub in_flight: Bytes,
    /// The part of `limits.in_flight` that may wait in memory for the socket of one HTTP/2 connection. Cached blobs are
    /// read only while the client's flow-control window is open.
    pub in_flight_per_connection: Bytes,
    /// Requests that may wait for one upstream at once; further ones get 429. The number applies to each upstream.
    /// Requests answered from the cache do not wait.
    pub waiting: usize,
    /// Logins being checked at once, of which one address may have a quarter; further ones get 429. A login that was
    /// right within the last hour is exempt.
    pub logins: usize,
    /// Wrong logins per minute from one address (`trusted_proxies`) or IPv6 network of 64 bits; further logins get 429
    /// before the password is checked. Repeated wrong logins for one user name from one address must wait longer each
    /// time, up to a minute. 0: no limit per address.
    pub wrong_logins: u32,
    /// Size of a request's line and headers; a larger one gets 431.
    pub request_head: Bytes,
    /// Size of a form posted to the token endpoint; a larger one gets 413.
    pub form_body: Bytes,
    // P-88
    /// Size of a manifest, pulled or pushed.
    pub manifest: Bytes,
    /// Size of a list of tags or of referrers.
    pub listing: Bytes,
    /// Upstream tokens cached at once.
    pub tokens: usize,
    /// Memory for them together. A token of more than 64 KiB is refused.
    pub token_memory: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 0,
            in_flight: Bytes(64 << 20),
            in_flight_per_connection: Bytes(256 << 10),
            waiting: 1024,
            logins: 128,
            wrong_logins: 20,
            request_head: Bytes(64 << 10),
            form_body: Bytes(64 << 10),
            manifest: Bytes(4 << 20),
            listing: Bytes(8 << 20),
            tokens: 10_000,
            token_memory: Bytes(16 << 20),
        }
    }
}

impl Limits {
    /// How many connections one address may have at once, of so many that all may have.
    pub fn per_address(&self, of: usize) -> usize {
        match self.connections_per_address {
            0 => (of / 4).max(64),
            set => set,
        }
    }
}

/// `[timeouts]`: a deadline for everything that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct Timeouts {
    /// To connect to an upstream, TLS included.
    pub connect: Span,
    // P-113
    /// Until an upstream's response begins.
    pub first_byte: Span,
    // P-113
    /// Until the proxy's response to the client begins, whatever it waits for; then 504.
    pub head: Span,
    // P-114
    /// Silence within an upstream's body, which is then resumed where it stopped; and within a manifest that a client
    /// pushes, which is then refused.
    pub idle: Span,
    /// Until the first byte of the first request on a client's new connection.
    pub client_first_byte: Span,
    // P-123
    /// Time without a request on a client's connection, from its beginning or after a response; then it is closed.
    pub client_idle: Span,
    /// A client that reads no bytes; then its connection is closed. On HTTP/2, a response body of which the client
    /// reads nothing; then that stream is reset. A push whose client sends nothing, or whose upstream reads nothing;
    /// then it is aborted.
    pub client_stall: Span,
    // P-124
    /// How long transfers that have begun may continue after SIGTERM.
    pub drain: Span,
    /// Longest pause before the proxy contacts an unreachable address again: half a second after the first failure, and
    /// twice as long after each further one.
    pub down: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Span::seconds(3),
            first_byte: Span::seconds(10),
            head: Span::seconds(25),
            idle: Span::seconds(25),
            client_first_byte: Span::seconds(10),
            client_idle: Span::seconds(120),
            client_stall: Span::seconds(300),
            drain: Span::seconds(30),
            down: Span::seconds(10),
        }
    }
}
