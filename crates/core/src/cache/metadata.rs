//! Manifests, where tags point, and how it is known which repository has what: in memory at once, in the store soon.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::write_behind::{NewLink, PendingWrite, TagGeneration, TagUpdate};
use super::{Cache, DEADLINE, Described, Key, Kind, Pointer, StoredManifest};
use crate::body::SMALL_BYTES;
use crate::digest::Digest;
use crate::evidence::{ClientScope, Grants, Link, LookupMethod, Origin, Origins, Provenance, link_of_claim};
use crate::name::RepositoryName;
use crate::platform::within;
use crate::telemetry;

impl Cache {
    /// A manifest by digest.
    pub(crate) async fn manifest(&self, digest: &Digest) -> Option<Arc<StoredManifest>> {
        // What cannot be verified was never kept (P-90).
        if !digest.is_computable() {
            return None;
        }
        let key = Key::manifest(digest);
        if let Some(manifest) = self.manifests.get(digest) {
            self.store.used(&key);
            return Some(manifest);
        }
        // Memory may have no place for it, and somebody has it for a client all the same.
        if let Some(manifest) = self.lent(digest) {
            self.store.used(&key);
            return Some(manifest);
        }
        self.reads.join(digest, || self.read_manifest(digest)).await
    }

    /// A manifest from the store, once there is room for it among what clients have not taken: they may be given it.
    async fn read_manifest(&self, digest: &Digest) -> Option<Arc<StoredManifest>> {
        let key = Key::manifest(digest);
        let mut room = self.in_flight.take(SMALL_BYTES).await;
        let record = loop {
            let record = self.ask("read", self.store.read(&key)).await??;
            // Only now is it known how long it is.
            let missing = (record.len() as u64).saturating_sub(room.bytes());
            if missing == 0 {
                break record;
            }
            if let Some(more) = self.in_flight.try_take(missing) {
                room.join(more);
                break record;
            }
            let length = record.len() as u64;
            drop((record, room));
            room = self.in_flight.take(length).await;
        };
        let Some(manifest) = StoredManifest::from_record(digest, &record) else {
            tracing::error!(%key, "a stored manifest does not have its digest any more; it is thrown away");
            telemetry::corrupt("manifest");
            self.ask("remove", self.store.remove(&key)).await;
            return None;
        };
        self.lengths.learn(&manifest.bytes);
        let manifest = Arc::new(manifest.shelved(&self.in_flight));
        if let Some(lent) = manifest.lent().filter(|_| manifest.bytes.len() as u64 > SMALL_BYTES) {
            let mut all = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, lent| lent.is_in_use());
            all.insert(digest.clone(), lent);
        }
        self.manifests.insert(digest.clone(), Arc::clone(&manifest));
        Some(manifest)
    }

    /// A large manifest that clients still use, although memory has let it go.
    fn lent(&self, digest: &Digest) -> Option<Arc<StoredManifest>> {
        let all = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(digest)?.again(digest).map(Arc::new)
    }

    /// Keeps a manifest that an upstream gave, whole and verified, that it names its children, and where the tag points
    /// by which it came.
    pub(crate) fn keep_manifest(
        self: &Arc<Self>,
        provenance: &Provenance,
        manifest: &Arc<StoredManifest>,
        pointer: Option<(TagGeneration, Pointer)>,
    ) {
        self.lengths.learn(&manifest.bytes);
        self.manifests.insert(manifest.digest.clone(), Arc::clone(manifest));
        let write = PendingWrite {
            manifest: Some(Arc::clone(manifest)),
            origins: self.new_origins(provenance, &manifest.digest),
            links: self.new_link(provenance, &manifest.digest, Link::Proven).into_iter().collect(),
            ..PendingWrite::of(pointer)
        };
        self.learn(provenance, manifest, write);
    }

    /// A manifest that was here, perhaps through another repository, is one of this repository, too.
    pub(crate) fn link_manifest(
        self: &Arc<Self>,
        provenance: &Provenance,
        manifest: &Arc<StoredManifest>,
        pointer: Option<(TagGeneration, Pointer)>,
    ) {
        self.learn(provenance, manifest, PendingWrite::of(pointer));
    }

    /// Takes into memory what this repository has, and has it written down with the rest of the pending write.
    fn learn(self: &Arc<Self>, provenance: &Provenance, manifest: &Arc<StoredManifest>, mut write: PendingWrite) {
        let named = self.name_children(provenance, manifest);
        if let Some(TagUpdate { tag, pointer: Some(pointer) }) = &write.tag_update
            && !self.remember(tag, pointer)
        {
            write.tag_update = None;
        }
        let is_news = !named.is_empty();
        write.links.extend(named);
        if write.is_empty() {
            return;
        }
        self.write_soon(write);
        let children = manifest.children().manifests;
        if !is_news || children.is_empty() {
            return;
        }
        // An index's images are perhaps here as well, through another repository: then nobody fetches them by this name.
        let (cache, pending) = (Arc::clone(self), self.begin_write());
        let provenance = provenance.clone();
        self.tasks.spawn(Box::pin(async move {
            let mut links = Vec::new();
            for child in &children {
                // Where there is no room for it in time, the registry is asked about its children.
                if let Ok(Some(child)) = within(&*cache.clock, DEADLINE, cache.manifest(child)).await {
                    links.extend(cache.name_children(&provenance, &child));
                }
            }
            cache.write_soon(PendingWrite { links, ..PendingWrite::default() });
            drop(pending);
        }));
    }

    /// The links that a manifest's word adds to what memory knows. What it says of their lengths is remembered beside.
    fn name_children(&self, provenance: &Provenance, manifest: &StoredManifest) -> Vec<NewLink> {
        let Described { manifests, blobs } = Described::of(&manifest.bytes);
        for blob in &blobs {
            if let Some(length) = blob.size {
                self.described.insert(key_of_link(provenance, &blob.digest), length);
            }
        }
        let children = manifests.iter().chain(&blobs);
        children.filter_map(|child| self.new_link(provenance, &child.digest, Link::Named)).collect()
    }

    /// How long a blob is by a manifest of this repository: a word that its bytes need not keep.
    pub(crate) fn described_length(&self, provenance: &Provenance, digest: &Digest) -> Option<u64> {
        self.described.get(&key_of_link(provenance, digest)).filter(|length| *length > 0)
    }

    /// A link, if it is news to memory, which has it from now on.
    fn new_link(&self, provenance: &Provenance, digest: &Digest, link: Link) -> Option<NewLink> {
        let key = key_of_link(provenance, digest);
        // What was deleted comes back by a word of the registry's own, and not by that of a manifest that still names it.
        let is_gone = link == Link::Named && self.forgotten.get(&key).is_some();
        let is_new = digest.is_computable() && !is_gone && self.remember_link(&key, link, provenance.since);
        is_new.then_some(NewLink { key, link, since: provenance.since })
    }

    /// Takes a link into memory, unless it knows a stronger one or the link was forgotten since; whether it has.
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

    /// Who gives a digest, if that is news to memory, which has it from now on.
    fn new_origins(&self, provenance: &Provenance, digest: &Digest) -> Option<(Digest, Arc<Origins>)> {
        let new = Origins::one(&provenance.upstream, provenance.anonymous);
        let all = Arc::new(match self.origins.get(digest) {
            Some(known) => known.with(&new)?,
            None => new,
        });
        self.origins.insert(digest.clone(), Arc::clone(&all));
        Some((digest.clone(), all))
    }

    /// An upstream has given all of a digest, and it is verified.
    pub(crate) fn given(self: &Arc<Self>, provenance: &Provenance, digest: &Digest) {
        let links: Vec<_> = self.new_link(provenance, digest, Link::Proven).into_iter().collect();
        let origins = self.new_origins(provenance, digest);
        if origins.is_some() || !links.is_empty() {
            self.write_soon(PendingWrite { origins, links, ..PendingWrite::default() });
        }
    }

    /// An upstream says that a repository has a digest: to a HEAD, with a part of it, or by taking a push of it.
    pub(crate) async fn claimed(self: &Arc<Self>, provenance: &Provenance, digest: &Digest) {
        let Provenance { upstream, repository, .. } = provenance;
        if self.links.get(&Key::link(upstream, repository, digest)) == Some(Link::Proven) {
            return;
        }
        let link = link_of_claim(self.origin(upstream, digest, false).await);
        let links: Vec<_> = self.new_link(provenance, digest, link).into_iter().collect();
        if !links.is_empty() {
            self.write_soon(PendingWrite { links, ..PendingWrite::default() });
        }
    }

    /// Where stored bytes of a digest come from, seen from an upstream. `unrecorded_will_do`: that nothing was recorded
    /// is believed of memory, although another process may have recorded something meanwhile.
    pub(crate) async fn origin(&self, upstream: &str, digest: &Digest, unrecorded_will_do: bool) -> Origin {
        // What cannot be verified was never kept (P-90).
        if !digest.is_computable() {
            return Origin::Unrecorded;
        }
        match self.origins.get(digest).map(|origins| origins.seen_from(upstream)) {
            Some(origin @ (Origin::This | Origin::Anonymous)) => return origin,
            Some(Origin::Unrecorded) if unrecorded_will_do => return Origin::Unrecorded,
            // Memory may have forgotten some, or know only what came since the start.
            Some(Origin::Other | Origin::Unrecorded) | None => {}
        }
        let record = self.ask("read", self.store.read(&Key::origins(digest))).await.flatten();
        let stored = record.and_then(|record| Origins::from_record(&record)).unwrap_or_default();
        let all = match self.origins.get(digest) {
            Some(known) => known.with(&stored).map_or(known, Arc::new),
            None => Arc::new(stored),
        };
        let origin = all.seen_from(upstream);
        self.origins.insert(digest.clone(), all);
        origin
    }

    /// Counts what was forgotten: what was asked before the last time is not news any more.
    pub(crate) fn generation(&self) -> u64 {
        self.generations.load(Ordering::Relaxed)
    }

    /// Whether a link was not forgotten since this generation.
    pub(super) fn was_kept_since(&self, key: &Key, since: u64) -> bool {
        self.forgotten.get(key).unwrap_or(0) <= since
    }

    /// Who has been let in where.
    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Whether a 404 that was heard a moment ago answers this request.
    pub(crate) fn is_absent(
        &self,
        claim: &ClientScope,
        reference: &str,
        asks: LookupMethod,
        takes_pushes: bool,
    ) -> bool {
        self.absences.answers(claim, reference, asks, takes_pushes, self.clock.now())
    }

    /// An upstream that was asked in this generation has answered 404.
    pub(crate) fn absent(&self, claim: ClientScope, reference: Box<str>, asked: LookupMethod, since: u64) {
        let life = self.config.negative_ttl.0;
        if life.is_zero() || since != self.generation() {
            return;
        }
        let now = self.clock.now();
        self.absences.note(claim, reference, asked, now, now.after(life));
        // What is pushed meanwhile may be this. In this order: whoever pushes it now finds it here.
        if since != self.generation() {
            self.absences.clear();
        }
    }

    /// Something has come into being, or has gone: no 404 that was heard before, or is on its way, is repeated.
    pub(crate) fn clear_absent(&self) {
        self.generations.fetch_add(1, Ordering::Relaxed);
        self.absences.clear();
    }

    /// A tag, to be asked about.
    pub(crate) fn tag(&self, key: Key) -> TagGeneration {
        let generation = self.forgotten.get(&key).unwrap_or(0);
        TagGeneration { key, generation }
    }

    /// Whether it was not forgotten since it was asked about.
    pub(super) fn is_current(&self, tag: &TagGeneration) -> bool {
        self.forgotten.get(&tag.key).unwrap_or(0) == tag.generation
    }

    /// Takes into memory where a tag points, unless it was forgotten since that was asked; whether it has.
    fn remember(&self, tag: &TagGeneration, pointer: &Pointer) -> bool {
        self.pointers.insert(tag.key.clone(), pointer.clone());
        // In this order: whoever forgets it now finds it here.
        let is_current = self.is_current(tag);
        if !is_current {
            self.pointers.remove(&tag.key);
        }
        is_current
    }

    /// Where a tag points.
    pub(crate) async fn pointer(&self, key: &Key) -> Option<Pointer> {
        if let Some(pointer) = self.pointers.get(key) {
            return Some(pointer);
        }
        let tag = self.tag(key.clone());
        if self.tag_queue.is_writing(key) || self.unremoved.holds(key) {
            return None;
        }
        let record = self.ask("read", self.store.read(key)).await??;
        let pointer = Pointer::from_record(&record)?;
        self.remember(&tag, &pointer).then_some(pointer)
    }

    /// An upstream has said where a tag points.
    pub(crate) fn point(self: &Arc<Self>, tag: &TagGeneration, pointer: Pointer) {
        if self.remember(tag, &pointer) {
            self.write_soon(PendingWrite::of(Some((tag.clone(), pointer))));
        }
    }

    /// What was known of it is over with this call: whoever is asked about it from now on is asked anew. It returns what
    /// ends once the store has forgotten it, too, which comes about whether or not anybody waits for it.
    pub(crate) fn forget(self: &Arc<Self>, key: &Key) -> impl Future<Output = ()> + Send + use<> {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        self.forgotten.insert(key.clone(), generation);
        // Before memory loses it: from then on the store is looked at.
        self.unremoved.add(key, generation);
        self.pointers.remove(key);
        self.links.remove(key);
        let word = TagUpdate { tag: TagGeneration { key: key.clone(), generation }, pointer: None };
        let ended = self.write_now(PendingWrite { tag_update: Some(word), ..PendingWrite::default() });
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
        if let Some(link) = self.links.get(&key) {
            return Some(link);
        }
        // In this order: whoever forgets it behind this look makes the record old.
        let since = self.generation();
        if self.tag_queue.is_writing(&key) || self.link_writes.count(&key) > 0 || self.unremoved.holds(&key) {
            return None;
        }
        let record = self.ask("read", self.store.read(&key)).await??;
        let link = Link::from_record(&record)?;
        self.remember_link(&key, link, since);
        self.links.get(&key)
    }

    /// Tags in memory that are meant.
    pub(super) fn remembered_tags(&self, is_meant: impl Fn(&Key, &Pointer) -> bool) -> Vec<Key> {
        self.pointers.iter().filter(|(key, pointer)| is_meant(key, pointer)).map(|(key, _)| key).collect()
    }

    /// Empties what memory has before the store.
    pub(super) fn forget_records(&self) {
        self.pointers.clear();
        self.links.clear();
        self.described.clear();
        self.origins.clear();
        self.manifests.clear();
    }

    /// The store does not have it any more: neither has memory.
    pub(crate) fn lost(&self, key: &Key) {
        match key.kind() {
            Some(Kind::Blob(digest)) => drop(self.verified.remove(&digest)),
            Some(Kind::Manifest(digest)) => drop(self.manifests.remove(&digest)),
            Some(Kind::Tag { .. }) => drop(self.pointers.remove(key)),
            Some(Kind::Link { .. }) => drop(self.links.remove(key)),
            Some(Kind::Origins(digest)) => drop(self.origins.remove(&digest)),
            Some(Kind::Lease { .. } | Kind::Ingest(_) | Kind::Usage { .. }) | None => {}
        }
    }
}

fn key_of_link(provenance: &Provenance, digest: &Digest) -> Key {
    Key::link(&provenance.upstream, &provenance.repository, digest)
}
