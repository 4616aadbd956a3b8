//! Names of the distribution spec: repository names, tags and references. One fallible constructor each; after
//! it nothing is checked again.

use std::fmt;

use crate::digest::{Digest, InvalidDigest};

/// Longest repository name we relay, in bytes, as registries commonly cap it (distribution: 255).
const MAX_NAME_BYTES: usize = 255;

/// A repository name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/…)*`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RepositoryName(Box<str>);

/// The text is not a repository name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid repository name: lower-case letters, digits and single separators, up to 255 characters")]
pub struct InvalidName;

impl RepositoryName {
    /// Checks the grammar; nothing is decoded or folded.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.len() > MAX_NAME_BYTES || !text.split('/').all(is_component) {
            return Err(InvalidName);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Docker Hub's official images live below `library/`: a name of one segment gets it, any other is left
    /// alone (P-10).
    pub fn with_library(self) -> Result<Self, InvalidName> {
        // It may be too long then.
        if self.0.contains('/') { Ok(self) } else { Self::parse(&format!("library/{}", self.0)) }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|b| alphanumeric(**b)).count();
        if word == 0 {
            return false;
        }
        rest = rest.get(word..).unwrap_or_default();
        let separator = match rest {
            [] => return true,
            [b'_', b'_', ..] => 2,
            [b'.' | b'_', ..] => 1,
            [b'-', ..] => rest.iter().take_while(|b| **b == b'-').count(),
            _ => return false,
        };
        rest = rest.get(separator..).unwrap_or_default();
    }
}

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tag(Box<str>);

impl Tag {
    /// Checks the grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let first = bytes.next()?;
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        (text.len() <= 128 && is_word(first) && bytes.all(|b| is_word(b) || matches!(b, b'.' | b'-')))
            .then(|| Self(text.into()))
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a manifest is asked by.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reference {
    /// A name that may point elsewhere tomorrow.
    Tag(Tag),
    /// The manifest itself.
    Digest(Digest),
}

/// The text is neither a tag nor a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It has a colon, and what follows is no digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// It is no tag.
    #[error("invalid tag: up to 128 letters, digits, dots, underscores and hyphens")]
    Tag,
}

impl Reference {
    /// A text with a colon (or its percent code) is a digest, any other a tag.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        if text.contains([':', '%']) {
            Ok(Self::Digest(Digest::parse(text)?))
        } else {
            Tag::parse(text).map(Self::Tag).ok_or(InvalidReference::Tag)
        }
    }

    /// The reference in its canonical spelling.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag.as_str(),
            Self::Digest(digest) => digest.as_str(),
        }
    }

    /// Whether this asks for a signature, attestation or SBOM by the tag scheme that cosign and others use
    /// (`sha256-<hex>.sig`), or for the referrers fallback tag: absence is an everyday answer there (P-22, P-142).
    pub fn is_attachment(&self) -> bool {
        let Self::Tag(tag) = self else { return false };
        is_attachment(tag.as_str())
    }
}

/// The same of a tag.
pub(crate) fn is_attachment(tag: &str) -> bool {
    let stem = tag.strip_prefix("sha256-").unwrap_or_default();
    let (hex, suffix) = stem.split_at_checked(64).unwrap_or_default();
    !hex.is_empty()
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
        && matches!(suffix, "" | ".sig" | ".att" | ".sbom")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_spec_pass() {
        for text in ["a", "library/alpine", "a.b/c_d/e__f/g---h", "0", "ghcr.io/o/i", "x/manifests/y"] {
            assert!(RepositoryName::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_the_spec_refuses_is_refused() {
        for text in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "-a", "a-", "a._b", "..", "a/../b", "a%2fb", "a b",
            "ä", "a:b", "_catalog",
        ] {
            assert_eq!(RepositoryName::parse(text), Err(InvalidName), "{text}");
        }
        assert!(RepositoryName::parse(&"a".repeat(256)).is_err());
        assert!(RepositoryName::parse(&"a".repeat(255)).is_ok());
    }

    #[test]
    fn library_is_added_to_a_single_segment_only() {
        let name = |text| RepositoryName::parse(text).unwrap().with_library().unwrap().to_string();
        assert_eq!(name("busybox"), "library/busybox");
        assert_eq!(name("library/busybox"), "library/busybox");
        assert_eq!(name("rancher/k3s"), "rancher/k3s");
        let long = RepositoryName::parse(&"a".repeat(255)).unwrap();
        assert_eq!(long.with_library(), Err(InvalidName), "too long with it");
    }

    #[test]
    fn a_reference_with_a_colon_must_be_a_digest() {
        assert!(matches!(Reference::parse("latest"), Ok(Reference::Tag(_))));
        assert_eq!(Reference::parse("sha256:xyz"), Err(InvalidReference::Digest(InvalidDigest)));
        assert_eq!(Reference::parse(".hidden"), Err(InvalidReference::Tag));
        assert_eq!(Reference::parse(&"t".repeat(129)), Err(InvalidReference::Tag));
    }

    #[test]
    fn attachments_are_recognised() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (text, expected) in [
            (format!("sha256-{hex}"), true),
            (format!("sha256-{hex}.sig"), true),
            (format!("sha256-{hex}.tar"), false),
            ("sha256-abc.sig".to_owned(), false),
            ("latest".to_owned(), false),
        ] {
            assert_eq!(Reference::parse(&text).unwrap().is_attachment(), expected, "{text}");
        }
    }
}
