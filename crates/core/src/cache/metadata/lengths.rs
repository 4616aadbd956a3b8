//! Lengths of blobs, from registries that gave them whole, or from manifests. A stored blob of another length is not that
//! blob, whatever its key says.

use quick_cache::sync::Cache as Memory;

use super::manifest_format::Described;
use crate::digest::Digest;

/// A length in bytes, and from whom it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// A manifest says so. Whoever may push one may write anything into it.
    Named(u64),
    /// Manifests say different things, of which at most one is true.
    Disputed,
    /// All of it came, and had its digest.
    Given(u64),
}

impl Length {
    /// Adds the length that a manifest names.
    fn and_named(self, size: u64) -> Self {
        match self {
            Self::Named(known) if known != size => Self::Disputed,
            Self::Named(_) | Self::Disputed | Self::Given(_) => self,
        }
    }

    /// The length, where one is known.
    fn known(self) -> Option<u64> {
        match self {
            Self::Named(size) | Self::Given(size) => Some(size),
            Self::Disputed => None,
        }
    }
}

/// Lengths of blobs, in memory only.
pub(crate) struct Lengths(Memory<Digest, Length>);

impl Lengths {
    /// Of so many blobs.
    pub(crate) fn new(entries: usize) -> Self {
        Self(Memory::new(entries))
    }

    /// Records the lengths that a manifest names.
    pub(crate) fn learn(&self, manifest: &[u8]) {
        for piece in Described::of(manifest).blobs {
            let Some(size) = piece.size else { continue };
            let length = self.0.get(&piece.digest).map_or(Length::Named(size), |known| known.and_named(size));
            self.0.insert(piece.digest, length);
        }
    }

    /// A registry gave all of it.
    pub(crate) fn given(&self, digest: &Digest, length: u64) {
        self.0.insert(digest.clone(), Length::Given(length));
    }

    /// The length of a blob in bytes, where one is known.
    pub(crate) fn of(&self, digest: &Digest) -> Option<u64> {
        self.0.get(digest)?.known()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(digest: &Digest, size: &str) -> String {
        format!(r#"{{"layers":[{{"digest":"{digest}","size":{size}}}]}}"#)
    }

    #[test]
    fn manifests_that_agree_say_how_long_a_blob_is_and_others_do_not() {
        let (lengths, digest) = (Lengths::new(100), Digest::sha256(b"x"));
        let learned = |size: &str| {
            lengths.learn(manifest(&digest, size).as_bytes());
            lengths.of(&digest)
        };
        assert_eq!(learned("\"7\""), None, "no number");
        assert_eq!(learned("7"), Some(7));
        assert_eq!(learned("7"), Some(7));
        assert_eq!(learned("8"), None, "one of them is wrong");
        assert_eq!(learned("7"), None, "and stays it");
    }

    #[test]
    fn what_a_registry_gave_is_not_moved_by_a_manifest() {
        let (lengths, digest) = (Lengths::new(100), Digest::sha256(b"x"));
        lengths.learn(manifest(&digest, "8").as_bytes());
        lengths.given(&digest, 7);
        lengths.learn(manifest(&digest, "8").as_bytes());
        assert_eq!(lengths.of(&digest), Some(7));
    }
}
