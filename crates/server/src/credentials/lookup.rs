//! Which keys of a Docker configuration match a repository, the most specific first, as in docker, skopeo and podman. Pure.
//!
//! podman and skopeo use `host/path` for repositories below a path; older versions of docker wrote URLs,
//! `https://host/v1/`. docker accepts any key of the host (`ConvertToHostname` of docker/cli, `authKeysForKey` of
//! containers/image).

/// Docker Hub's key in Docker's files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// All names of Docker Hub, the one in Docker's files first.
const NAMES_OF_DOCKER_HUB: [&str; 4] =
    ["index.docker.io", "docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// How well a key matches; the greatest is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// The key is for another repository of the host; docker accepts it.
    OtherPath,
    /// The key is for the host.
    Host,
    /// The key is for a path of this many bytes, with the repository below it.
    Path(usize),
}

/// All names of a host.
pub(super) fn names_of(host: &str) -> Vec<&str> {
    if NAMES_OF_DOCKER_HUB.iter().any(|name| name.eq_ignore_ascii_case(host)) {
        NAMES_OF_DOCKER_HUB.to_vec()
    } else {
        vec![host]
    }
}

/// The server to ask a credential store for, if no key names another.
pub(super) fn server_of(host: &str) -> &str {
    if names_of(host).len() > 1 { DOCKER_HUB } else { host }
}

/// How well a key matches a repository of a host; `None`: it names another host.
pub(super) fn fit(key: &str, host: &str, repository: &str) -> Option<Fit> {
    let (key_host, path) = parts(key);
    if !names_of(host).iter().any(|name| name.eq_ignore_ascii_case(key_host)) {
        return None;
    }
    Some(match repository.strip_prefix(path) {
        _ if path.is_empty() => Fit::Host,
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Fit::Path(path.len()),
        Some(_) | None => Fit::OtherPath,
    })
}

/// Host and path of a key, without scheme and API version.
fn parts(key: &str) -> (&str, &str) {
    let rest = ["https://", "http://"].into_iter().find_map(|scheme| key.strip_prefix(scheme)).unwrap_or(key);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_matches('/');
    let is_address = rest.len() != key.len();
    let versions: &[&str] = if is_address { &["v1", "v2"] } else { &["v2"] };
    match path.split_once('/').unwrap_or((path, "")) {
        (first, below) if versions.contains(&first) => (host, below.trim_matches('/')),
        _ => (host, path),
    }
}

/// The matching keys, the best first; among equals the shortest form, then the first in alphabetical order.
pub(super) fn fitting<'a>(
    keys: impl Iterator<Item = &'a String>,
    host: &str,
    repository: &str,
) -> Vec<(Fit, &'a String)> {
    let names = names_of(host);
    let place = |key: &str| names.iter().position(|name| name.eq_ignore_ascii_case(parts(key).0));
    let mut found: Vec<_> = keys.filter_map(|key| Some((fit(key, host, repository)?, key))).collect();
    found.sort_by(|(a, one), (b, other)| {
        let order = |key: &String| (place(key), key.contains("://"), key.starts_with("http://"), key.clone());
        b.cmp(a).then_with(|| order(one).cmp(&order(other)))
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(keys: &[&str], host: &str, repository: &str) -> Option<String> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        fitting(keys.iter(), host, repository).first().map(|(_, key)| (*key).clone())
    }

    #[test]
    fn every_spelling_that_docker_knows_is_found() {
        for key in [
            "h.test:5000",
            "https://h.test:5000",
            "https://h.test:5000/",
            "https://h.test:5000/v1/",
            "https://h.test:5000/v2/",
            "http://h.test:5000",
            "http://h.test:5000/",
            "h.test:5000/v2/",
            "h.test:5000/r",
            "h.test:5000/r/a",
            "H.test:5000",
        ] {
            assert_eq!(best(&[key], "h.test:5000", "r/a").as_deref(), Some(key), "{key}");
            // docker looks at the host alone.
            assert_eq!(best(&[key], "h.test:5000", "other").as_deref(), Some(key), "{key}");
        }
        for key in ["h.test", "xh.test:5000", "h.test:5000.evil.test", "https://evil.test/h.test:5000", "", "/"] {
            assert_eq!(best(&[key], "h.test:5000", "r/a"), None, "{key}");
        }
    }

    #[test]
    fn the_most_specific_key_is_taken() {
        let keys = ["https://h.test/v1/", "h.test/r", "h.test", "h.test/r/a", "h.test/r/ab", "http://h.test"];
        for (repository, expected) in [
            ("r/a", "h.test/r/a"),
            ("r/a/b", "h.test/r/a"),
            ("r/abc", "h.test/r"),
            ("r", "h.test/r"),
            ("z", "h.test"),
        ] {
            assert_eq!(best(&keys, "h.test", repository).as_deref(), Some(expected), "{repository}");
        }
        assert_eq!(
            best(&["http://h.test", "https://h.test/v2/"], "h.test", "r").as_deref(),
            Some("https://h.test/v2/")
        );
    }

    #[test]
    fn docker_hub_has_several_names() {
        for host in ["docker.io", "registry-1.docker.io"] {
            for key in [
                "https://index.docker.io/v1/",
                "docker.io",
                "docker.io/acme",
                "registry-1.docker.io",
                "https://registry-1.docker.io/v2/",
            ] {
                assert_eq!(best(&[key], host, "acme/app").as_deref(), Some(key), "{host} {key}");
            }
            assert_eq!(server_of(host), "https://index.docker.io/v1/");
        }
        let keys = ["docker.io", "https://index.docker.io/v1/"];
        assert_eq!(best(&keys, "docker.io", "a/b").as_deref(), Some("https://index.docker.io/v1/"));
        assert_eq!(best(&["docker.io"], "ghcr.io", "a/b"), None);
        assert_eq!(server_of("ghcr.io"), "ghcr.io");
    }
}
