//! An image's name as people write it, as the request that a client would send for it. Pure.

use crate::config::Config;

/// A name, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// The host that the client would speak to: one of ours, or none that means anything.
    pub(super) host: String,
    /// `/v2/<name>/manifests/<reference>`
    pub(super) path: String,
    /// What stands where a registry would: for advice.
    pub(super) first: String,
}

/// Reads `alpine`, `ghcr.io/owner/image:tag`, `image@sha256:…`, with or without our own host before it.
pub(super) fn read(image: &str, config: &Config) -> Wish {
    let image = image.split_once("://").map_or(image, |(_, rest)| rest);
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A colon before a slash is a port's.
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let reference = digest.or(tag).unwrap_or("latest");
    let (host, name) = match name.split_once('/') {
        Some((first, rest)) if is_ours(first, config) => (first, rest),
        _ => ("", name),
    };
    // Whoever explains knows the configuration, and the secret need not be typed.
    let secret = config.clients.path_secret.as_ref().map(|secret| format!("{}/", secret.expose()));
    let before = secret.unwrap_or_default();
    let name = name.strip_prefix(before.as_str()).unwrap_or(name);
    Wish {
        host: host.to_ascii_lowercase(),
        path: format!("/v2/{before}{name}/manifests/{reference}"),
        first: name.split('/').next().unwrap_or_default().to_owned(),
    }
}

/// Whether it is an address of ours: as clients see it, as a virtual host, or where we listen.
fn is_ours(host: &str, config: &Config) -> bool {
    let public = config.public_url.as_ref().is_some_and(|url| url.authority().eq_ignore_ascii_case(host));
    let bare = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let mut hosts = config.upstream.iter().flat_map(|upstream| &upstream.hosts);
    let is_virtual = hosts.any(|known| known.eq_ignore_ascii_case(host) || known.eq_ignore_ascii_case(bare));
    let port = config.listen.rsplit_once(':').map_or("", |(_, port)| port);
    let is_here = ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host == format!("{name}:{port}"));
    public || is_virtual || is_here || host == config.listen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn config(text: &str) -> Config {
        let read = |_: &str| Ok("long-secret-of-the-path".to_owned());
        Config::load(&Sources { text: Some(text), variables: vec![], read: &read }).unwrap()
    }

    #[test]
    fn names_are_read_as_people_write_them() {
        let ours =
            config("public_url='https://p.example'\n[[upstream]]\nname='docker.io'\nhosts=['hub.p.example']");
        let digest = format!("sha256:{}", "0".repeat(64));
        for (image, host, path) in [
            ("alpine".to_owned(), "", "alpine/manifests/latest".to_owned()),
            ("alpine:3".to_owned(), "", "alpine/manifests/3".to_owned()),
            ("ghcr.io/o/i:1".to_owned(), "", "ghcr.io/o/i/manifests/1".to_owned()),
            ("reg.test:5000/o/i".to_owned(), "", "reg.test:5000/o/i/manifests/latest".to_owned()),
            (format!("o/i@{digest}"), "", format!("o/i/manifests/{digest}")),
            (format!("o/i:1@{digest}"), "", format!("o/i/manifests/{digest}")),
            ("docker://P.example/o/i:1".to_owned(), "p.example", "o/i/manifests/1".to_owned()),
            ("hub.p.example:8443/o/i".to_owned(), "hub.p.example:8443", "o/i/manifests/latest".to_owned()),
            ("localhost:3000/ghcr.io/o/i".to_owned(), "localhost:3000", "ghcr.io/o/i/manifests/latest".to_owned()),
            ("localhost:3001/o/i".to_owned(), "", "localhost:3001/o/i/manifests/latest".to_owned()),
        ] {
            let wish = read(&image, &ours);
            assert_eq!((wish.host.as_str(), wish.path), (host, format!("/v2/{path}")), "{image}");
        }
    }

    #[test]
    fn the_path_secret_need_not_be_typed() {
        let ours = config("[clients]\npath_secret_file='f'");
        for image in ["alpine", "long-secret-of-the-path/alpine"] {
            assert_eq!(read(image, &ours).path, "/v2/long-secret-of-the-path/alpine/manifests/latest");
        }
    }
}
