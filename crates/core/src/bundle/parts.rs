//! What a manifest consists of, for whoever exports it.

use crate::cache::Described;
use crate::digest::Digest;
use crate::media;

/// What a manifest consists of, each digest once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestParts {
    /// Its type.
    pub media_type: &'static str,
    /// Its length in bytes.
    pub length: u64,
    /// An index's manifests, and their platforms where those are said: `linux/arm64/v8`.
    pub manifests: Vec<(Digest, Option<String>)>,
    /// An image's configuration and layers, but for those that are fetched from elsewhere.
    pub blobs: Vec<Digest>,
}

impl ManifestParts {
    /// Of a manifest with these bytes; `None`: they are none.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let media_type = media::of_manifest(bytes)?;
        let Described { manifests, blobs } = Described::of(bytes);
        Some(Self {
            media_type,
            length: bytes.len() as u64,
            manifests: manifests.into_iter().map(|child| (child.digest, child.platform)).collect(),
            blobs: blobs.into_iter().map(|blob| blob.digest).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_taken_apart_and_anything_else_is_none() {
        let [a, b] = [&b"a"[..], b"b"].map(Digest::sha256);
        let index = format!(
            r#"{{"manifests":[{{"digest":"{a}","platform":{{"os":"linux","architecture":"amd64"}}}},{{"digest":"{b}"}}]}}"#
        );
        let expected = ManifestParts {
            media_type: media::OCI_INDEX,
            length: index.len() as u64,
            manifests: vec![(a.clone(), Some("linux/amd64".to_owned())), (b.clone(), None)],
            blobs: vec![],
        };
        assert_eq!(ManifestParts::of(index.as_bytes()), Some(expected));
        let image = format!(r#"{{"config":{{"digest":"{a}"}},"layers":[{{"digest":"{b}"}},{{"digest":"{b}"}}]}}"#);
        assert_eq!(ManifestParts::of(image.as_bytes()).unwrap().blobs, [a, b]);
        assert_eq!(ManifestParts::of(b"{}"), None);
    }
}
