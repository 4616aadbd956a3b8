//! The name of an image in full, as a bundle has it and as the cache keeps it: `docker.io/library/alpine:3.20`,
//! `ghcr.io/owner/image@sha256:…`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{Reference, RepositoryName, Tag};

/// Longest name of an upstream, in bytes: that of a host with its port.
const MAX_UPSTREAM_BYTES: usize = 260;

/// An image's name in full.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BundleImage {
    /// The upstream's name.
    pub upstream: Box<str>,
    /// The repository, as the upstream calls it.
    pub repository: RepositoryName,
    /// A tag or a digest.
    pub reference: Reference,
}

/// The text is not an image's name in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected registry/repository:tag or registry/repository@sha256:…, such as docker.io/library/alpine:3.20")]
pub struct InvalidImage;

impl BundleImage {
    /// Reads a name in full: nothing is added to it.
    pub fn parse(text: &str) -> Result<Self, InvalidImage> {
        let (upstream, rest) = text.split_once('/').ok_or(InvalidImage)?;
        let is_part = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'@');
        let is_legal = !upstream.is_empty() && !upstream.starts_with('.') && upstream.bytes().all(is_part);
        if !is_legal || upstream.len() > MAX_UPSTREAM_BYTES {
            return Err(InvalidImage);
        }
        let (repository, reference) = if let Some((repository, digest)) = rest.split_once('@') {
            (repository, Digest::parse(digest).ok().map(Reference::Digest))
        } else {
            let (repository, tag) = rest.rsplit_once(':').ok_or(InvalidImage)?;
            (repository, Tag::parse(tag).map(Reference::Tag))
        };
        Ok(Self {
            upstream: upstream.into(),
            repository: RepositoryName::parse(repository).map_err(|_| InvalidImage)?,
            reference: reference.ok_or(InvalidImage)?,
        })
    }
}

impl fmt::Display for BundleImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match &self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(f, "{}/{}{mark}{}", self.upstream, self.repository, self.reference.as_str())
    }
}

impl TryFrom<String> for BundleImage {
    type Error = InvalidImage;

    fn try_from(text: String) -> Result<Self, InvalidImage> {
        Self::parse(&text)
    }
}

impl From<BundleImage> for String {
    fn from(image: BundleImage) -> Self {
        image.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_full_reads_back_and_any_other_is_none() {
        let digest = Digest::sha256(b"");
        for text in [
            "docker.io/library/alpine:3.20",
            "localhost:5000/a:b",
            "r/a/b/c:latest",
            &format!("ghcr.io/owner/image@{digest}"),
        ] {
            assert_eq!(BundleImage::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "alpine",
            "alpine:3.20",
            "docker.io/library/alpine",
            "docker.io/Library/alpine:3.20",
            "docker.io/../alpine:3.20",
            "../library/alpine:3.20",
            ".hidden/library/alpine:3.20",
            "/library/alpine:3.20",
            "docker.io/library/alpine:",
            "docker.io/library/alpine:../x",
            "docker.io/library/alpine@3.20",
            "docker.io/library/alpine:3.20@sha256:12",
            "docker\u{1b}.io/library/alpine:3.20",
        ] {
            assert_eq!(BundleImage::parse(text), Err(InvalidImage), "{text}");
        }
    }
}
