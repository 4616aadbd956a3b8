//! Whether and how to follow a redirect: pure, one hop at a time (P-66 … P-68).

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use url::Url;

use super::location::Location;
use super::realm;
use crate::config::UpstreamConfig;
use crate::error::Failure;
use crate::name::RepositoryName;
use crate::platform::Reach;

/// Most hops from the registry to the bytes.
pub(super) const MAX_HOPS: usize = 10;

/// The next request of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    /// The address.
    pub link: Location,
    /// Whether credentials may be sent: all hops so far are on the registry's own origin.
    pub same_origin: bool,
    /// Which addresses the connection may reach.
    pub reach: Reach,
}

/// The configuration of an upstream's redirects.
pub(super) struct Policy<'a> {
    /// The registry's own address.
    pub registry: &'a Url,
    /// Hosts that may be private.
    pub trusted_hosts: &'a [String],
    /// Its storage, where the configuration names one (`DEFAULT_BACKEND_HOST`): trusted wherever it is.
    pub storage: Option<&'a Url>,
}

/// Whether a status is a redirect that has a target.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Reads `Location`, resolved against the address that was asked.
pub(super) fn target(asked: &Url, headers: &HeaderMap) -> Result<Location, Failure> {
    let location = headers.get(LOCATION).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    let link = location.and_then(|text| Location::read(asked, text).ok());
    let link = link.ok_or(Failure::Redirect("no usable Location"))?;
    if !matches!(link.url().scheme(), "http" | "https") || link.url().host_str().is_none_or(str::is_empty) {
        return Err(Failure::Redirect("not a web address"));
    }
    Ok(link)
}

/// The next hop, if the redirect may be followed.
pub(super) fn next(policy: &Policy<'_>, asked: &Url, hops: usize, headers: &HeaderMap) -> Result<Hop, Failure> {
    if hops >= MAX_HOPS {
        return Err(Failure::Redirect("too many hops"));
    }
    admit(policy, target(asked, headers)?)
}

/// Whether the proxy may connect to an address that an upstream named, in a redirect or otherwise.
pub(super) fn admit(policy: &Policy<'_>, link: Location) -> Result<Hop, Failure> {
    let url = link.url();
    let same_origin = url.origin() == policy.registry.origin();
    if !same_origin && policy.storage.is_some_and(|storage| storage.origin() == url.origin()) {
        return Ok(Hop { link, same_origin, reach: Reach::Trusted });
    }
    if url.scheme() == "http" && policy.registry.scheme() == "https" {
        return Err(Failure::Redirect("from https to http"));
    }
    let reach = reach(policy, url, same_origin);
    if reach == Reach::Public && realm::literal_address(url).is_some_and(realm::is_private) {
        return Err(Failure::Redirect("to a private address"));
    }
    Ok(Hop { link, same_origin, reach })
}

/// The repository that an address of the registry API names, read from the right (P-11).
pub(super) fn repository(url: &Url) -> Option<RepositoryName> {
    let (rest, _reference) = url.path().rsplit_once('/')?;
    let (rest, kind) = rest.rsplit_once('/')?;
    let name = rest.strip_prefix("/v2/").filter(|_| matches!(kind, "manifests" | "blobs"))?;
    RepositoryName::parse(name).ok()
}

/// Which addresses may be reached under this name: private ones where it is the registry's own, or named by the
/// configuration, or where the registry itself is private by what the configuration says of it.
pub(super) fn reach(policy: &Policy<'_>, url: &Url, same_origin: bool) -> Reach {
    let host = url.host_str().unwrap_or_default();
    let with_port = url.port_or_known_default().map(|port| format!("{host}:{port}"));
    let is_trusted = policy
        .trusted_hosts
        .iter()
        .any(|trusted| trusted.eq_ignore_ascii_case(host) || Some(trusted) == with_port.as_ref());
    match (same_origin, is_trusted || realm::is_private_registry(policy.registry)) {
        (true, _) => Reach::Configured,
        (false, true) => Reach::Trusted,
        (false, false) => Reach::Public,
    }
}

/// Which addresses the token server of an upstream may be at; `None`: the upstream has no address.
pub fn reach_of_realm(upstream: &UpstreamConfig, realm: &Url) -> Option<Reach> {
    // Only the configured addresses are ours: a stranger's realm on the stranger's own host is still a stranger's.
    let own = upstream.urls.iter().find(|url| url.origin() == realm.origin());
    let registry = own.or(upstream.urls.first())?;
    let policy = Policy { registry, trusted_hosts: &upstream.redirect_hosts, storage: None };
    let is_named = upstream.realms.iter().any(|url| url.origin() == realm.origin());
    Some(match reach(&policy, realm, own.is_some()) {
        Reach::Public if is_named => Reach::Trusted,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn follow(
        registry: &str,
        trusted: &[&str],
        hops: usize,
        location: &str,
    ) -> Result<(String, bool, Reach), &'static str> {
        follow_with_storage(registry, None, trusted, hops, location)
    }

    fn follow_with_storage(
        registry: &str,
        storage: Option<&str>,
        trusted: &[&str],
        hops: usize,
        location: &str,
    ) -> Result<(String, bool, Reach), &'static str> {
        let storage = storage.map(|storage| Url::parse(storage).unwrap());
        let registry = Url::parse(registry).unwrap();
        let trusted: Vec<String> = trusted.iter().map(|host| (*host).to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_str(location).unwrap());
        let asked = registry.join("/v2/a/b/blobs/sha256:1").unwrap();
        let policy = Policy { registry: &registry, trusted_hosts: &trusted, storage: storage.as_ref() };
        match next(&policy, &asked, hops, &headers) {
            Ok(hop) => Ok((hop.link.to_text(), hop.same_origin, hop.reach)),
            Err(Failure::Redirect(why)) => Err(why),
            Err(_) => Err("other"),
        }
    }

    #[test]
    fn redirects_are_followed_where_it_is_safe() {
        let public = "https://reg.example.com";
        for (registry, location, expected) in [
            (
                public,
                "https://cdn.example/x?sig=a%2Fb+'c'%3D",
                Ok(("https://cdn.example/x?sig=a%2Fb+'c'%3D", false, Reach::Public)),
            ),
            (public, "/storage/x", Ok(("https://reg.example.com/storage/x", true, Reach::Configured))),
            (public, "../up", Ok(("https://reg.example.com/v2/a/b/up", true, Reach::Configured))),
            (public, "//cdn.example/x", Ok(("https://cdn.example/x", false, Reach::Public))),
            (
                public,
                "https://reg.example.com:8443/x",
                Ok(("https://reg.example.com:8443/x", false, Reach::Public)),
            ),
            (public, "http://cdn.example/x", Err("from https to http")),
            (public, "https://169.254.169.254/latest", Err("to a private address")),
            (public, "https://[::1]/x", Err("to a private address")),
            (public, "https://2130706433/x", Err("to a private address")),
            (public, "https://0x7f.1/x", Err("to a private address")),
            (public, "file:///etc/passwd", Err("not a web address")),
            (public, "https://", Err("no usable Location")),
            (
                "http://127.0.0.1:5000",
                "http://127.0.0.2:9000/x",
                Ok(("http://127.0.0.2:9000/x", false, Reach::Trusted)),
            ),
            ("http://registry:5000", "http://minio:9000/x", Ok(("http://minio:9000/x", false, Reach::Trusted))),
            ("http://reg.example.com", "http://minio:9000/x", Ok(("http://minio:9000/x", false, Reach::Public))),
            ("http://reg.example.com", "http://10.0.0.5/x", Err("to a private address")),
        ] {
            let expected = expected.map(|(url, same, reach): (&str, _, _)| (url.to_owned(), same, reach));
            assert_eq!(follow(registry, &[], 0, location), expected, "{location}");
        }
    }

    #[test]
    fn a_private_host_must_be_named() {
        let registry = "https://reg.example.com";
        assert_eq!(follow(registry, &["minio.corp"], 0, "https://minio.corp/x").unwrap().2, Reach::Trusted);
        assert_eq!(follow(registry, &["10.0.0.5"], 0, "https://10.0.0.5:9000/x").unwrap().2, Reach::Trusted);
        assert_eq!(follow(registry, &["10.0.0.5:9000"], 0, "https://10.0.0.5:9000/x").unwrap().2, Reach::Trusted);
        assert_eq!(follow(registry, &["10.0.0.5:9000"], 0, "https://10.0.0.5:22/x"), Err("to a private address"));
    }

    #[test]
    fn the_storage_that_the_configuration_names_is_trusted_and_no_other() {
        for (storage, location, expected) in [
            ("http://minio:9000", "http://minio:9000/x", Ok((false, Reach::Trusted))),
            ("https://10.0.0.5", "https://10.0.0.5/x", Ok((false, Reach::Trusted))),
            ("https://reg.example.com", "/x", Ok((true, Reach::Configured))),
            ("http://minio:9000", "http://minio/x", Err("from https to http")),
            ("https://10.0.0.5", "https://10.0.0.5:9000/x", Err("to a private address")),
        ] {
            let hop = follow_with_storage("https://reg.example.com", Some(storage), &[], 0, location);
            assert_eq!(hop.map(|(_, same, reach)| (same, reach)), expected, "{location}");
        }
    }

    #[test]
    fn a_target_says_which_repository_it_is_of_or_nothing() {
        for (url, expected) in [
            ("https://pkg.example/v2/mirror/a/blobs/sha256:1?sig=/v2/x/blobs/y", Some("mirror/a")),
            ("https://pkg.example/v2/a/blobs/manifests/v1", Some("a/blobs")),
            ("https://pkg.example/v2/mirror/a/tags/list", None),
            ("https://pkg.example/v2/Mirror/blobs/x", None),
            ("https://pkg.example/v2/blobs/x", None),
            ("https://pkg.example/store/a/blobs/x", None),
            ("https://pkg.example/x", None),
        ] {
            let name = repository(&Url::parse(url).unwrap());
            assert_eq!(name.as_ref().map(RepositoryName::as_str), expected, "{url}");
        }
    }

    #[test]
    fn a_chain_has_an_end() {
        assert!(follow("https://reg.example.com", &[], MAX_HOPS - 1, "/x").is_ok());
        assert_eq!(follow("https://reg.example.com", &[], MAX_HOPS, "/x"), Err("too many hops"));
    }
}
