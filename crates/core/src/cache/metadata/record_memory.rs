//! Records in memory: where tags point, which repository has which digest, and who gave it. Also what was forgotten, so that
//! an answer to an older question does not bring it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache as Memory;

use super::manifest_format::{Described, StoredManifest};
use super::tag::Pointer;
use crate::cache::Key;
use crate::digest::Digest;
use crate::evidence::{Link, Origins, Provenance};

/// Most forgotten tags and links to remember: a request that began before ends before so many others are forgotten.
const MAX_FORGOTTEN: usize = 1000;
/// Blobs whose length a manifest states: it is needed soon after, while the image is pulled.
const MAX_DESCRIBED: usize = 10_000;

/// A tag that is asked about: the answer counts unless the tag is forgotten meanwhile.
#[derive(Clone)]
pub(crate) struct TagGeneration {
    pub(crate) key: Key,
    /// Changes when it is forgotten.
    pub(crate) generation: u64,
}

/// A link to be written, unless it is forgotten meanwhile.
pub(super) struct NewLink {
    pub(super) key: Key,
    pub(super) link: Link,
    /// The generation in which the upstream was asked.
    pub(super) since: u64,
}

/// The memory tier before the store's records.
pub(super) struct RecordMemory {
    pointers: Memory<Key, Pointer>,
    links: Memory<Key, Link>,
    /// Lengths of blobs in the manifests that name them, by the key of their link.
    described: Memory<Key, u64>,
    origins: Memory<Digest, Arc<Origins>>,
    /// Tags and links that were forgotten, each with the generation that this began.
    forgotten: Memory<Key, u64>,
    generations: AtomicU64,
}

impl RecordMemory {
    /// At most so many of each kind.
    pub(super) fn new(entries: usize) -> Self {
        Self {
            pointers: Memory::new(entries),
            links: Memory::new(entries),
            described: Memory::new(MAX_DESCRIBED),
            origins: Memory::new(entries),
            forgotten: Memory::new(MAX_FORGOTTEN),
            generations: AtomicU64::new(0),
        }
    }

    /// Grows when something is forgotten: an answer to an older generation's request is outdated.
    pub(super) fn generation(&self) -> u64 {
        self.generations.load(Ordering::Relaxed)
    }

    /// Begins a new generation, and returns it.
    pub(super) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The generation in which a tag or link was last forgotten; 0: never, or long ago.
    pub(super) fn forgotten_in(&self, key: &Key) -> u64 {
        self.forgotten.get(key).unwrap_or(0)
    }

    /// Remembers that a tag or link is forgotten from this generation on.
    pub(super) fn set_forgotten(&self, key: &Key, generation: u64) {
        self.forgotten.insert(key.clone(), generation);
    }

    /// Whether a link was not forgotten since this generation.
    pub(super) fn was_kept_since(&self, key: &Key, since: u64) -> bool {
        self.forgotten_in(key) <= since
    }

    /// A tag and its generation.
    pub(super) fn tag(&self, key: Key) -> TagGeneration {
        let generation = self.forgotten_in(&key);
        TagGeneration { key, generation }
    }

    /// Whether it was not forgotten since it was asked about.
    pub(super) fn is_current(&self, tag: &TagGeneration) -> bool {
        self.forgotten_in(&tag.key) == tag.generation
    }

    /// Where a tag points.
    pub(super) fn pointer(&self, key: &Key) -> Option<Pointer> {
        self.pointers.get(key)
    }

    /// Remembers where a tag points, unless it was forgotten since then; returns whether it did.
    pub(super) fn remember(&self, tag: &TagGeneration, pointer: &Pointer) -> bool {
        self.pointers.insert(tag.key.clone(), pointer.clone());
        // In this order: whoever forgets it now finds it here.
        let is_current = self.is_current(tag);
        if !is_current {
            self.pointers.remove(&tag.key);
        }
        is_current
    }

    /// Tags that match.
    pub(super) fn tags(&self, is_meant: impl Fn(&Key, &Pointer) -> bool) -> Vec<Key> {
        self.pointers.iter().filter(|(key, pointer)| is_meant(key, pointer)).map(|(key, _)| key).collect()
    }

    /// Digests that a repository has.
    pub(super) fn links_below(&self, prefix: &str) -> Vec<Digest> {
        let links = self.links.iter().filter(|(key, _)| key.as_str().starts_with(prefix));
        links.filter_map(|(key, _)| key.linked_digest()).collect()
    }

    /// How it is known that a repository has a digest.
    pub(super) fn link(&self, key: &Key) -> Option<Link> {
        self.links.get(key)
    }

    /// Remembers a link, unless a stronger one is known or it was forgotten since; returns whether it did.
    pub(super) fn remember_link(&self, key: &Key, link: Link, since: u64) -> bool {
        if self.links.get(key).is_some_and(|known| known >= link) {
            return false;
        }
        self.links.insert(key.clone(), link);
        // In this order: whoever forgets it now finds it here.
        let was_kept = self.was_kept_since(key, since);
        if !was_kept {
            self.links.remove(key);
        }
        was_kept
    }

    /// Remembers a link; `None`: it was known already.
    pub(super) fn new_link(&self, provenance: &Provenance, digest: &Digest, link: Link) -> Option<NewLink> {
        let key = key_of_link(provenance, digest);
        // A deleted link comes back if the registry confirms it, and not by a manifest that still names it.
        let is_gone = link == Link::Named && self.forgotten.get(&key).is_some();
        let is_new = digest.is_computable() && !is_gone && self.remember_link(&key, link, provenance.since);
        is_new.then_some(NewLink { key, link, since: provenance.since })
    }

    /// Remembers the children of a repository's manifest, and their lengths; returns the links that are new.
    pub(super) fn name_children(&self, provenance: &Provenance, manifest: &StoredManifest) -> Vec<NewLink> {
        let Described { manifests, blobs } = Described::of(&manifest.bytes);
        for blob in &blobs {
            if let Some(length) = blob.size {
                self.described.insert(key_of_link(provenance, &blob.digest), length);
            }
        }
        let children = manifests.iter().chain(&blobs);
        children.filter_map(|child| self.new_link(provenance, &child.digest, Link::Named)).collect()
    }

    /// A blob's length in a manifest of this repository: its bytes may be of another length.
    pub(super) fn described_length(&self, provenance: &Provenance, digest: &Digest) -> Option<u64> {
        self.described.get(&key_of_link(provenance, digest)).filter(|length| *length > 0)
    }

    /// Who has given a digest.
    pub(super) fn origins(&self, digest: &Digest) -> Option<Arc<Origins>> {
        self.origins.get(digest)
    }

    /// Remembers who has given a digest.
    pub(super) fn set_origins(&self, digest: &Digest, origins: &Arc<Origins>) {
        self.origins.insert(digest.clone(), Arc::clone(origins));
    }

    /// Remembers who gives a digest; `None`: it was known already.
    pub(super) fn new_origins(&self, provenance: &Provenance, digest: &Digest) -> Option<(Digest, Arc<Origins>)> {
        let new = Origins::one(&provenance.upstream, provenance.anonymous);
        let all = Arc::new(match self.origins.get(digest) {
            Some(known) => known.with(&new)?,
            None => new,
        });
        self.set_origins(digest, &all);
        Some((digest.clone(), all))
    }

    /// Drops a tag or a link.
    pub(super) fn remove(&self, key: &Key) {
        self.pointers.remove(key);
        self.links.remove(key);
    }

    /// Drops who has given a digest.
    pub(super) fn remove_origins(&self, digest: &Digest) {
        self.origins.remove(digest);
    }

    /// Drops everything but what was forgotten.
    pub(super) fn clear(&self) {
        self.pointers.clear();
        self.links.clear();
        self.described.clear();
        self.origins.clear();
    }
}

fn key_of_link(provenance: &Provenance, digest: &Digest) -> Key {
    Key::link(&provenance.upstream, &provenance.repository, digest)
}
