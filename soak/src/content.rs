//! What the upstream holds: images with real digests, made from a fixed seed, whose tags move.
//!
//! Layers take no room: each is sixteen bytes of its own before a part of one pool of random bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use registry_proxy_outer::digest::{self, Hasher};
use serde_json::json;

use crate::dice::Dice;

/// `sha256:` and 64 digits.
pub(crate) type Digest = Arc<str>;

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

const SEED: u64 = 0x736f_616b;
const POOL: usize = 1 << 20;
/// The longest piece of a layer that is sent at once.
const PIECE: u64 = 64 << 10;
/// Bytes of a layer before those of the pool: they name it.
const NAME: u64 = 16;

/// One image in so many has a large layer; never the most popular ones, or the load would be mostly theirs.
const LARGE_EVERY: u32 = 100;
const LARGE_FIRST: u32 = 50;
const LARGE: (u64, u64) = (4 << 20, 32 << 20);
const SMALL: (u64, u64) = (20_000, 200_000);
const CONFIG: (u64, u64) = (2_000, 8_000);
const TAGS_PER_REPOSITORY: usize = 10;

/// What a digest names.
#[derive(Clone)]
pub(crate) enum Blob {
    Layer { seed: u64, length: u64 },
    Config(Bytes),
    Manifest(Bytes),
}

/// Where a tag pointed, since when.
struct Version {
    manifest: Digest,
    first_layer: (Digest, u64),
    since: Duration,
}

/// What a client was told of a tag, against what is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagAge {
    Current,
    /// It has pointed elsewhere for so long.
    Outdated(Duration),
    /// It never pointed there.
    Unknown,
}

pub(crate) struct Content {
    pool: Bytes,
    blobs: RwLock<HashMap<Digest, Blob>>,
    /// The versions of each image, the newest last.
    images: RwLock<Vec<Vec<Version>>>,
    dice: RwLock<Dice>,
}

impl Content {
    pub(crate) fn new(images: u32) -> Self {
        let mut dice = Dice::new(SEED);
        let pool: Vec<u8> = (0..POOL / 8).flat_map(|_| dice.next().to_le_bytes()).collect();
        let content = Self {
            pool: pool.into(),
            blobs: RwLock::default(),
            images: RwLock::default(),
            dice: RwLock::new(dice),
        };
        for number in 0..images {
            let is_large = number % LARGE_EVERY == LARGE_FIRST;
            let first_layer = content.add_layer(if is_large { LARGE } else { SMALL });
            let version = content.version(first_layer, Duration::ZERO);
            write(&content.images).push(vec![version]);
        }
        content
    }

    /// Points the tag of an image to a new manifest, which shares the first layer with the one before.
    pub(crate) fn move_tag(&self, image: usize, now: Duration) {
        let first_layer =
            read(&self.images).get(image).and_then(|versions| Some(versions.last()?.first_layer.clone()));
        let Some(first_layer) = first_layer else { return };
        let version = self.version(first_layer, now);
        if let Some(versions) = write(&self.images).get_mut(image) {
            versions.push(version);
        }
    }

    pub(crate) fn blob(&self, digest: &str) -> Option<Blob> {
        read(&self.blobs).get(digest).cloned()
    }

    /// The manifest that a tag points to.
    pub(crate) fn tagged(&self, repository: &str, tag: &str) -> Option<Digest> {
        let image = number(repository, tag)?;
        read(&self.images).get(image).and_then(|versions| Some(Arc::clone(&versions.last()?.manifest)))
    }

    /// Whether the tag of an image points there, as of then.
    pub(crate) fn age(&self, image: usize, digest: &str, now: Duration) -> TagAge {
        let images = read(&self.images);
        let Some(versions) = images.get(image) else { return TagAge::Unknown };
        match versions.iter().position(|version| &*version.manifest == digest) {
            None => TagAge::Unknown,
            Some(found) => match versions.get(found + 1) {
                None => TagAge::Current,
                Some(next) => TagAge::Outdated(now.saturating_sub(next.since)),
            },
        }
    }

    /// Number of blobs, and the bytes of all together.
    pub(crate) fn size(&self) -> (usize, u64) {
        let blobs = read(&self.blobs);
        (blobs.len(), blobs.values().map(Blob::length).sum())
    }

    /// A part of a layer.
    pub(crate) fn pieces(&self, seed: u64, range: Range<u64>) -> Vec<Bytes> {
        let name = Bytes::from(format!("{seed:016x}"));
        let pool = self.pool.len() as u64;
        let (mut at, mut pieces) = (range.start, Vec::new());
        while at < range.end {
            let (source, from, limit) =
                if at < NAME { (&name, at, NAME) } else { (&self.pool, (at - NAME + seed % pool) % pool, pool) };
            let length = PIECE.min(range.end - at).min(limit - from);
            pieces.push(source.slice(index(from)..index(from + length)));
            at += length;
        }
        pieces
    }

    fn version(&self, first_layer: (Digest, u64), since: Duration) -> Version {
        let second_layer = self.add_layer(SMALL);
        let layers = [first_layer.clone(), second_layer];
        let config = self.config(&layers);
        let size = config.len();
        let config = self.add(Blob::Config(config.clone()), digest::of_bytes(&config));
        let layer =
            |(digest, size): &(Digest, u64)| json!({"mediaType": LAYER_TYPE, "digest": **digest, "size": size});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": *config, "size": size},
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        });
        let manifest = Bytes::from(manifest.to_string());
        let digest = digest::of_bytes(&manifest);
        Version { manifest: self.add(Blob::Manifest(manifest), digest), first_layer, since }
    }

    fn config(&self, layers: &[(Digest, u64)]) -> Bytes {
        let mut dice = write(&self.dice);
        let length = index(dice.between(CONFIG.0, CONFIG.1));
        let words = (0..length / 16).map(|_| format!("{:016x}", dice.next()));
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"test.soak": words.collect::<String>()}},
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|(digest, _)| &**digest).collect::<Vec<_>>()},
        });
        config.to_string().into()
    }

    fn add_layer(&self, (shortest, longest): (u64, u64)) -> (Digest, u64) {
        let (seed, length) = {
            let mut dice = write(&self.dice);
            (dice.next(), dice.between(shortest, longest))
        };
        let mut hasher = Hasher::new();
        for piece in self.pieces(seed, 0..length) {
            hasher.update(&piece);
        }
        (self.add(Blob::Layer { seed, length }, hasher.finish()), length)
    }

    fn add(&self, blob: Blob, digest: String) -> Digest {
        let digest: Digest = digest.into();
        write(&self.blobs).insert(Arc::clone(&digest), blob);
        digest
    }
}

impl Blob {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Layer { length, .. } => *length,
            Self::Config(bytes) | Self::Manifest(bytes) => bytes.len() as u64,
        }
    }

    pub(crate) fn media_type(&self) -> &'static str {
        match self {
            Self::Layer { .. } | Self::Config(_) => "application/octet-stream",
            Self::Manifest(_) => MANIFEST_TYPE,
        }
    }
}

pub(crate) fn repository(image: usize) -> String {
    format!("apps/app-{}", image / TAGS_PER_REPOSITORY)
}

pub(crate) fn tag(image: usize) -> String {
    format!("line-{}", image % TAGS_PER_REPOSITORY)
}

fn number(repository: &str, tag: &str) -> Option<usize> {
    let repository: usize = repository.strip_prefix("apps/app-")?.parse().ok()?;
    let tag: usize = tag.strip_prefix("line-")?.parse().ok()?;
    Some(repository * TAGS_PER_REPOSITORY + tag)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_in_parts_has_the_digest_of_the_whole() {
        let content = Content::new(1);
        let (digest, length) = content.add_layer((3 << 20, 3 << 20));
        let Some(Blob::Layer { seed, .. }) = content.blob(&digest) else { panic!("no layer") };
        for middle in [0, 1, NAME, 70_000, length - 1] {
            let parts = [content.pieces(seed, 0..middle), content.pieces(seed, middle..length)].concat();
            assert_eq!(digest::of_bytes(&parts.concat()), *digest, "{middle}");
        }
    }

    #[test]
    fn a_tag_that_moved_is_outdated_since_then() {
        let content = Content::new(12);
        assert_eq!((repository(11), tag(11)), ("apps/app-1".to_owned(), "line-1".to_owned()));
        let before = content.tagged("apps/app-1", "line-1").unwrap();
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(content.age(11, &before, at(5)), TagAge::Current);
        content.move_tag(11, at(10));
        let after = content.tagged("apps/app-1", "line-1").unwrap();
        assert_ne!(after, before);
        assert_eq!(content.age(11, &before, at(13)), TagAge::Outdated(at(3)));
        assert_eq!(content.age(11, &after, at(13)), TagAge::Current);
        assert_eq!(content.age(10, &after, at(13)), TagAge::Unknown);
    }

    #[test]
    fn two_runs_have_the_same_images() {
        let tagged = || Content::new(3).tagged("apps/app-0", "line-2");
        assert_eq!(tagged(), tagged());
    }
}
