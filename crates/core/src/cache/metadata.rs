//! Manifests, where tags point, and how it is known which repository has what: in memory at once, in the store soon.

mod hold;
mod holds;
mod lengths;
mod lists;
mod manifest_format;
mod manifests;
mod record_memory;
mod tag;
mod unremoved;
mod usage;
mod write_behind;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::hold::{HoldChange, HoldRecord, Standing, TagSeen};
pub(crate) use self::holds::{HoldLookup, Holds};
pub(super) use self::lengths::Lengths;
pub(crate) use self::lists::{Listed, Lists};
pub(crate) use self::manifest_format::Children;
pub(crate) use self::manifest_format::{ChildDescriptor, Described, StoredManifest};
pub(super) use self::manifests::ENTRY_BYTES;
use self::manifests::Manifests;
use self::record_memory::RecordMemory;
pub(crate) use self::record_memory::TagGeneration;
pub(crate) use self::tag::{Freshness, HeldBack, Pointer};
use self::unremoved::Unremoved;
pub(crate) use self::usage::usage_failed;
use self::write_behind::{PendingWrite, TagUpdate, WriteBehind};
use super::backend::{CacheBackend, DEADLINE};
use super::{Key, Kind};
use crate::body::InFlight;
use crate::digest::Digest;
use crate::evidence::{Absences, ClientScope, Link, LookupMethod, Origin, Origins, Provenance, link_of_claim};
use crate::name::RepositoryName;
use crate::platform::within;

/// Absent references that are remembered.
const MAX_ABSENT: usize = 1000;

/// Everything the cache knows but the bytes of blobs.
pub(crate) struct Metadata {
    backend: Arc<CacheBackend>,
    manifests: Manifests,
    memory: Arc<RecordMemory>,
    /// Tags and links that were forgotten and may still be in the store.
    unremoved: Arc<Unremoved>,
    write_behind: Arc<WriteBehind>,
    /// Records of held tags.
    pub(crate) holds: Arc<Holds>,
    absences: Absences,
    /// How long a 404 is repeated.
    negative_ttl: Duration,
}

impl Metadata {
    /// In memory about so many entries of each kind, and so many bytes of manifests.
    pub(super) fn new(
        backend: &Arc<CacheBackend>,
        in_flight: &Arc<InFlight>,
        lengths: &Arc<Lengths>,
        (entries, manifest_bytes): (usize, u64),
        negative_ttl: Duration,
    ) -> Self {
        let memory = Arc::new(RecordMemory::new(entries));
        let unremoved = Arc::new(Unremoved::new(backend));
        Self {
            backend: Arc::clone(backend),
            manifests: Manifests::new(backend, lengths, in_flight, entries, manifest_bytes),
            write_behind: Arc::new(WriteBehind::new(backend, &memory, &unremoved)),
            memory,
            unremoved,
            holds: Arc::new(Holds::new(backend, entries)),
            absences: Absences::new(MAX_ABSENT),
            negative_ttl,
        }
    }

    /// A manifest by digest.
    pub(crate) async fn manifest(&self, digest: &Digest) -> Option<Arc<StoredManifest>> {
        self.manifests.get(digest).await
    }

    /// Stores a whole, verified manifest from an upstream, links to its children, and the tag that led to it.
    pub(crate) fn keep_manifest(
        self: &Arc<Self>,
        provenance: &Provenance,
        manifest: &Arc<StoredManifest>,
        pointer: Option<(TagGeneration, Pointer)>,
    ) {
        self.manifests.remember(manifest);
        let write = PendingWrite {
            manifest: Some(Arc::clone(manifest)),
            origins: self.memory.new_origins(provenance, &manifest.digest),
            links: self.memory.new_link(provenance, &manifest.digest, Link::Proven).into_iter().collect(),
            ..PendingWrite::of(pointer)
        };
        self.learn(provenance, manifest, write);
    }

    /// Links a stored manifest, which may have come through another repository, to this repository.
    pub(crate) fn link_manifest(
        self: &Arc<Self>,
        provenance: &Provenance,
        manifest: &Arc<StoredManifest>,
        pointer: Option<(TagGeneration, Pointer)>,
    ) {
        self.learn(provenance, manifest, PendingWrite::of(pointer));
    }

    /// Remembers what this repository has, and writes it with the rest of the pending write.
    fn learn(self: &Arc<Self>, provenance: &Provenance, manifest: &Arc<StoredManifest>, mut write: PendingWrite) {
        let named = self.memory.name_children(provenance, manifest);
        if let Some(TagUpdate { tag, pointer: Some(pointer) }) = &write.tag_update
            && !self.memory.remember(tag, pointer)
        {
            write.tag_update = None;
        }
        let is_news = !named.is_empty();
        write.links.extend(named);
        if write.is_empty() {
            return;
        }
        self.write_behind.write_soon(write);
        let children = manifest.children().manifests;
        if !is_news || children.is_empty() {
            return;
        }
        // An index's images may be stored already, through another repository: then no fetch through this one links
        // them.
        let (metadata, pending) = (Arc::clone(self), self.backend.begin_write());
        let provenance = provenance.clone();
        self.backend.tasks.spawn(Box::pin(async move {
            let mut links = Vec::new();
            for child in &children {
                // Where there is no room for it in time, the registry is asked about its children.
                let child = within(&*metadata.backend.clock, DEADLINE, metadata.manifest(child)).await;
                if let Ok(Some(child)) = child {
                    links.extend(metadata.memory.name_children(&provenance, &child));
                }
            }
            metadata.write_behind.write_soon(PendingWrite { links, ..PendingWrite::default() });
            drop(pending);
        }));
    }

    /// A blob's length in a manifest of this repository: its bytes may be of another length.
    pub(crate) fn described_length(&self, provenance: &Provenance, digest: &Digest) -> Option<u64> {
        self.memory.described_length(provenance, digest)
    }

    /// An upstream has given all of a digest, and it is verified.
    pub(crate) fn given(&self, provenance: &Provenance, digest: &Digest) {
        let links: Vec<_> = self.memory.new_link(provenance, digest, Link::Proven).into_iter().collect();
        let origins = self.memory.new_origins(provenance, digest);
        if origins.is_some() || !links.is_empty() {
            self.write_behind.write_soon(PendingWrite { origins, links, ..PendingWrite::default() });
        }
    }

    /// An upstream says that a repository has a digest: to a HEAD, with a part of it, or by taking a push of it.
    pub(crate) async fn claimed(&self, provenance: &Provenance, digest: &Digest) {
        let Provenance { upstream, repository, .. } = provenance;
        if self.memory.link(&Key::link(upstream, repository, digest)) == Some(Link::Proven) {
            return;
        }
        let link = link_of_claim(self.origin(upstream, digest, false).await);
        let links: Vec<_> = self.memory.new_link(provenance, digest, link).into_iter().collect();
        if !links.is_empty() {
            self.write_behind.write_soon(PendingWrite { links, ..PendingWrite::default() });
        }
    }

    /// Where stored bytes of a digest come from, seen from an upstream. `unrecorded_will_do`: if memory has no record, the
    /// store is not read, although another process may have written one meanwhile.
    pub(crate) async fn origin(&self, upstream: &str, digest: &Digest, unrecorded_will_do: bool) -> Origin {
        // What cannot be verified was never stored (P-90).
        if !digest.is_computable() {
            return Origin::Unrecorded;
        }
        match self.memory.origins(digest).map(|origins| origins.seen_from(upstream)) {
            Some(origin @ (Origin::This | Origin::Anonymous)) => return origin,
            Some(Origin::Unrecorded) if unrecorded_will_do => return Origin::Unrecorded,
            // Memory may have dropped some, or know only what came since the start.
            Some(Origin::Other | Origin::Unrecorded) | None => {}
        }
        let record = self.backend.read(&Key::origins(digest)).await.flatten();
        let stored = record.and_then(|record| Origins::from_record(&record)).unwrap_or_default();
        let all = match self.memory.origins(digest) {
            Some(known) => known.with(&stored).map_or(known, Arc::new),
            None => Arc::new(stored),
        };
        let origin = all.seen_from(upstream);
        self.memory.set_origins(digest, &all);
        origin
    }

    /// Grows when something is forgotten: an answer to an older generation's request is outdated.
    pub(crate) fn generation(&self) -> u64 {
        self.memory.generation()
    }

    /// Whether any 404 may be remembered: usually none is, and nothing need be looked up.
    pub(crate) fn may_know_absences(&self) -> bool {
        self.absences.may_know(self.backend.clock.now())
    }

    /// Whether a recent 404 answers this request.
    pub(crate) fn is_absent(
        &self,
        client: &ClientScope,
        reference: &str,
        asks: LookupMethod,
        takes_pushes: bool,
    ) -> bool {
        self.absences.answers(client, reference, asks, takes_pushes, self.backend.clock.now())
    }

    /// An upstream answered 404 to a request of generation `since`.
    pub(crate) fn absent(&self, client: ClientScope, reference: Box<str>, asked: LookupMethod, since: u64) {
        if self.negative_ttl.is_zero() || since != self.generation() {
            return;
        }
        let now = self.backend.clock.now();
        self.absences.note(client, reference, asked, now, now.after(self.negative_ttl));
        // A push meanwhile may have brought it. Checked after the note: a later push clears that.
        if since != self.generation() {
            self.absences.clear();
        }
    }

    /// Something was pushed or deleted: earlier 404s are not repeated, nor those still on their way.
    pub(crate) fn clear_absent(&self) {
        self.memory.next_generation();
        self.absences.clear();
    }

    /// A tag and its generation.
    pub(crate) fn tag(&self, key: Key) -> TagGeneration {
        self.memory.tag(key)
    }

    /// Where a tag points.
    pub(crate) async fn pointer(&self, key: &Key) -> Option<Pointer> {
        if let Some(pointer) = self.memory.pointer(key) {
            return Some(pointer);
        }
        let tag = self.tag(key.clone());
        if self.write_behind.is_writing(key) || self.unremoved.keys.holds(key) {
            return None;
        }
        let record = self.backend.read(key).await??;
        let pointer = Pointer::from_record(&record)?;
        self.memory.remember(&tag, &pointer).then_some(pointer)
    }

    /// An upstream has said where a tag points.
    pub(crate) fn point(&self, tag: &TagGeneration, pointer: Pointer) {
        if self.memory.remember(tag, &pointer) {
            self.write_behind.write_soon(PendingWrite::of(Some((tag.clone(), pointer))));
        }
    }

    /// Forgets a tag or a link at once: whoever needs it from now on asks the upstream. The future ends once the store has
    /// forgotten it, too, which happens whether or not anybody waits.
    pub(crate) fn forget(&self, key: &Key) -> impl Future<Output = ()> + Send + use<> {
        let generation = self.memory.next_generation();
        self.memory.set_forgotten(key, generation);
        // Before memory drops it: from then on the store is read.
        self.unremoved.keys.add(key, generation);
        self.memory.remove(key);
        let update = TagUpdate { tag: TagGeneration { key: key.clone(), generation }, pointer: None };
        let ended =
            self.write_behind.write_now(PendingWrite { tag_update: Some(update), ..PendingWrite::default() });
        async move {
            if let Some(ended) = ended {
                ended.await;
            }
        }
    }

    /// How it is known that a repository has a digest.
    pub(crate) async fn linked(
        &self,
        upstream: &str,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Option<Link> {
        if !digest.is_computable() {
            return None;
        }
        let key = Key::link(upstream, repository, digest);
        if let Some(link) = self.memory.link(&key) {
            return Some(link);
        }
        // Taken before the read: what is forgotten later outdates the record.
        let since = self.generation();
        if self.write_behind.is_writing(&key) || self.unremoved.keys.holds(&key) {
            return None;
        }
        let record = self.backend.read(&key).await??;
        let link = Link::from_record(&record)?;
        self.memory.remember_link(&key, link, since);
        self.memory.link(&key)
    }

    /// Digests that a repository has, as far as memory knows.
    pub(crate) fn remembered_links(&self, upstream: &str, repository: &RepositoryName) -> Vec<Digest> {
        self.memory.links_below(&Key::links_of(upstream, repository))
    }

    /// Tags in memory that match.
    pub(crate) fn remembered_tags(&self, is_meant: impl Fn(&Key, &Pointer) -> bool) -> Vec<Key> {
        self.memory.tags(is_meant)
    }

    /// Drops everything from memory.
    pub(crate) fn forget_records(&self) {
        self.memory.clear();
        self.holds.clear();
        self.manifests.clear();
    }

    /// Drops from memory what the store does not have any more.
    pub(super) fn lost(&self, key: &Key) {
        match key.kind() {
            Some(Kind::Manifest(digest)) => self.manifests.remove(&digest),
            Some(Kind::Tag { .. } | Kind::Link { .. }) => self.memory.remove(key),
            Some(Kind::Hold { .. } | Kind::HeldDigest { .. }) => self.holds.remove(key),
            Some(Kind::Origins(digest)) => self.memory.remove_origins(&digest),
            Some(Kind::Blob(_) | Kind::Lease { .. } | Kind::Ingest(_) | Kind::Usage { .. }) | None => {}
        }
    }
}
