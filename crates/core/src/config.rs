//! The configuration: one set of keys for every platform, read once, validated once.
//!
//! The core reads text and pairs that it is given; files and the environment belong to the platform.
//!
//! What a key means is said once, where its field is: `docs/reference/configuration.md` and the JSON Schema for editors
//! are made from the comments here (feature `schema`). A default that is no value follows behind `Default:`.

mod access;
mod block;
mod cache;
mod check;
mod clients;
mod delivery;
mod egress;
mod error;
mod events;
#[cfg(feature = "schema")]
mod formats;
mod groups;
mod issuer;
mod limits;
mod load;
mod log;
#[cfg(feature = "schema")]
mod order;
mod original;
mod overlay;
mod page;
mod platform;
mod policy;
mod quota;
#[cfg(feature = "schema")]
pub mod reference;
mod renamed;
mod tag_rule;
mod timer;
mod tls;
mod units;
mod upstream;
mod warm_rule;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::access::AccessRule;
pub(crate) use self::access::RuleSubject;
pub use self::block::BlockRule;
pub use self::cache::{CacheConfig, Fill, OBJECT_STORES, StoreAddress};
pub use self::check::Warning;
pub use self::clients::{Auth, ClientsConfig};
pub use self::delivery::{DeliveryConfig, Links, Miss};
pub use self::egress::{ALLOWED as ALLOWED_EGRESS, Egress};
pub use self::error::ConfigError;
pub use self::events::{EventsConfig, ReceiverUrl, key_bytes};
pub use self::groups::Groups;
pub use self::issuer::{IssuerConfig, NamePart, NameTemplate};
pub use self::limits::{Limits, Timeouts};
pub use self::load::{Reader, Sources};
pub use self::log::{Log, LogClient, LogFormat, LoggedClient, Metrics};
pub use self::page::{PageAuth, PageConfig};
pub use self::policy::{PolicyMode, PolicyRule, RequiredSigner, SignerSource, VerdictDefault};
pub use self::quota::{Quota, QuotaConfig, QuotaMode};
pub use self::tag_rule::{HoldNew, HoldRule, Revalidate, TagRule};
pub use self::timer::TimerConfig;
pub use self::tls::Tls;
pub use self::units::{Bytes, Span};
pub use self::upstream::{Backend, CloudLogin, Credential, Redirects, Repositories, UpstreamConfig};
pub use self::warm_rule::WarmRule;
use crate::platform::Profile;
use crate::secret::Secret;

/// Where we listen if nothing says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:3000";

/// Everything that can be configured: one field for each key or section, so it has more fields than other structs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct Config {
    /// The platform the proxy runs on: `server`, `aliyun-fc`, `aws-lambda`, `tencent-scf`, `cloud-run`,
    /// `azure-container-apps`, `cloudflare-workers`. Detected from the environment variables that the platform sets.
    ///
    /// Default: detected.
    pub platform: Profile,
    /// Address and port to listen on. `--listen` overrides `PORT`, and `PORT` overrides this key.
    pub listen: String,
    /// The proxy's address for clients: scheme and host. Realm, Location and Link are built from it. Set it if another
    /// server stands in front.
    ///
    /// Default: from `Host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<Url>,
    /// Networks from which the proxy trusts the headers `X-Forwarded-For`, `-Host` and `-Proto`, except on connections
    /// whose client the PROXY protocol names.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Vec<String>", inner(regex(pattern = "^[0-9A-Fa-f.:]+/[0-9]{1,3}$")))
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// `true`: every connection from `trusted_proxies` must begin with a PROXY protocol header, version 1 or 2, which
    /// names the client; otherwise it is closed. Connections from other addresses must not begin with one.
    pub proxy_protocol: bool,
    /// File with the key that encrypts tokens and upload sessions: any text, at least 32 random characters. Replicas
    /// must share it. A random key, and so every login, ends with the process.
    ///
    /// Default: random key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key_file: Option<String>,
    /// The key itself, for platforms without secret files. A file is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<Secret>,
    /// A Docker `config.json`; every upstream without an account of its own uses the logins in it, credential helpers
    /// included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_config: Option<String>,
    /// Unix socket for `registry-proxy cache`; it answers the proxy's own user and root. `none`: no socket. If the
    /// cache is not a directory: `$XDG_RUNTIME_DIR/registry-proxy.sock`. Hosts that share a cache directory need one
    /// socket each.
    ///
    /// Default: in the cache's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_socket: Option<String>,
    /// `true`: adds the built-in registries to the configured upstreams. Without any upstream they are always served.
    pub catalogue: bool,
    /// Who may use the proxy, and how clients log in.
    pub clients: ClientsConfig,
    /// Who may pull and push what. The first rule decides that is for the client and has the repository in `deny` or in `allow`; `deny`
    /// goes before `allow`. Once there is a rule, what none allows is refused.
    pub access: Vec<AccessRule>,
    /// Limits on what clients use in an hour and in a day.
    pub quota: QuotaConfig,
    /// How blobs reach clients on platforms that limit the size of responses.
    pub delivery: DeliveryConfig,
    /// Where content is cached, how much of it, and for how long it is fresh.
    pub cache: CacheConfig,
    /// What the proxy never serves, with what clients are told: `{ digest = "sha256:…", reason = "…" }` for a manifest or
    /// blob, `{ match = "docker.io/evil/**", reason = "…" }` for repositories and tags.
    pub block: Vec<BlockRule>,
    /// Whose signature images need, and which service says yes or no to them: `{ match = "ghcr.io/acme/**", require = { key_file =
    /// "cosign.pub" }, verdict_url = "https://scanner.internal/verdict", mode = "enforce" }`. The first rule that matches a repository
    /// decides. `mode` is `warn` (the default: what is not as the rule wants is served and logged) or `enforce` (it is refused). The
    /// key is a public one in PEM: ECDSA P-256, Ed25519, or RSA of 2048 to 8192 bits. In its place may stand an identity: `{ issuer =
    /// "https://token.actions.githubusercontent.com", subject = "https://github.com/acme/app/**", trusted_root_file =
    /// "trusted_root.json" }`. The service is waited for as long as `verdict_timeout` says (`2s`); then `verdict_default` counts
    /// (`deny`); its answer counts for `verdict_life` (`10m`); `verdict_insecure = true` allows `http://`. Needs a build with the
    /// feature `policy`, as the packages are.
    pub policy: Vec<PolicyRule>,
    /// Images that the server fetches by itself, so that they are cached when somebody pulls them: `{ images =
    /// ["docker.io/library/alpine:3.*"], every = "6h" }`. Functions and Workers run when they are called: there a timer of the
    /// platform begins it (`timer`).
    pub warm: Vec<WarmRule>,
    /// What a function or Worker does when a timer of its platform calls it: it fetches the images of `[[warm]]`.
    pub timer: TimerConfig,
    /// HTTPS without a server in front.
    pub tls: Tls,
    /// The log.
    pub log: Log,
    /// Metrics.
    pub metrics: Metrics,
    /// The pages for people.
    pub page: PageConfig,
    /// Limits on connections, memory and sizes.
    pub limits: Limits,
    /// How long the proxy waits for what.
    pub timeouts: Timeouts,
    /// Who is told when something happens.
    pub events: Vec<EventsConfig>,
    /// The registries that the proxy serves; it serves no others.
    pub upstream: Vec<UpstreamConfig>,
    /// Sections and variables with an old name, for warnings.
    #[serde(skip)]
    pub old_names: Vec<String>,
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
            access: Vec::new(),
            quota: QuotaConfig::default(),
            cache: CacheConfig::default(),
            delivery: DeliveryConfig::default(),
            block: Vec::new(),
            policy: Vec::new(),
            warm: Vec::new(),
            timer: TimerConfig::default(),
            tls: Tls::default(),
            log: Log::default(),
            metrics: Metrics::default(),
            page: PageConfig::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            events: Vec::new(),
            upstream: Vec::new(),
            old_names: Vec::new(),
        }
    }
}

impl Config {
    /// The effective configuration as TOML, secrets masked.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Whether this address is one of `trusted_proxies`.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|trusted| trusted.contains(&address))
    }
}
