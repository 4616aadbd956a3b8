//! How manifests and links are written down.

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;

use crate::digest::Digest;
use crate::media;

/// Most descriptors of a manifest that are looked at: as many layers as any image has, and some.
const MAX_CHILDREN: usize = 1000;

/// A manifest that can be served: its bytes have the digest it goes by, and its type is known.
#[derive(Debug, Clone)]
pub(crate) struct StoredManifest {
    /// As its upstream gave it, or as it says of itself.
    pub(crate) media_type: HeaderValue,
    /// Of the bytes.
    pub(crate) digest: Digest,
    /// To the byte as the upstream sent them.
    pub(crate) bytes: Bytes,
}

impl StoredManifest {
    /// One line with the media type, then the exact bytes.
    pub(crate) fn to_record(&self) -> Bytes {
        [self.media_type.as_bytes(), b"\n", &self.bytes].concat().into()
    }

    /// From a record, if its bytes still have that digest; otherwise it counts as absent.
    pub(crate) fn from_record(digest: &Digest, record: &Bytes) -> Option<Self> {
        let line = record.iter().take(300).position(|byte| *byte == b'\n')?;
        let bytes = record.slice(line + 1..);
        let media_type = HeaderValue::from_bytes(record.get(..line)?).ok()?;
        media::of_manifest(media_type.to_str().ok(), &bytes)?;
        (digest.matches(&bytes) == Some(true)).then(|| Self { media_type, digest: digest.clone(), bytes })
    }

    /// What it consists of.
    pub(crate) fn children(&self) -> Children {
        Children::of(&self.bytes)
    }
}

/// What a manifest names by digest: parts of the same image, in the same repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Children {
    /// An index's manifests.
    pub(crate) manifests: Vec<Digest>,
    /// An image's configuration and layers, but for those that are fetched from elsewhere (P-110).
    pub(crate) blobs: Vec<Digest>,
}

impl Children {
    /// Reads the descriptors of a manifest of any kind; what cannot be read names nothing.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Descriptor {
            digest: Option<String>,
            #[serde(default)]
            urls: Option<Vec<serde::de::IgnoredAny>>,
        }
        #[derive(Deserialize, Default)]
        #[serde(default, rename_all = "camelCase")]
        struct Shape {
            manifests: Vec<Descriptor>,
            config: Option<Descriptor>,
            layers: Vec<Descriptor>,
            blobs: Vec<Descriptor>,
            /// Of schema 1.
            fs_layers: Vec<FsLayer>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct FsLayer {
            blob_sum: String,
        }
        let shape: Shape = serde_json::from_slice(bytes).unwrap_or_default();
        let parse = |descriptor: &Descriptor| Digest::parse(descriptor.digest.as_deref()?).ok();
        let mut children = Self::default();
        children.manifests.extend(shape.manifests.iter().filter_map(parse).take(MAX_CHILDREN));
        let is_here = |descriptor: &&Descriptor| descriptor.urls.as_ref().is_none_or(Vec::is_empty);
        let layers =
            shape.config.iter().chain(&shape.layers).chain(&shape.blobs).filter(is_here).filter_map(parse);
        let old = shape.fs_layers.iter().filter_map(|layer| Digest::parse(&layer.blob_sum).ok());
        children.blobs.extend(layers.chain(old).take(MAX_CHILDREN));
        children
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Digest> {
        self.manifests.iter().chain(&self.blobs)
    }
}

/// How it is known that a repository has a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proof {
    /// A manifest of this repository names it. Whoever writes a manifest can name what they have no right to see, so
    /// this is enough only where all clients may see the same.
    Named,
    /// The upstream gave it, or said that it is there.
    Shown,
}

impl Proof {
    /// As a record.
    pub(crate) fn to_record(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Named => b"named",
            Self::Shown => b"shown",
        })
    }

    /// From a record; `None`: it cannot be read, and counts as absent.
    pub(crate) fn from_record(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"named" => Some(Self::Named),
            b"shown" => Some(Self::Shown),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(bytes: &'static [u8]) -> StoredManifest {
        let bytes = Bytes::from_static(bytes);
        let media_type = HeaderValue::from_static(media::OCI_MANIFEST);
        StoredManifest { media_type, digest: Digest::sha256(&bytes), bytes }
    }

    #[test]
    fn a_manifest_reads_back_to_the_byte() {
        let written = manifest(b"{\"a\":\n \"b\"}\n");
        let read = StoredManifest::from_record(&written.digest, &written.to_record()).unwrap();
        assert_eq!((read.media_type, read.bytes), (written.media_type, written.bytes));
    }

    #[test]
    fn a_flipped_bit_or_a_torn_record_is_absent() {
        let written = manifest(b"{\"a\":1}");
        let record = written.to_record();
        for at in [record.len() - 1, record.len() - 4] {
            let mut flipped = record.to_vec();
            flipped[at] ^= 1;
            assert!(StoredManifest::from_record(&written.digest, &flipped.into()).is_none(), "at {at}");
        }
        for length in 0..record.len() {
            assert!(StoredManifest::from_record(&written.digest, &record.slice(..length)).is_none(), "{length}");
        }
    }

    #[test]
    fn children_are_found_in_every_kind_of_manifest() {
        let digests: Vec<Digest> = (0..4_u8).map(|byte| Digest::sha256(&[byte])).collect();
        let [a, b, c, d] = digests.as_slice() else { unreachable!() };
        let image = format!(
            r#"{{"config":{{"digest":"{a}"}},"layers":[{{"digest":"{b}"}},{{"digest":"{c}","urls":["https://x"]}},
            {{"digest":"nonsense"}},{{"digest":"{d}","urls":[]}}]}}"#
        );
        assert_eq!(
            Children::of(image.as_bytes()),
            Children { manifests: vec![], blobs: vec![a.clone(), b.clone(), d.clone()] }
        );
        let index = format!(r#"{{"manifests":[{{"digest":"{a}"}},{{"digest":"{b}"}}]}}"#);
        assert_eq!(Children::of(index.as_bytes()).manifests, [a.clone(), b.clone()]);
        let old = format!(r#"{{"fsLayers":[{{"blobSum":"{c}"}}]}}"#);
        assert_eq!(Children::of(old.as_bytes()).blobs, std::slice::from_ref(c));
        for rubbish in [&b""[..], b"[]", b"{\"layers\":7}", b"\xff"] {
            assert_eq!(Children::of(rubbish), Children::default());
        }
    }

    #[test]
    fn proofs_read_back() {
        for proof in [Proof::Named, Proof::Shown] {
            assert_eq!(Proof::from_record(&proof.to_record()), Some(proof));
        }
        assert_eq!(Proof::from_record(b""), None);
    }
}
