//! Our address, as a client writes it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::name::RepositoryName;

/// By which address a client reaches us. It may hold the path secret, so it cannot be printed.
#[derive(Clone, Copy)]
pub struct ProxyAddress<'a> {
    /// The client speaks HTTPS.
    pub is_https: bool,
    /// Host, with the port where it is not the usual one.
    pub host: &'a str,
    /// The path segment that requests must carry, if any.
    pub path_secret: Option<&'a str>,
}

/// A registry that a client is to ask us for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirroredRegistry<'a> {
    /// What it is called in the names of images.
    pub registry: &'a str,
    /// Its segment of the path. `None`: the host means this registry, and no other.
    pub segment: Option<&'a str>,
    /// Names without a registry mean this one.
    pub is_default: bool,
    /// A host of ours that means this registry alone.
    pub host: Option<&'a str>,
}

impl MirroredRegistry<'_> {
    /// Whether its segment can stand in the name of an image, from which most clients build their requests. One with a port
    /// cannot.
    pub fn is_in_names(&self) -> bool {
        self.segment.is_none_or(|segment| RepositoryName::parse(segment).is_ok())
    }
}

impl ProxyAddress<'_> {
    /// `https://proxy.example.com`
    pub fn base(&self) -> String {
        format!("{}://{}", if self.is_https { "https" } else { "http" }, self.host)
    }

    /// The base, and the path secret.
    pub fn root(&self) -> String {
        format!("{}{}", self.base(), joined(&[self.path_secret]))
    }

    /// What stands before `/manifests/` without the repository's name: `https://proxy.example.com/v2/ghcr.io`.
    pub fn api(&self, segment: Option<&str>) -> String {
        format!("{}/v2{}", self.base(), joined(&[self.path_secret, segment]))
    }

    /// The host as it must stand in the name of an image. Without a dot or a port, clients would read it as a part of the
    /// repository's name, so the usual port is added.
    pub fn host_in_names(&self) -> String {
        match self.host {
            host if host.contains(['.', ':']) || host == "localhost" => host.to_owned(),
            host => format!("{host}:{}", if self.is_https { 443 } else { 80 }),
        }
    }

    /// What stands before the repository in the name of an image: `proxy.example.com/ghcr.io`.
    pub fn in_names(&self, segment: Option<&str>) -> String {
        format!("{}{}", self.host_in_names(), joined(&[self.path_secret, segment]))
    }

    /// Another host of ours, at the same port.
    pub(super) fn host_beside(&self, host: &str) -> String {
        match self.parts() {
            (_, Some(port)) => format!("{host}:{port}"),
            (_, None) => host.to_owned(),
        }
    }

    /// Whether only this machine itself reaches it, as far as the address says.
    pub fn is_loopback(&self) -> bool {
        let (name, _) = self.parts();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback() || address.is_unspecified())
            || bare.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback() || address.is_unspecified())
    }

    /// Whether Docker must be told to speak plain HTTP: by itself it does so with 127.0.0.0/8, to which it also resolves
    /// localhost. Versions that trust `::1` unasked are newer than those in use.
    pub fn is_insecure_to_docker(&self) -> bool {
        let (name, _) = self.parts();
        let is_trusted = name == "localhost" || name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback());
        !self.is_https && !is_trusted
    }

    /// Name and port.
    fn parts(&self) -> (&str, Option<&str>) {
        match self.host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name, Some(port))
            }
            _ => (self.host, None),
        }
    }
}

fn joined(segments: &[Option<&str>]) -> String {
    segments.iter().flatten().flat_map(|segment| ["/", segment]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_looks_like_a_repository_gets_its_port() {
        for (scheme, host, expected) in [
            ("https", "proxy.example.com", "proxy.example.com"),
            ("http", "proxy", "proxy:80"),
            ("https", "proxy", "proxy:443"),
            ("http", "proxy:3000", "proxy:3000"),
            ("http", "localhost", "localhost"),
            ("http", "[::1]", "[::1]"),
        ] {
            let address = ProxyAddress { is_https: scheme == "https", host, path_secret: None };
            assert_eq!(address.in_names(Some("ghcr.io")), format!("{expected}/ghcr.io"), "{scheme} {host}");
            assert_eq!(address.base(), format!("{scheme}://{host}"));
        }
    }

    #[test]
    fn the_path_secret_stands_first_in_names_and_behind_v2_in_addresses() {
        let address = ProxyAddress { is_https: true, host: "p.example", path_secret: Some("s3cret") };
        assert_eq!(address.in_names(Some("ghcr.io")), "p.example/s3cret/ghcr.io");
        assert_eq!(address.in_names(None), "p.example/s3cret");
        assert_eq!(address.api(Some("ghcr.io")), "https://p.example/v2/s3cret/ghcr.io");
        assert_eq!(address.root(), "https://p.example/s3cret");
    }

    #[test]
    fn docker_must_be_told_of_plain_http_on_other_machines_only() {
        for (host, expected) in [
            ("localhost:3000", false),
            ("127.0.0.1:3000", false),
            ("127.9.9.9", false),
            ("[::1]:3000", true),
            ("[::1]", true),
            ("0.0.0.0:3000", true),
            ("192.168.1.10:3000", true),
            ("proxy", true),
            ("localhost.example:3000", true),
            ("[2001:db8::1]", true),
        ] {
            let address = |is_https| ProxyAddress { is_https, host, path_secret: None };
            assert_eq!(address(false).is_insecure_to_docker(), expected, "{host}");
            assert!(!address(true).is_insecure_to_docker(), "{host}");
        }
    }

    #[test]
    fn an_address_that_only_this_machine_reaches_is_known_in_every_spelling() {
        for (host, expected) in [
            ("localhost:3000", true),
            ("proxy.localhost", true),
            ("127.0.0.1:3000", true),
            ("0.0.0.0:3000", true),
            ("[::1]:3000", true),
            ("[::]:3000", true),
            ("192.168.1.10:3000", false),
            ("localhost.example", false),
            ("[2001:db8::1]", false),
        ] {
            let address = ProxyAddress { is_https: false, host, path_secret: None };
            assert_eq!(address.is_loopback(), expected, "{host}");
        }
    }
}
