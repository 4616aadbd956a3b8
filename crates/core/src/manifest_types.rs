//! The types of manifests that passed lately, by digest, and those that clients accept. To find a type in a manifest takes longer
//! than to verify its digest, and what has a digest keeps its type.

use quick_cache::sync::Cache;

use crate::accept::AcceptLists;
use crate::digest::Digest;
use crate::media;

/// Most types that are remembered, of some 200 bytes each.
const MAX_TYPES: usize = 4096;

/// Remembered types.
pub(crate) struct ManifestTypes {
    of_digests: Cache<Digest, &'static str>,
    /// What clients accept.
    pub(crate) accepted: AcceptLists,
}

impl ManifestTypes {
    pub(crate) fn new() -> Self {
        Self { of_digests: Cache::new(MAX_TYPES), accepted: AcceptLists::default() }
    }

    /// The type of the manifest of these bytes, which were verified against this digest. `None`: they are no manifest.
    pub(crate) fn of(&self, digest: &Digest, bytes: &[u8]) -> Option<&'static str> {
        let remembered = self.of_digests.get(digest);
        remembered
            .or_else(|| media::of_manifest(bytes).inspect(|found| self.of_digests.insert(digest.clone(), found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_found_once_and_what_is_no_manifest_never_has_one() {
        let types = ManifestTypes::new();
        let (index, page) = (br#"{"manifests":[]}"#, b"<html>");
        let [of_index, of_page] = [Digest::sha256(index), Digest::sha256(page)];
        assert_eq!(types.of(&of_index, index), Some(media::OCI_INDEX));
        assert_eq!(types.of(&of_page, page), None);
        // The bytes are not looked at again.
        assert_eq!(types.of(&of_index, page), Some(media::OCI_INDEX));
        assert_eq!(types.of(&of_page, page), None);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let types = ManifestTypes::new();
        for number in 0..2 * MAX_TYPES {
            let manifest = format!(r#"{{"layers":[],"number":{number}}}"#);
            let digest = Digest::sha256(manifest.as_bytes());
            assert_eq!(types.of(&digest, manifest.as_bytes()), Some(media::OCI_MANIFEST));
        }
        assert!(types.of_digests.len() <= MAX_TYPES, "{}", types.of_digests.len());
    }
}
