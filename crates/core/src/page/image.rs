//! Reads an image's name as people type or paste it. What is not such a name is never repeated. Pure.

use crate::catalogue;
use crate::client_snippets::ProxyAddress;
use crate::digest::Digest;
use crate::name::{Reference, RepositoryName};

/// The longest text that is read, in bytes: a name, a tag and a digest fit.
const MAX_BYTES: usize = 768;
/// What may stand before a name where people copy it from.
const COPIED: [&str; 8] =
    ["docker pull ", "podman pull ", "nerdctl pull ", "FROM ", "docker://", "oci://", "https://", "http://"];

/// The name of an image, taken apart. Every part is checked, so it can be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ImageName {
    /// The registry, where the name says one: the catalogue's own name, if it has one.
    pub(super) registry: Option<String>,
    pub(super) repository: RepositoryName,
    pub(super) reference: Reference,
}

impl ImageName {
    /// Reads `ghcr.io/owner/image:tag`, `alpine`, `image@sha256:…`, with what people copy along, or with our own address.
    pub(super) fn parse(text: &str, ours: &ProxyAddress<'_>) -> Option<Self> {
        let mut text = text.trim();
        if text.len() > MAX_BYTES {
            return None;
        }
        for prefix in COPIED {
            text = text.strip_prefix(prefix).unwrap_or(text).trim_start();
        }
        let own = [ours.host_in_names(), ours.host.to_owned()];
        let below_own = own.iter().find_map(|host| text.strip_prefix(host.as_str())?.strip_prefix('/'));
        if let Some(rest) = below_own {
            let secret = ours.path_secret.and_then(|secret| rest.strip_prefix(secret)?.strip_prefix('/'));
            text = secret.unwrap_or(rest);
        }
        let (text, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        let (name, tag) = match text.rsplit_once(':') {
            // A colon before a slash is a port's.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (text, None),
        };
        let reference = Reference::parse(digest.or(tag).unwrap_or("latest")).ok()?;
        // A digest stands behind `@` and nowhere else, and a tag that is none makes the name wrong, too.
        let is_digest = matches!(reference, Reference::Digest(_));
        if is_digest != digest.is_some() || tag.is_some_and(|tag| !is_tag(tag)) {
            return None;
        }
        let (registry, name) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (Some(first), rest),
            _ => (None, name),
        };
        let registry = match registry {
            Some(host) => Some(registry_name(host)?),
            None => None,
        };
        // Somebody typed the registry and has not come to the image.
        if registry.is_none() && catalogue::find(name).is_some() {
            return None;
        }
        Some(Self { registry, repository: RepositoryName::parse(name).ok()?, reference })
    }

    /// The name as it is written, without a tag that nobody must write.
    pub(super) fn written(&self) -> String {
        let registry = self.registry.as_ref().map(|registry| format!("{registry}/")).unwrap_or_default();
        format!("{registry}{}{}", self.repository, self.ending())
    }

    /// `:tag` or `@digest`
    pub(super) fn ending(&self) -> String {
        match &self.reference {
            Reference::Tag(tag) => format!(":{}", tag.as_str()),
            Reference::Digest(digest) => format!("@{}", Digest::as_str(digest)),
        }
    }
}

fn is_tag(text: &str) -> bool {
    matches!(Reference::parse(text), Ok(Reference::Tag(_)))
}

/// Whether clients read a first segment as a host.
fn is_host(segment: &str) -> bool {
    segment.contains(['.', ':']) || segment == "localhost"
}

/// A registry's host in its usual spelling, if it can be one.
fn registry_name(host: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    let starts_well = host.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if host.len() > 255 || !starts_well || !host.bytes().all(legal) {
        return None;
    }
    let host = host.to_ascii_lowercase();
    Some(catalogue::find(&host).map_or(host, |known| known.name.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: ProxyAddress<'_> =
        ProxyAddress { is_https: false, host: "p.example:3000", path_secret: Some("s3cret") };
    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_read_as_people_write_and_copy_them() {
        for (text, expected) in [
            ("alpine", "alpine:latest"),
            ("  alpine:3.20 ", "alpine:3.20"),
            ("library/alpine", "library/alpine:latest"),
            ("ghcr.io/owner/image:tag", "ghcr.io/owner/image:tag"),
            ("GHCR.io/owner/image", "ghcr.io/owner/image:latest"),
            ("index.docker.io/library/alpine", "docker.io/library/alpine:latest"),
            ("reg.example:5000/o/i:1", "reg.example:5000/o/i:1"),
            ("reg.example:5000/o/i", "reg.example:5000/o/i:latest"),
            ("localhost/o/i", "localhost/o/i:latest"),
            ("docker pull ghcr.io/o/i:1", "ghcr.io/o/i:1"),
            ("FROM alpine:3", "alpine:3"),
            ("docker://quay.io/o/i", "quay.io/o/i:latest"),
            ("https://quay.io/o/i", "quay.io/o/i:latest"),
            ("p.example:3000/ghcr.io/o/i:1", "ghcr.io/o/i:1"),
            ("p.example:3000/s3cret/ghcr.io/o/i:1", "ghcr.io/o/i:1"),
            ("docker pull p.example:3000/s3cret/alpine", "alpine:latest"),
        ] {
            assert_eq!(
                ImageName::parse(text, &OURS).map(|name| name.written()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        let digest = format!("ghcr.io/o/i@sha256:{HEX}");
        let both = format!("ghcr.io/o/i:1@sha256:{HEX}");
        for text in [&digest, &both] {
            assert_eq!(ImageName::parse(text, &OURS).unwrap().written(), digest, "the digest decides");
        }
    }

    #[test]
    fn what_is_no_name_is_nothing() {
        for text in [
            "",
            " ",
            "/",
            "Alpine",
            "a b",
            "a//b",
            "alpine:",
            "alpine:.x",
            "alpine@",
            "alpine@sha256:12",
            "alpine:1@x",
            "ghcr.io",
            "docker.io",
            "ghcr.io/",
            "-x.y/a",
            "a.b\"c/d",
            "<script>alert(1)</script>",
            "ghcr.io/<b>/x",
            "\u{202e}alpine",
            "alpine\n",
            "ghcr.io/o/i:tag\" onfocus=\"x",
            "../../etc/passwd",
            "a/b:c:d",
            "alpine:sha256:12",
        ] {
            // Line ends around a name are space, which people copy along.
            let expected = (text == "alpine\n").then(|| "alpine:latest".to_owned());
            assert_eq!(ImageName::parse(text, &OURS).map(|name| name.written()), expected, "{text}");
        }
        assert_eq!(ImageName::parse(&"a".repeat(1000), &OURS), None);
    }

    proptest! {
        #[test]
        fn nothing_but_the_characters_of_names_comes_out(text in ".{0,60}|[a-z.:/@<>\"'& ]{0,40}") {
            if let Some(name) = ImageName::parse(&text, &OURS) {
                let legal = |b: u8| b.is_ascii_alphanumeric() || b".-_:/@".contains(&b);
                prop_assert!(name.written().bytes().all(legal), "{}", name.written());
                prop_assert_eq!(ImageName::parse(&name.written(), &OURS), Some(name));
            }
        }
    }
}
