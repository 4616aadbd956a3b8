//! Keys of stored content: one layout for a disk, an object store and memory. The only code that spells one.
//!
//! ```text
//! v1/blobs/sha256/ab/abcd…                          bytes
//! v1/manifests/sha256/ab/abcd…                      a line with the media type, then the exact bytes
//! v1/tags/<upstream>/<repository>/_/<tag>           what a tag points to, and since when
//! v1/links/<upstream>/<repository>/_/sha256/<hex>   this repository has shown this digest
//! v1/origins/sha256/ab/abcd…                        which upstreams gave the bytes of this digest
//! v1/leases/sha256/<hex>/<epoch>                    who fetches it, and until when
//! v1/ingests/sha256/<hex>/at                        how far its upload in parts has come
//! v1/ingests/sha256/<hex>/tail                      what is behind the last part sent
//! v1/holds/<upstream>/<repository>/_/<tag>          where a held tag pointed, and what it moved to
//! v1/held/<upstream>/<repository>/_/sha256/<hex>    which tag this digest is held for
//! v1/usage/<day>/<instance>                         what an instance has served that day, and in its latest hour
//! ```
//!
//! `_` ends a repository's name: no component of a name can be it. So no key lies below another, and a file system
//! can keep them as they are.

use std::fmt;

use crate::digest::Digest;
use crate::name::{RepositoryName, Tag};

/// The name of something stored. Legal as an object's key and, part by part, as a file's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

/// What a key is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A blob, by digest.
    Blob(Digest),
    /// A manifest, by digest.
    Manifest(Digest),
    /// A tag of a repository of an upstream.
    Tag {
        /// The upstream's name.
        upstream: Box<str>,
        /// The repository, as the upstream calls it.
        repository: Box<str>,
        /// The tag.
        tag: Box<str>,
    },
    /// A digest that a repository has shown.
    Link {
        /// The upstream's name.
        upstream: Box<str>,
        /// The repository, as the upstream calls it.
        repository: Box<str>,
        /// The digest.
        digest: Digest,
    },
    /// Where a held tag pointed, and what it moved to.
    Hold {
        /// The upstream's name.
        upstream: Box<str>,
        /// The repository, as the upstream calls it.
        repository: Box<str>,
        /// The tag.
        tag: Box<str>,
    },
    /// Which tag of this repository this digest is held for.
    HeldDigest {
        /// The upstream's name.
        upstream: Box<str>,
        /// The repository, as the upstream calls it.
        repository: Box<str>,
        /// The digest.
        digest: Digest,
    },
    /// Which upstreams gave the bytes of a digest.
    Origins(Digest),
    /// A lease on the fetching of a digest.
    Lease {
        /// The digest.
        digest: Digest,
        /// Which one of them: each that expires gives way to the next number.
        epoch: u32,
    },
    /// What is known of an upload in parts that waits to be gone on with.
    Ingest(Digest),
    /// What an instance has served on a day.
    Usage {
        /// Days since 1970.
        day: u64,
        /// The instance's name.
        instance: Box<str>,
    },
}

/// Prefix of every key. A directory may hold what is not ours beside it.
pub const EVERYTHING: &str = "v1/";
/// Prefix of every blob's key.
pub const BLOBS: &str = "v1/blobs/";
/// Prefix of every manifest's key.
pub const MANIFESTS: &str = "v1/manifests/";
/// Prefix of every tag's key.
pub const TAGS: &str = "v1/tags/";
/// Prefix of every link's key.
pub const LINKS: &str = "v1/links/";
/// Prefix of the records of which upstreams gave a digest.
pub const ORIGINS: &str = "v1/origins/";
/// Prefix of every lease's key.
pub const LEASES: &str = "v1/leases/";
/// Prefix of what is known of uploads in parts.
pub const INGESTS: &str = "v1/ingests/";
/// Prefix of what is known of held tags.
pub const HOLDS: &str = "v1/holds/";
/// Prefix of which tags digests are held for.
pub const HELD: &str = "v1/held/";
/// Prefix of every key of what was used.
pub const USAGE: &str = "v1/usage/";

/// Prefixes of what is stored for its own sake.
pub(crate) const CONTENT: [&str; 2] = [BLOBS, MANIFESTS];
/// Prefixes of small records about it.
pub(crate) const RECORDS: [&str; 8] = [TAGS, LINKS, ORIGINS, HOLDS, HELD, LEASES, INGESTS, USAGE];
/// Prefixes of those records that are of use only with a digest that their key names.
pub(crate) const OF_A_DIGEST: [&str; 2] = [LINKS, ORIGINS];

/// Longest key: object stores allow 1024 bytes, of which a prefix of the user's own takes some.
const MAX_BYTES: usize = 900;

impl Key {
    /// Of a blob.
    pub fn blob(digest: &Digest) -> Self {
        Self::content(BLOBS, digest)
    }

    /// Of a manifest.
    pub fn manifest(digest: &Digest) -> Self {
        Self::content(MANIFESTS, digest)
    }

    /// Of a tag.
    pub fn tag(upstream: &str, repository: &RepositoryName, tag: &str) -> Self {
        Self::of([TAGS, upstream, "/", repository.as_str(), "/_/", tag])
    }

    /// Of a link.
    pub fn link(upstream: &str, repository: &RepositoryName, digest: &Digest) -> Self {
        let (algorithm, encoded) = (digest.algorithm(), digest.encoded());
        Self::of([LINKS, upstream, "/", repository.as_str(), "/_/", algorithm, "/", encoded])
    }

    /// Of what is known of a held tag.
    pub fn hold(upstream: &str, repository: &RepositoryName, tag: &str) -> Self {
        Self::of([HOLDS, upstream, "/", repository.as_str(), "/_/", tag])
    }

    /// Of what is known of a held tag that is named in full: `docker.io/library/alpine:3.20`.
    pub fn hold_named(image: &str) -> Option<Self> {
        let (repository, tag) = image.rsplit_once(':')?;
        let (upstream, repository) = repository.split_once('/')?;
        Self::parse(&format!("{HOLDS}{upstream}/{repository}/_/{tag}"))
    }

    /// Of which tag a digest is held for.
    pub fn held_digest(upstream: &str, repository: &RepositoryName, digest: &Digest) -> Self {
        let (algorithm, encoded) = (digest.algorithm(), digest.encoded());
        Self::of([HELD, upstream, "/", repository.as_str(), "/_/", algorithm, "/", encoded])
    }

    /// Prefix of the keys of all links of a repository.
    pub fn links_of(upstream: &str, repository: &RepositoryName) -> String {
        [LINKS, upstream, "/", repository.as_str(), "/_/"].concat()
    }

    /// The digest of a link.
    pub fn linked_digest(&self) -> Option<Digest> {
        match self.kind()? {
            Kind::Link { digest, .. } => Some(digest),
            Kind::Blob(_)
            | Kind::Manifest(_)
            | Kind::Tag { .. }
            | Kind::Hold { .. }
            | Kind::HeldDigest { .. }
            | Kind::Origins(_)
            | Kind::Lease { .. }
            | Kind::Ingest(_)
            | Kind::Usage { .. } => None,
        }
    }

    /// Of which upstreams gave a digest.
    pub fn origins(digest: &Digest) -> Self {
        Self::content(ORIGINS, digest)
    }

    /// Of a lease.
    pub fn lease(digest: &Digest, epoch: u32) -> Self {
        Self(format!("{LEASES}{}/{}/{epoch}", digest.algorithm(), digest.encoded()).into())
    }

    /// Of how far an upload in parts has come.
    pub fn ingest(digest: &Digest) -> Self {
        Self(format!("{INGESTS}{}/{}/at", digest.algorithm(), digest.encoded()).into())
    }

    /// Of what is behind the last part that was sent.
    pub fn ingest_tail(digest: &Digest) -> Self {
        Self(format!("{INGESTS}{}/{}/tail", digest.algorithm(), digest.encoded()).into())
    }

    /// Of what an instance has served on a day, in days since 1970.
    pub fn usage(day: u64, instance: &str) -> Self {
        Self(format!("{USAGE}{day}/{instance}").into())
    }

    fn content(prefix: &str, digest: &Digest) -> Self {
        let (algorithm, encoded) = (digest.algorithm(), digest.encoded());
        Self::of([prefix, algorithm, "/", shard(encoded), "/", encoded])
    }

    /// Each request builds some keys, so this takes one allocation, of the right length.
    fn of<const PARTS: usize>(parts: [&str; PARTS]) -> Self {
        Self(parts.concat().into())
    }

    /// Reads back what one of the others wrote; `None`: it is not ours.
    pub fn parse(text: &str) -> Option<Self> {
        let key = Self(text.into());
        (text.len() <= MAX_BYTES && key.kind().is_some()).then_some(key)
    }

    /// What it is of.
    pub fn kind(&self) -> Option<Kind> {
        let text = self.as_str();
        let content = |rest: &str| {
            let (algorithm, rest) = rest.split_once('/')?;
            let (shard, encoded) = rest.split_once('/')?;
            let digest = Digest::parse(&format!("{algorithm}:{encoded}")).ok()?;
            (self::shard(digest.encoded()) == shard).then_some(digest)
        };
        let digest = |rest: &str| {
            let (algorithm, encoded) = rest.split_once('/')?;
            Digest::parse(&format!("{algorithm}:{encoded}")).ok()
        };
        let place = |rest: &str| {
            let (place, rest) = rest.split_once("/_/")?;
            let (upstream, repository) = place.split_once('/')?;
            let is_legal = is_part(upstream) && RepositoryName::parse(repository).is_ok();
            is_legal.then(|| (Box::from(upstream), Box::from(repository), rest.to_owned()))
        };
        if let Some(rest) = text.strip_prefix(BLOBS) {
            content(rest).map(Kind::Blob)
        } else if let Some(rest) = text.strip_prefix(MANIFESTS) {
            content(rest).map(Kind::Manifest)
        } else if let Some(rest) = text.strip_prefix(TAGS) {
            let (upstream, repository, tag) = place(rest)?;
            Tag::parse(&tag).is_some().then(|| Kind::Tag { upstream, repository, tag: tag.into() })
        } else if let Some(rest) = text.strip_prefix(LINKS) {
            let (upstream, repository, rest) = place(rest)?;
            let digest = digest(&rest)?;
            Some(Kind::Link { upstream, repository, digest })
        } else if let Some(rest) = text.strip_prefix(HOLDS) {
            let (upstream, repository, tag) = place(rest)?;
            Tag::parse(&tag).is_some().then(|| Kind::Hold { upstream, repository, tag: tag.into() })
        } else if let Some(rest) = text.strip_prefix(HELD) {
            let (upstream, repository, rest) = place(rest)?;
            let digest = digest(&rest)?;
            Some(Kind::HeldDigest { upstream, repository, digest })
        } else if let Some(rest) = text.strip_prefix(ORIGINS) {
            content(rest).map(Kind::Origins)
        } else if let Some(rest) = text.strip_prefix(LEASES) {
            let (rest, text) = rest.rsplit_once('/')?;
            let epoch: u32 = text.parse().ok()?;
            (epoch.to_string() == text).then_some(Kind::Lease { digest: digest(rest)?, epoch })
        } else if let Some(rest) = text.strip_prefix(INGESTS) {
            let rest = rest.strip_suffix("/at").or_else(|| rest.strip_suffix("/tail"))?;
            digest(rest).map(Kind::Ingest)
        } else if let Some(rest) = text.strip_prefix(USAGE) {
            let (day, instance) = rest.split_once('/')?;
            let day = day.parse().ok().filter(|number: &u64| number.to_string() == day)?;
            is_part(instance).then(|| Kind::Usage { day, instance: instance.into() })
        } else {
            None
        }
    }

    /// The text: parts joined by `/`, none of them empty, `.` or `..`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The part that keeps directories small.
fn shard(encoded: &str) -> &str {
    encoded.get(..2).unwrap_or(encoded)
}

/// One part of a key that is neither empty nor a way out.
fn is_part(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && !text.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests;
