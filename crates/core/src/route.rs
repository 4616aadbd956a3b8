//! Turns host, path and query into a [`Route`]. Only this module knows URLs. Pure, without I/O.
//!
//! Three ways of naming a registry work at once (P-01 … P-13): a virtual host, a prefix of the path, and the `ns`
//! parameter that containerd adds. Paths are read from the right, because repositories may be called `manifests`.

mod admin;
mod endpoint;
pub(crate) mod image;
pub(crate) mod naming;
mod search;

use std::sync::Arc;

pub use self::admin::AdminTarget;
pub use self::endpoint::Endpoint;
use self::endpoint::split_endpoint;
pub use self::naming::{Mirrors, MirrorsError};
use crate::catalogue;
use crate::config::{Config, UpstreamConfig};
use crate::error::Error;
use crate::name::RepositoryName;
use crate::secret::Secret;

/// How requests find their upstream.
pub struct Routes {
    upstreams: Vec<Names>,
    /// Whether any upstream has a host of its own.
    has_hosts: bool,
    default: Option<usize>,
    /// With `REGISTRY_BACKEND` names are never read as hosts, and `ns` means nothing.
    is_backend: bool,
    path_secret: Option<Secret>,
    /// Docker Hub, where `page.search` passes searches to it.
    searched: Option<usize>,
}

/// The names of one upstream.
struct Names {
    name: String,
    /// Other `ns` values that mean it: the catalogue's aliases, and its own addresses.
    aliases: Vec<String>,
    hosts: Vec<String>,
    is_docker_hub: bool,
}

/// The parts of a request that say what it wants.
#[derive(Debug, Clone, Copy)]
pub struct RequestTarget<'a> {
    /// The host the client speaks to, port included where it said one.
    pub host: &'a str,
    /// The path, undecoded.
    pub path: &'a str,
    /// The query, undecoded.
    pub query: Option<&'a str>,
}

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`
    Ping(EntryPoint),
    /// `/token`
    Token(EntryPoint),
    /// `/v2/_catalog`
    Catalog,
    /// Something in a repository.
    Repository(Arc<Target>),
    /// Outside `/v2/`, with `REGISTRY_BACKEND` only: what lies at `DEFAULT_BACKEND_HOST`.
    Storage,
    /// `/`, and `/<secret>/`
    Front(EntryPoint),
    /// `/v1/search`, and `/<secret>/v1/search`
    Search {
        /// Where the client entered.
        entry: EntryPoint,
        /// Docker Hub.
        upstream: usize,
    },
    /// `/` with `REGISTRY_BACKEND`: the page for a browser, and for others what [`Route::Storage`] is.
    StorageRoot(EntryPoint),
}

/// Where a client entered, as far as its token endpoint depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// What stands before `/v2/` or `/token`: nothing, `/ghcr.io`, `/<secret>` (P-03).
    pub prefix: String,
    /// The upstream, where host or prefix say it.
    pub upstream: Option<usize>,
}

/// A repository of an upstream, and what is wanted there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where the client entered.
    pub entry: EntryPoint,
    /// Which upstream.
    pub upstream: usize,
    /// The repository's name there.
    pub name: RepositoryName,
    /// The name that the client uses, from which it computes scopes (P-35).
    pub client_name: String,
    /// The path that the client uses, up to and with the name: Location and Link begin with it.
    pub client_path: String,
    /// The `ns` value that chose the upstream, if one did (P-08).
    pub namespace: Option<String>,
    /// How the upstream was found.
    pub matched_by: MatchedBy,
    /// What is wanted.
    pub endpoint: Endpoint,
}

/// How an upstream was found (P-01).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy {
    /// The host that the client speaks to, or a prefix before `/v2/`.
    EntryPoint,
    /// `REGISTRY_BACKEND`: there is no other.
    Backend,
    /// The first segment of the path.
    Path,
    /// The `ns` parameter.
    Namespace,
    /// Nothing was said: it is the default.
    Default,
}

impl MatchedBy {
    /// Whether `ns` can only repeat what the path or the host says.
    fn is_settled(self) -> bool {
        match self {
            Self::EntryPoint | Self::Backend | Self::Path => true,
            Self::Namespace | Self::Default => false,
        }
    }
}

impl Routes {
    /// Takes the names from the configuration.
    pub fn new(config: &Config) -> Self {
        let names = |upstream: &UpstreamConfig| {
            let addresses = upstream.urls.iter().filter_map(|url| {
                let host = url.host_str()?;
                Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
            });
            let known = catalogue::find(&upstream.name).map_or(&[][..], |known| known.aliases);
            Names {
                name: upstream.name.clone(),
                aliases: addresses.chain(known.iter().map(|alias| (*alias).to_owned())).collect(),
                hosts: upstream.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
                is_docker_hub: upstream.is_docker_hub(),
            }
        };
        Self {
            upstreams: config.upstream.iter().map(names).collect(),
            searched: searched(config),
            has_hosts: config.upstream.iter().any(|upstream| !upstream.hosts.is_empty()),
            default: config.upstream.iter().position(|upstream| upstream.default),
            is_backend: config.upstream.iter().any(|upstream| upstream.backend.is_some()),
            path_secret: config.clients.path_secret.clone(),
        }
    }

    /// What the request wants, or why it is refused.
    pub fn route(&self, request: RequestTarget<'_>) -> Result<Route, Error> {
        let host = self.by_host(request.host);
        let path = request.path.strip_prefix('/').ok_or(Error::NoSuchEndpoint)?;
        if path.is_empty() {
            let entry = EntryPoint { prefix: String::new(), upstream: host };
            let is_storage = self.is_backend && !self.has_secret();
            return Ok(if is_storage { Route::StorageRoot(entry) } else { Route::Front(entry) });
        }
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let has_slash = path.len() > first.len();

        // `/<secret>/…`: the rest is read as if the secret were not there.
        if self.is_secret(first) {
            let entry = EntryPoint { prefix: format!("/{first}"), upstream: host };
            return if rest.is_empty() { Ok(Route::Front(entry)) } else { self.below(entry, request, rest, true) };
        }
        let entry = EntryPoint { prefix: String::new(), upstream: host };
        // The bare ping answers without the secret, and so does the token endpoint it names.
        if first == "token" && !has_slash {
            return Ok(Route::Token(entry));
        }
        if first == "v2" && rest.is_empty() {
            return Ok(Route::Ping(entry));
        }
        self.below(entry, request, path, self.path_secret.is_none())
    }

    /// Reads a path that has no leading slash and no secret before it.
    fn below(
        &self,
        entry: EntryPoint,
        request: RequestTarget<'_>,
        path: &str,
        admitted: bool,
    ) -> Result<Route, Error> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        match first {
            "v2" => return self.api(entry, request, rest, admitted),
            "token" if rest.is_empty() => return Ok(Route::Token(entry)),
            "v1" if rest == "search" && admitted => return self.search(entry),
            _ => {}
        }
        // `/ghcr.io/v2/…` and, without any v2, `/ghcr.io/<name>/manifests/…` as k3s sends it (P-03, P-13).
        if let (None, false, Some(upstream)) = (entry.upstream, self.is_backend, self.by_name(first)) {
            let entry = EntryPoint { prefix: format!("{}/{first}", entry.prefix), upstream: Some(upstream) };
            let (second, behind) = rest.split_once('/').unwrap_or((rest, ""));
            return match second {
                "v2" => self.api(entry, request, behind, admitted),
                "token" if behind.is_empty() => Ok(Route::Token(entry)),
                _ => {
                    let name = self.admit(rest, admitted)?;
                    self.repository(entry, request, rest, name).map_err(|error| match error {
                        Error::NoSuchEndpoint | Error::InvalidName(_) => Error::NoSuchEndpoint,
                        other => other,
                    })
                }
            };
        }
        if self.is_backend && admitted && !self.has_secret() {
            Ok(Route::Storage)
        } else {
            Err(Error::NoSuchEndpoint)
        }
    }

    /// Reads what follows `/v2/`.
    fn api(
        &self,
        entry: EntryPoint,
        request: RequestTarget<'_>,
        rest: &str,
        admitted: bool,
    ) -> Result<Route, Error> {
        if rest.is_empty() {
            return Ok(Route::Ping(entry));
        }
        let name = self.admit(rest, admitted)?;
        if name == "_catalog" {
            return Ok(Route::Catalog);
        }
        self.repository(entry, request, rest, name)
    }

    /// `text` without the secret, which may stand first in it. An error, if the path has the secret nowhere.
    fn admit<'a>(&self, text: &'a str, admitted: bool) -> Result<&'a str, Error> {
        match text.split_once('/') {
            Some((first, behind)) if self.is_secret(first) => Ok(behind),
            _ if admitted => Ok(text),
            _ => Err(Error::UnknownUpstream),
        }
    }

    /// Reads `<name>/<endpoint>`; `shown` is the same text with whatever stood before it and belongs to the client.
    fn repository(
        &self,
        entry: EntryPoint,
        request: RequestTarget<'_>,
        shown: &str,
        text: &str,
    ) -> Result<Route, Error> {
        let (name, endpoint) = split_endpoint(text)?;
        let endpoint_bytes = text.len() - name.len();
        let client_name = shown.get(..shown.len() - endpoint_bytes).unwrap_or_default().to_owned();
        let client_path = request.path.get(..request.path.len() - endpoint_bytes).unwrap_or_default().to_owned();

        let ns = if self.is_backend { None } else { namespace(request.query) };
        let (upstream, name, by) = self.identify(entry.upstream, name, ns.as_deref())?;
        let namespace = ns.filter(|_| !by.is_settled());
        Ok(Route::Repository(Arc::new(Target {
            entry,
            upstream,
            name,
            client_name,
            client_path,
            namespace,
            matched_by: by,
            endpoint,
        })))
    }

    /// Which upstream a name means, the repository's name there, and by what.
    fn identify(
        &self,
        fixed: Option<usize>,
        name: &str,
        ns: Option<&str>,
    ) -> Result<(usize, RepositoryName, MatchedBy), Error> {
        let named = ns.map(|ns| self.by_namespace(ns));
        let (upstream, name, by) = match (fixed, name.split_once('/')) {
            (Some(upstream), _) => (upstream, name, MatchedBy::EntryPoint),
            (None, _) if self.is_backend => {
                (self.default.ok_or(Error::UnknownUpstream)?, name, MatchedBy::Backend)
            }
            (None, Some((first, rest))) if self.by_name(first).is_some() => {
                (self.by_name(first).ok_or(Error::UnknownUpstream)?, rest, MatchedBy::Path)
            }
            // A host that is not ours to serve, and never a repository of the default upstream (P-12).
            (None, Some((first, _))) if looks_like_host(first) => return Err(Error::UnknownUpstream),
            (None, _) => {
                let (upstream, by) = match named {
                    Some(upstream) => (upstream, MatchedBy::Namespace),
                    None => (self.default, MatchedBy::Default),
                };
                (upstream.ok_or(Error::UnknownUpstream)?, name, by)
            }
        };
        // The same registry twice is containerd's habit; two different ones are a mistake (P-04).
        if by.is_settled() && named.is_some_and(|named| named != Some(upstream)) {
            return Err(Error::NamespaceConflict);
        }
        // The name goes to the upstream, and the secret never does.
        if self.has_secret() && name.split('/').any(|part| self.is_secret(part)) {
            return Err(Error::NoSuchEndpoint);
        }
        let name = RepositoryName::parse(name)?;
        let is_docker_hub = self.upstreams.get(upstream).is_some_and(|names| names.is_docker_hub);
        Ok((upstream, if is_docker_hub { name.with_library()? } else { name }, by))
    }

    /// Reads a repository name as it stands in a scope, by the same rules as in a path.
    pub fn identify_scope(&self, entry: &EntryPoint, name: &str) -> Option<(usize, RepositoryName)> {
        let name = self.admit(name, true).ok()?;
        self.identify(entry.upstream, name, None).ok().map(|(upstream, name, _)| (upstream, name))
    }

    /// The upstream that serves names which say none.
    pub fn default_upstream(&self) -> Option<usize> {
        self.default
    }

    /// Whether requests must carry a secret: then nothing outside of it is relayed, and no path below it either, since
    /// the secret would go along.
    pub fn has_secret(&self) -> bool {
        self.path_secret.is_some()
    }

    fn by_host(&self, host: &str) -> Option<usize> {
        if !self.has_hosts {
            return None;
        }
        let host = host.to_ascii_lowercase();
        let bare = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
        self.upstreams
            .iter()
            .position(|names| names.hosts.contains(&host))
            .or_else(|| self.upstreams.iter().position(|names| names.hosts.iter().any(|known| known == bare)))
    }

    fn by_name(&self, text: &str) -> Option<usize> {
        if self.is_backend {
            return None;
        }
        self.upstreams.iter().position(|names| names.name == text)
    }

    fn by_namespace(&self, ns: &str) -> Option<usize> {
        self.by_name(ns)
            .or_else(|| self.upstreams.iter().position(|names| names.aliases.iter().any(|alias| alias == ns)))
    }

    fn is_secret(&self, segment: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.path_secret.as_ref().is_some_and(|secret| secret.expose().as_bytes().ct_eq(segment.as_bytes()).into())
    }
}

/// The upstream that is searched. With `REGISTRY_BACKEND` the path is the storage's.
fn searched(config: &Config) -> Option<usize> {
    let is_backend = config.upstream.iter().any(|upstream| upstream.backend.is_some());
    config.upstream.iter().position(UpstreamConfig::is_docker_hub).filter(|_| config.page.search && !is_backend)
}

/// `ns`, decoded and in lower case (P-05).
fn namespace(query: Option<&str>) -> Option<String> {
    parameter(query, "ns").map(|value| value.to_ascii_lowercase()).filter(|value| !value.is_empty())
}

/// The first parameter of this name, decoded.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Whether a client means this first segment as a host (P-12).
fn looks_like_host(segment: &str) -> bool {
    segment.contains(['.', ':']) || segment == "localhost"
}

#[cfg(test)]
mod tests;
