//! Reads an image's name as people write it, into the request that a client would send for it. Pure.

use std::sync::Arc;

use super::{RequestTarget, Route, Routes, Target};
use crate::config::Config;
use crate::error::Error;
use crate::secret::Secret;

/// What stands before the reference in an address.
const MANIFESTS: &str = "/manifests/";

/// A name, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImageRequest {
    /// The host that the client would ask: one of ours, or one without a meaning.
    pub(crate) host: String,
    /// `/v2/<name>/manifests/<reference>`
    pub(crate) path: String,
    /// The first part of the name, where a registry would stand: for advice.
    pub(crate) first: String,
    /// The name begins with our host, and without the path secret that must follow it.
    pub(crate) lacks_secret: bool,
}

/// The repository and the reference that an image's name means, as people write it.
pub(crate) fn target_of(routes: &Routes, config: &Config, image: &str) -> Result<Arc<Target>, Error> {
    let wish = read(image, config);
    match routes.route(RequestTarget { host: &wish.host, path: &wish.path, query: None })? {
        Route::Repository(target) => Ok(target),
        Route::Ping(_)
        | Route::Token(_)
        | Route::Catalog
        | Route::Storage
        | Route::Front(_)
        | Route::Search { .. }
        | Route::StorageRoot(_) => Err(Error::NoSuchEndpoint),
    }
}

/// Reads `alpine`, `ghcr.io/owner/image:tag`, `image@sha256:…`, with or without our own host before it, and what people copy
/// out of a log or a browser: `http://host/<secret>/image`, `http://host/<secret>/v2/image/manifests/tag`.
pub(crate) fn read(image: &str, config: &Config) -> ImageRequest {
    let image = image.split_once("://").map_or(image, |(_, rest)| rest);
    let secret = config.clients.path_secret.as_ref().map(Secret::expose);
    let is_secret = |part: &str| secret == Some(part);
    let (host, rest) = match image.split_once('/') {
        Some((first, rest)) if is_ours(first, config) || is_path(rest, is_secret) => (first, rest),
        _ => ("", image),
    };
    let (rest, has_secret, is_path) = below_secret(rest, is_secret);
    let (name, reference) = match rest.rsplit_once(MANIFESTS) {
        Some((name, reference)) if is_path => (name, reference),
        _ => name_and_reference(&rest),
    };
    // A name without our host is no address for a client: the operator who asks knows the secret.
    let lacks_secret = secret.is_some() && !has_secret && !host.is_empty();
    let before = secret.filter(|_| !lacks_secret).map(|secret| format!("{secret}/")).unwrap_or_default();
    ImageRequest {
        host: host.to_ascii_lowercase(),
        path: format!("/v2/{before}{name}/manifests/{reference}"),
        first: name.split('/').next().unwrap_or_default().to_owned(),
        lacks_secret,
    }
}

/// Whether this is a path of an address, and no name of an image.
fn is_path(text: &str, is_secret: impl Fn(&str) -> bool) -> bool {
    let is_api = |first: &str| first == "v2" && text.contains(MANIFESTS);
    text.split('/').next().is_some_and(|first| is_secret(first) || is_api(first))
}

/// The same without the path secret and `v2` before the name, in whichever order; whether the secret was there, and `v2`.
fn below_secret(text: &str, is_secret: impl Fn(&str) -> bool) -> (String, bool, bool) {
    let mut parts: Vec<&str> = text.split('/').collect();
    // Otherwise `v2` is a repository's name.
    let is_api = text.contains(MANIFESTS);
    let (mut has_secret, mut is_path) = (false, false);
    // `<registry>/v2/<name>` is an address as well.
    for at in [0, 0, 1] {
        match parts.get(at) {
            Some(part) if at == 0 && !has_secret && is_secret(part) => has_secret = true,
            Some(&"v2")
                if is_api && !is_path && (at == 0 || parts.first().is_some_and(|first| first.contains('.'))) =>
            {
                is_path = true;
            }
            Some(_) | None => continue,
        }
        parts.remove(at);
    }
    (parts.join("/"), has_secret, is_path)
}

/// `alpine:3.20`, `alpine@sha256:…`
fn name_and_reference(text: &str) -> (&str, &str) {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    // A colon before a slash is a port's.
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    (name, digest.or(tag).unwrap_or("latest"))
}

/// The text with the path secret masked, to be shown.
pub(crate) fn masked(image: &str, config: &Config) -> String {
    match &config.clients.path_secret {
        Some(secret) => image.replace(secret.expose(), &secret.to_string()),
        None => image.to_owned(),
    }
}

/// Whether it is an address of this proxy: the public URL, a virtual host, or the address it listens on.
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
    fn the_path_secret_need_not_be_typed_where_no_host_is() {
        let ours = config("[clients]\npath_secret_file='f'");
        for image in ["alpine", "long-secret-of-the-path/alpine"] {
            let wish = read(image, &ours);
            assert_eq!(wish.path, "/v2/long-secret-of-the-path/alpine/manifests/latest", "{image}");
            assert!(!wish.lacks_secret, "{image}");
        }
    }

    #[test]
    fn an_address_with_the_path_secret_is_read_wherever_the_secret_stands() {
        let ours = config("public_url='https://p.example'\n[clients]\npath_secret_file='f'");
        for (image, host, rest) in [
            ("http://p.example/SECRET/alpine:3", "p.example", "alpine/manifests/3"),
            ("P.example/SECRET/alpine", "p.example", "alpine/manifests/latest"),
            // A host that the configuration does not know, such as an address.
            ("http://192.0.2.7:3000/SECRET/ghcr.io/o/i:1", "192.0.2.7:3000", "ghcr.io/o/i/manifests/1"),
            ("http://p.example/SECRET/v2/ghcr.io/o/i/manifests/1", "p.example", "ghcr.io/o/i/manifests/1"),
            ("http://p.example/v2/SECRET/alpine/manifests/sha256:12", "p.example", "alpine/manifests/sha256:12"),
            ("http://p.example/SECRET/ghcr.io/v2/o/i/manifests/1", "p.example", "ghcr.io/o/i/manifests/1"),
            // Repositories may be called so.
            ("p.example/SECRET/a/manifests/b", "p.example", "a/manifests/b/manifests/latest"),
            ("p.example/SECRET/a/v2/b", "p.example", "a/v2/b/manifests/latest"),
            ("p.example/SECRET/v2/b:1", "p.example", "v2/b/manifests/1"),
        ] {
            let image = image.replace("SECRET", "long-secret-of-the-path");
            let wish = read(&image, &ours);
            assert_eq!(wish.path, format!("/v2/long-secret-of-the-path/{rest}"), "{image}");
            assert_eq!((wish.host.as_str(), wish.lacks_secret), (host, false), "{image}");
            assert!(!masked(&image, &ours).contains("long-secret"), "{image}");
        }
    }

    #[test]
    fn an_address_without_the_path_secret_or_with_another_is_what_a_client_would_ask() {
        let ours = config("public_url='https://p.example'\n[clients]\npath_secret_file='f'");
        for (image, path) in [
            ("http://p.example/alpine:3", "/v2/alpine/manifests/3"),
            ("p.example/another-secret/alpine:3", "/v2/another-secret/alpine/manifests/3"),
            ("http://p.example/v2/alpine/manifests/3", "/v2/alpine/manifests/3"),
        ] {
            let wish = read(image, &ours);
            assert_eq!((wish.path.as_str(), wish.lacks_secret), (path, true), "{image}");
        }
    }
}
