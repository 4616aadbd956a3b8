//! The stored format of manifests, and what they reference.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::body::{InFlight, SharedBytes, TierHandle};
use crate::cache::reported_use::ReportedUse;
use crate::digest::Digest;
use crate::headers::DigestHeaders;
use crate::media;

/// Most digests that are read from a manifest: more than the layers of any image.
const MAX_CHILDREN: usize = 1000;

/// A manifest that can be served: its bytes have the digest it goes by, and its type is known.
#[derive(Debug)]
pub(crate) struct StoredManifest {
    /// Derived from the bytes whenever they are read.
    pub(crate) media_type: &'static str,
    /// Of the bytes.
    pub(crate) digest: Digest,
    /// Exactly as the upstream sent them.
    pub(crate) bytes: Bytes,
    /// The headers of its digest.
    pub(crate) named: Arc<DigestHeaders>,
    /// When the store was last told that it is used.
    pub(in crate::cache) reported_use: ReportedUse,
    /// Counts the bytes for clients that still use them once memory dropped the manifest. Declared after the bytes, to
    /// be dropped after them.
    tier: Option<TierHandle>,
}

impl StoredManifest {
    /// From verified bytes; `None`: they are no manifest.
    pub(crate) fn new(digest: Digest, bytes: Bytes) -> Option<Self> {
        Some(Self::of(media::of_manifest(&bytes)?, digest, bytes, None))
    }

    fn of(media_type: &'static str, digest: Digest, bytes: Bytes, tier: Option<TierHandle>) -> Self {
        let named = Arc::new(DigestHeaders::of(&digest));
        Self { media_type, digest, bytes, named, reported_use: ReportedUse::default(), tier }
    }

    /// The same, held by a tier of memory.
    pub(crate) fn in_tier(self, account: &Arc<InFlight>) -> Self {
        let (handle, bytes) = TierHandle::new(self.bytes, account);
        Self { bytes, tier: Some(handle), ..self }
    }

    /// A handle that finds its bytes again while anybody uses them.
    pub(crate) fn downgrade(&self) -> Option<WeakManifest> {
        self.tier.as_ref().map(|tier| WeakManifest { media_type: self.media_type, bytes: tier.downgrade() })
    }

    /// Whether its bytes are counted, since memory dropped it.
    pub(crate) fn is_counted(&self) -> bool {
        self.tier.as_ref().is_some_and(TierHandle::is_counted)
    }

    /// One line with the media type, for people and for version 0.1.0; then the exact bytes.
    pub(crate) fn to_record(&self) -> Bytes {
        [self.media_type.as_bytes(), b"\n", &self.bytes].concat().into()
    }

    /// From a record, if its bytes still have that digest; otherwise it counts as absent.
    pub(crate) fn from_record(digest: &Digest, record: &Bytes) -> Option<Self> {
        let line = record.iter().take(300).position(|byte| *byte == b'\n')?;
        let bytes = record.slice(line + 1..);
        if digest.matches(&bytes) != Some(true) {
            return None;
        }
        Self::new(digest.clone(), bytes)
    }

    /// What it consists of.
    pub(crate) fn children(&self) -> Children {
        Children::of(&self.bytes)
    }
}

/// A manifest that clients may still use.
pub(crate) struct WeakManifest {
    media_type: &'static str,
    bytes: Weak<SharedBytes>,
}

impl WeakManifest {
    /// Whether any does.
    pub(crate) fn is_in_use(&self) -> bool {
        self.bytes.strong_count() > 0
    }

    /// The manifest, if any does.
    pub(crate) fn upgrade(&self, digest: &Digest) -> Option<StoredManifest> {
        let (handle, bytes) = TierHandle::upgrade(&self.bytes)?;
        Some(StoredManifest::of(self.media_type, digest.clone(), bytes, Some(handle)))
    }
}

/// The digests that a manifest references: parts of the same image, in the same repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Children {
    /// An index's manifests.
    pub(crate) manifests: Vec<Digest>,
    /// An image's configuration and layers, but for those that are fetched from elsewhere (P-110).
    pub(crate) blobs: Vec<Digest>,
}

impl Children {
    /// Reads the descriptors of a manifest of any kind; an unreadable one has none.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let described = Described::of(bytes);
        let digests = |pieces: Vec<ChildDescriptor>| pieces.into_iter().map(|piece| piece.digest).collect();
        Self { manifests: digests(described.manifests), blobs: digests(described.blobs) }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Digest> {
        self.manifests.iter().chain(&self.blobs)
    }
}

/// The descriptors in a manifest.
#[derive(Debug, Default)]
pub(crate) struct Described {
    /// An index's manifests.
    pub(crate) manifests: Vec<ChildDescriptor>,
    /// An image's configuration and layers.
    pub(crate) blobs: Vec<ChildDescriptor>,
}

/// A descriptor in a manifest.
#[derive(Debug)]
pub(crate) struct ChildDescriptor {
    /// Its digest.
    pub(crate) digest: Digest,
    /// Its length in bytes, where that is said.
    pub(crate) size: Option<u64>,
    /// `linux/arm64/v8`, where that is said.
    pub(crate) platform: Option<String>,
}

/// A field that is only shown may be of any type: nonsense in it must not hide a digest.
#[derive(Deserialize)]
struct Descriptor {
    digest: Option<String>,
    size: Option<Value>,
    platform: Option<Value>,
    #[serde(default)]
    urls: Option<Vec<serde::de::IgnoredAny>>,
}

impl Descriptor {
    fn piece(&self) -> Option<ChildDescriptor> {
        let word = |name: &str| self.platform.as_ref()?.get(name)?.as_str().filter(|word| !word.is_empty());
        let words: Vec<&str> = ["os", "architecture", "variant"].into_iter().filter_map(word).collect();
        Some(ChildDescriptor {
            digest: Digest::parse(self.digest.as_deref()?).ok()?,
            size: self.size.as_ref().and_then(Value::as_u64),
            platform: (!words.is_empty()).then(|| words.join("/")),
        })
    }
}

impl Described {
    /// Reads the descriptors of a manifest of any kind; an unreadable one has none.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default, rename_all = "camelCase")]
        struct ManifestShape {
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
        let shape: ManifestShape = serde_json::from_slice(bytes).unwrap_or_default();
        let is_here = |descriptor: &&Descriptor| descriptor.urls.as_ref().is_none_or(Vec::is_empty);
        let layers = shape.config.iter().chain(&shape.layers).chain(&shape.blobs).filter(is_here);
        let old = shape.fs_layers.iter().filter_map(|layer| {
            Some(ChildDescriptor { digest: Digest::parse(&layer.blob_sum).ok()?, size: None, platform: None })
        });
        Self {
            manifests: distinct(shape.manifests.iter().filter_map(Descriptor::piece)),
            blobs: distinct(layers.filter_map(Descriptor::piece).chain(old)),
        }
    }
}

/// Each digest once, in the order of first mention: a manifest may repeat one many times.
fn distinct(pieces: impl Iterator<Item = ChildDescriptor>) -> Vec<ChildDescriptor> {
    let mut seen = HashSet::new();
    pieces.filter(|piece| seen.insert(piece.digest.clone())).take(MAX_CHILDREN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(bytes: &'static [u8]) -> StoredManifest {
        let bytes = Bytes::from_static(bytes);
        StoredManifest::new(Digest::sha256(&bytes), bytes).unwrap()
    }

    #[test]
    fn a_manifest_reads_back_to_the_byte() {
        let written = manifest(b"{\"layers\":\n []}\n");
        let read = StoredManifest::from_record(&written.digest, &written.to_record()).unwrap();
        assert_eq!((read.media_type, read.bytes), (written.media_type, written.bytes));
    }

    #[test]
    fn a_flipped_bit_or_a_torn_record_is_absent() {
        let written = manifest(b"{\"layers\":[1]}");
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
    fn a_digest_that_is_named_often_is_one_child() {
        let [often, once] = [b"often", b"once."].map(|text| Digest::sha256(text));
        let named = |digest: &Digest| format!(r#"{{"digest":"{digest}"}}"#);
        let all = vec![named(&often); 5000].join(",");
        let text = format!(r#"{{"manifests":[{all},{}],"layers":[{all},{}]}}"#, named(&once), named(&once));
        let both = vec![often, once];
        assert_eq!(Children::of(text.as_bytes()), Children { manifests: both.clone(), blobs: both });
    }

    #[test]
    fn what_is_only_shown_hides_no_digest() {
        let digest = Digest::sha256(b"x");
        for (rest, size, platform) in [
            (
                r#","size":7,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}"#,
                Some(7),
                Some("linux/arm64/v8"),
            ),
            (r#","size":"7","platform":{"os":"linux","architecture":7}"#, None, Some("linux")),
            (r#","size":-1,"platform":"linux""#, None, None),
        ] {
            let index = format!(r#"{{"manifests":[{{"digest":"{digest}"{rest}}}]}}"#);
            let pieces = Described::of(index.as_bytes()).manifests;
            let [piece] = pieces.as_slice() else { panic!("{index}") };
            assert_eq!((piece.size, piece.platform.as_deref()), (size, platform), "{index}");
            assert_eq!(piece.digest, digest);
        }
    }
}
