//! `[[upstream]]`: a registry, its addresses, the accounts for it, and what may be used of it.

use serde::{Deserialize, Serialize};
use url::Url;

use super::egress::Egress;
#[cfg(feature = "schema")]
use super::order;
use crate::catalogue;
use crate::secret::Secret;

/// `[[upstream]]`: a registry, or several addresses of it; one field for each key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("x-order" = order::of::<Self>(), "required" = ["name"]))
)]
pub struct UpstreamConfig {
    /// Path prefix and `ns` value, such as `ghcr.io`.
    pub name: String,
    /// Addresses, tried in order. The path of an address is placed before `/v2/`.
    ///
    /// Default: from the catalogue.
    pub urls: Vec<Url>,
    /// `true`: serves names without a registry.
    pub default: bool,
    /// Virtual hosts: host names of the proxy that stand for this upstream.
    pub hosts: Vec<String>,
    /// The proxy's account there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its password; a file is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File with its password. Read again at SIGHUP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// Accounts for some repositories, `{ prefix, username, password_file }`; the longest prefix wins, and `""` is the
    /// prefix of all. Several accounts with the same prefix form a pool (`username` belongs to the pool of `""`): the
    /// proxy uses them in turn, or by the remaining pulls that the registry reports for each. All accounts of a pool
    /// must have the same read access; pushes use the first.
    pub credentials: Vec<Credential>,
    /// The cloud that issues the proxy's login at its own registry, to the identity of the instance, pod or function that the
    /// proxy runs as: `ecr` (Amazon), `gar` (Google) or `acr` (Azure). The proxy renews the login by itself. In place of
    /// `username`, `credentials` and `docker_config`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<CloudLogin>,
    /// With `login = "ecr"`: the role to assume first, `arn:aws:iam::…:role/…`.
    ///
    /// Default: that of the identity itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// With `login = "gar"`: the workload identity provider, in place of the `audience` of the file that
    /// `GOOGLE_APPLICATION_CREDENTIALS` names. With `login = "acr"`: what Microsoft Entra is asked for a token for.
    ///
    /// Default: the file's; for `acr` `https://containerregistry.azure.net`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// With `login = "acr"`: the Microsoft Entra tenant, an id or a domain.
    ///
    /// Default: `AZURE_TENANT_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Token servers that may get the password besides those on the registry's own host, on its registrable domain, and
    /// those built in for known registries. `http://` only with `insecure`, and if all `urls` are `http://` too.
    pub realms: Vec<Url>,
    /// Private hosts it may redirect to, with or without a port. A private upstream may redirect to any private
    /// address; an upstream is private if `urls` contains a private IP address, or a host without a public suffix
    /// (`registry`, `harbor.lan`). The address that its name resolves to does not matter.
    pub redirect_hosts: Vec<String>,
    /// Which repositories may be used.
    pub repositories: Repositories,
    /// What happens to its redirects of blobs. `follow`: the proxy follows them. `pass`: the client follows them.
    /// `rewrite`: the client is redirected to the proxy, which fetches the target.
    pub redirects: Redirects,
    /// `true`: pushes and deletions are passed to the upstream. `false`: they get 405.
    pub push: bool,
    /// Certificates (PEM) trusted besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Client certificate for this upstream (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert_file: Option<String>,
    /// Its private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_file: Option<String>,
    /// `true`: allows `http://`, and does not verify the registry's certificate. For test registries.
    pub insecure: bool,
    /// Forward proxy to the upstream: `http://`, `https://`, `socks5://`, `socks5h://`, or `none` to connect directly.
    /// If unset, `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` decide.
    ///
    /// Default: from the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Egress>,
    /// Connections to it at once, including those to the targets of its redirects; 0: no limit. With a limit,
    /// connections are not reused for the next request.
    pub max_connections: usize,
    /// `true`: while traces are exported, requests to its `urls` name the trace they belong to (`traceparent`). Token
    /// servers elsewhere and targets of redirects are never told.
    pub send_traceparent: bool,
    /// A Docker `config.json` that contains the account for this upstream, credential helpers included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_config: Option<String>,
    /// Set by `REGISTRY_BACKEND` only: this is all there is, and names are never read as hosts.
    #[serde(skip)]
    pub backend: Option<Backend>,
}

/// The clouds that issue logins at their own registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CloudLogin {
    /// Amazon Elastic Container Registry.
    Ecr,
    /// Google Artifact Registry.
    Gar,
    /// Azure Container Registry.
    Acr,
}

impl std::fmt::Display for CloudLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ecr => "ecr",
            Self::Gar => "gar",
            Self::Acr => "acr",
        })
    }
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct Credential {
    /// Beginning of the repositories' names, such as `acme/`; `""` is the prefix of all.
    pub prefix: String,
    /// The proxy's account.
    pub username: String,
    /// Its password; a file is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File with its password. Read again at SIGHUP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
}

/// `repositories = { allow = […], deny = […] }`: `*` within a segment, `**` across segments.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct Repositories {
    /// Patterns of repositories that may be used: `*` within a segment, `**` across segments.
    ///
    /// Default: all.
    #[cfg_attr(feature = "schema", schemars(inner(regex(pattern = "^[a-z0-9._/*-]+$"))))]
    pub allow: Vec<String>,
    /// Patterns of repositories that may not be used, even if `allow` matches.
    #[cfg_attr(feature = "schema", schemars(inner(regex(pattern = "^[a-z0-9._/*-]+$"))))]
    pub deny: Vec<String>,
}

impl UpstreamConfig {
    /// Whether it is Docker Hub, by its name or by one of its addresses (P-10).
    pub fn is_docker_hub(&self) -> bool {
        let is_there = |url: &Url| url.port().is_none() && url.host_str().is_some_and(catalogue::is_docker_hub);
        catalogue::is_docker_hub(&self.name) || self.urls.iter().any(is_there)
    }
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Redirects {
    /// The proxy follows them.
    #[default]
    Follow,
    /// The client follows them.
    Pass,
    /// The client is redirected to the proxy, which fetches the target.
    Rewrite,
}
