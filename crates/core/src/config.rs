//! The configuration: one set of keys for every platform, read once, validated once.
//!
//! The core reads text and pairs that it is given; files and the environment belong to the platform. The reference
//! of every key is [`reference::KEYS`], from which `docs/reference/configuration.md` is made.

mod cache;
mod check;
mod clients;
mod delivery;
mod egress;
mod error;
mod load;
mod log;
mod original;
mod overlay;
mod platform;
mod quota;
pub mod reference;
mod units;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::cache::{CacheConfig, Fill, OBJECT_STORES, Revalidate, StoreAddress, TagRule};
pub use self::check::Warning;
pub use self::clients::{Auth, ClientsConfig};
pub use self::delivery::{DeliveryConfig, Links, Miss};
pub use self::egress::{ALLOWED as ALLOWED_EGRESS, Egress};
pub use self::error::ConfigError;
pub use self::load::{Reader, Sources};
pub use self::log::{Log, LogClient, LogFormat, LoggedClient, Metrics};
pub use self::quota::{Quota, QuotaConfig, QuotaMode};
pub use self::units::{Bytes, Span};
use crate::platform::Profile;
use crate::secret::Secret;

/// Where we listen if nothing says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:3000";

/// Everything that can be configured: one field for each key or section, so it has more fields than other structs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where we run: recognised, unless it is said.
    pub platform: Profile,
    /// Address and port to listen on.
    pub listen: String,
    /// How clients reach us, where `Host` does not say: realm, Location and Link are built from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<Url>,
    /// Whose `X-Forwarded-*` headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether they begin each connection with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// File with the key that seals tokens and upload sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key_file: Option<String>,
    /// That key itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<Secret>,
    /// Docker configuration whose credentials every upstream without its own uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_config: Option<String>,
    /// Where cache commands are taken from the same machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_socket: Option<String>,
    /// Adds the built-in catalogue to the upstreams named here.
    pub catalogue: bool,
    /// Who may use the proxy.
    pub clients: ClientsConfig,
    /// How much clients may have.
    pub guard: QuotaConfig,
    /// Where content is kept.
    pub cache: CacheConfig,
    /// How blobs go to clients.
    pub delivery: DeliveryConfig,
    /// Certificates, where we serve HTTPS ourselves.
    pub tls: Tls,
    /// The log.
    pub log: Log,
    /// Metrics.
    pub metrics: Metrics,
    /// Limits on what grows.
    pub limits: Limits,
    /// Deadlines of what waits.
    pub timeouts: Timeouts,
    /// The registries behind us: a closed set.
    pub upstream: Vec<UpstreamConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            platform: Profile::Server,
            listen: DEFAULT_LISTEN.to_owned(),
            public_url: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            signing_key_file: None,
            signing_key: None,
            docker_config: None,
            admin_socket: None,
            catalogue: false,
            clients: ClientsConfig::default(),
            guard: QuotaConfig::default(),
            cache: CacheConfig::default(),
            delivery: DeliveryConfig::default(),
            tls: Tls::default(),
            log: Log::default(),
            metrics: Metrics::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            upstream: Vec::new(),
        }
    }
}

impl Config {
    /// Whether this address is one of `trusted_proxies`.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|trusted| trusted.contains(&address))
    }
}

/// `[tls]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Certificate chain, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<String>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// How often certificate and key files, ours and those of upstreams, are looked at for a change; 0: never.
    pub watch_interval: Span,
}

impl Default for Tls {
    fn default() -> Self {
        Self { cert_file: None, key_file: None, watch_interval: Span::seconds(30) }
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

/// `[limits]`: a named limit for everything that grows; one field for each key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections from clients at once.
    pub connections: usize,
    /// Of them, those of one address; 0: a quarter of them, and not fewer than 64.
    pub connections_per_address: usize,
    /// Answers in memory that clients have not taken yet, all together.
    pub in_flight: Bytes,
    /// Of one HTTP/2 connection, what waits in memory for its socket.
    pub in_flight_per_connection: Bytes,
    /// Requests at once that wait for one upstream.
    pub waiting: usize,
    /// Logins that are being checked at once.
    pub logins: usize,
    /// Wrong logins of one address in a minute; 0: as many as it likes.
    pub wrong_logins: u32,
    /// A request's line and headers.
    pub request_head: Bytes,
    /// A form posted to the token endpoint.
    pub form_body: Bytes,
    /// A manifest (P-88).
    pub manifest: Bytes,
    /// A list of tags, or of referrers.
    pub listing: Bytes,
    /// Upstream tokens remembered.
    pub tokens: usize,
    /// What they take together.
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

/// `[timeouts]`: a deadline for everything that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To connect to an upstream, TLS included.
    pub connect: Span,
    /// Until an upstream's answer begins (P-113).
    pub first_byte: Span,
    /// Until our own answer begins, whatever happens inside (P-113).
    pub head: Span,
    /// Silence in the middle of an upstream's body, before we resume it (P-114).
    pub idle: Span,
    /// A new connection, until the first byte of its first request.
    pub client_first_byte: Span,
    /// A connection that asks nothing (P-123).
    pub client_idle: Span,
    /// A client that takes no bytes.
    pub client_stall: Span,
    /// Transfers under way when we are told to stop (P-124).
    pub drain: Span,
    /// How long an address that failed is left alone.
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

/// `[[upstream]]`: a registry, or several addresses of it; one field for each key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// Path prefix and `ns` value: `ghcr.io`.
    pub name: String,
    /// Its addresses, tried in order; for a name of the catalogue they are known.
    pub urls: Vec<Url>,
    /// Whether it serves names that say no registry.
    pub default: bool,
    /// Virtual hosts: names of ours that mean this upstream.
    pub hosts: Vec<String>,
    /// Our account there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File with its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// Accounts for some of its repositories; the longest prefix wins, and equal ones are a pool.
    pub credentials: Vec<Credential>,
    /// Token servers its password may go to besides its own host, registrable domain and profile.
    pub realms: Vec<Url>,
    /// Private hosts it may redirect to.
    pub redirect_hosts: Vec<String>,
    /// Which repositories may be used.
    pub repositories: Repositories,
    /// What becomes of its redirects.
    pub redirects: Redirects,
    /// Whether pushes and deletions pass.
    pub push: bool,
    /// Certificates trusted besides the system's, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Our certificate there, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert_file: Option<String>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_file: Option<String>,
    /// Permits plain HTTP, and certificates nobody signed: for a test registry.
    pub insecure: bool,
    /// The way out: `http://`, `https://`, `socks5://`, or `none`; otherwise `HTTPS_PROXY` and `NO_PROXY` decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Egress>,
    /// Connections to it at once.
    pub max_connections: usize,
    /// Docker configuration to take credentials from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_config: Option<String>,
    /// Set by `REGISTRY_BACKEND` only: this is all there is, and names are never read as hosts.
    #[serde(skip)]
    pub backend: Option<Backend>,
}

/// What `REGISTRY_BACKEND` adds to an upstream.
#[derive(Debug, Clone)]
pub struct Backend {
    /// `DEFAULT_BACKEND_HOST`: where the upstream's redirects lead, and the only host that requests outside `/v2/`
    /// are relayed to.
    pub storage: Url,
}

/// `credentials = [{ prefix = "acme/", … }]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Beginning of the repositories' names.
    pub prefix: String,
    /// Our account.
    pub username: String,
    /// Its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File with its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
}

/// `repositories = { allow = […], deny = […] }`: `*` within a segment, `**` across segments.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Repositories {
    /// Only these, where any are named.
    pub allow: Vec<String>,
    /// Not these, whatever `allow` says.
    pub deny: Vec<String>,
}

impl Repositories {
    /// Whether the rules let this repository through.
    pub fn permit(&self, name: &str) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| crate::pattern::matches(pattern, name));
        (self.allow.is_empty() || matches(&self.allow)) && !matches(&self.deny)
    }
}

/// What becomes of an upstream's redirects of blobs. Manifests are always followed, and a HEAD is never answered
/// with a redirect (P-68, P-75).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirects {
    /// We follow them; the client sees none.
    #[default]
    Follow,
    /// The client follows them.
    Pass,
    /// The client is sent back to us, and we fetch the target.
    Rewrite,
}
