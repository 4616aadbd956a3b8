//! Manifests, where tags point, and how it is known which repository has what: in memory at once, in the store soon.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::notes::{Note, Tag, Word};
use super::{Cache, Key, Kind, Pointer, Proof, StoredManifest};
use crate::digest::Digest;
use crate::name::RepositoryName;
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
        let record = self.ask("read", self.store.read(&key)).await??;
        let Some(manifest) = StoredManifest::from_record(digest, &record).map(Arc::new) else {
            tracing::error!(%key, "a stored manifest does not have its digest any more; it is thrown away");
            telemetry::corrupt("manifest");
            self.ask("remove", self.store.remove(&key)).await;
            return None;
        };
        self.manifests.insert(digest.clone(), Arc::clone(&manifest));
        Some(manifest)
    }

    /// Keeps a manifest that an upstream gave for this repository, that it names its children, and where the tag points
    /// by which it came.
    pub(crate) fn keep_manifest(
        self: &Arc<Self>,
        upstream: &str,
        repository: &RepositoryName,
        manifest: &Arc<StoredManifest>,
        pointer: Option<(Tag, Pointer)>,
    ) {
        self.manifests.insert(manifest.digest.clone(), Arc::clone(manifest));
        let note = Note { manifest: Some(Arc::clone(manifest)), ..Note::of(pointer) };
        self.learn(upstream, repository, manifest, note);
    }

    /// The same for a manifest that was here, perhaps through another repository, and that this one has shown as well.
    pub(crate) fn link_manifest(
        self: &Arc<Self>,
        upstream: &str,
        repository: &RepositoryName,
        manifest: &Arc<StoredManifest>,
        pointer: Option<(Tag, Pointer)>,
    ) {
        self.learn(upstream, repository, manifest, Note::of(pointer));
    }

    /// Takes into memory what this repository has, and has it written down with the rest of the note.
    fn learn(
        self: &Arc<Self>,
        upstream: &str,
        repository: &RepositoryName,
        manifest: &Arc<StoredManifest>,
        note: Note,
    ) {
        let named = self.name_children(upstream, repository, manifest);
        let shown = self.show(upstream, repository, &manifest.digest);
        if let Some(Word { tag, pointer: Some(pointer) }) = &note.word {
            self.remember(tag, pointer);
        }
        let is_news = !named.is_empty();
        self.write_soon(Note { named, shown, ..note });
        let children = manifest.children().manifests;
        if !is_news || children.is_empty() {
            return;
        }
        // An index's images are perhaps here as well, through another repository: then nobody fetches them by this name.
        let (cache, busy) = (Arc::clone(self), self.busy());
        let (upstream, repository) = (upstream.to_owned(), repository.clone());
        self.tasks.spawn(Box::pin(async move {
            let mut named = Vec::new();
            for child in &children {
                if let Some(child) = cache.manifest(child).await {
                    named.extend(cache.name_children(&upstream, &repository, &child));
                }
            }
            cache.write_soon(Note { named, ..Note::default() });
            drop(busy);
        }));
    }

    /// The links that a manifest's word adds to what memory knows.
    fn name_children(&self, upstream: &str, repository: &RepositoryName, manifest: &StoredManifest) -> Vec<Key> {
        let children = manifest.children();
        let keys = children.iter().filter(|child| child.is_computable());
        let keys = keys.map(|child| Key::link(upstream, repository, child));
        let new = keys.filter(|key| self.proofs.get(key).is_none());
        new.inspect(|key| self.proofs.insert(key.clone(), Proof::Named)).collect()
    }

    /// The link of what was shown, if that is news to memory.
    fn show(&self, upstream: &str, repository: &RepositoryName, digest: &Digest) -> Option<Key> {
        let key = Key::link(upstream, repository, digest);
        let is_new = digest.is_computable() && self.proofs.get(&key) != Some(Proof::Shown);
        is_new.then(|| {
            self.proofs.insert(key.clone(), Proof::Shown);
            key
        })
    }

    /// A tag, to be asked about.
    pub(crate) fn tag(&self, key: Key) -> Tag {
        let generation = self.forgotten.get(&key).unwrap_or(0);
        Tag { key, generation }
    }

    /// Whether it was not forgotten since it was asked about.
    pub(super) fn is_current(&self, tag: &Tag) -> bool {
        self.forgotten.get(&tag.key).unwrap_or(0) == tag.generation
    }

    /// Takes into memory where a tag points, unless it was forgotten since that was asked; whether it has.
    fn remember(&self, tag: &Tag, pointer: &Pointer) -> bool {
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
        if self.turns.is_taken(key) {
            return None;
        }
        let record = self.ask("read", self.store.read(key)).await??;
        let pointer = Pointer::from_record(&record)?;
        self.remember(&tag, &pointer).then_some(pointer)
    }

    /// An upstream has said where a tag points.
    pub(crate) fn point(self: &Arc<Self>, tag: &Tag, pointer: Pointer) {
        if self.remember(tag, &pointer) {
            self.write_soon(Note::of(Some((tag.clone(), pointer))));
        }
    }

    /// What was known of it is over: whoever is asked about it from now on is asked anew.
    pub(crate) async fn forget(self: &Arc<Self>, key: &Key) {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        self.forgotten.insert(key.clone(), generation);
        self.pointers.remove(key);
        self.proofs.remove(key);
        let word = Word { tag: Tag { key: key.clone(), generation }, pointer: None };
        self.write_now(Note { word: Some(word), ..Note::default() }).await;
    }

    /// How it is known that a repository has a digest.
    pub(crate) async fn proof(
        &self,
        upstream: &str,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Option<Proof> {
        if !digest.is_computable() {
            return None;
        }
        let key = Key::link(upstream, repository, digest);
        if let Some(proof) = self.proofs.get(&key) {
            return Some(proof);
        }
        if self.turns.is_taken(&key) {
            return None;
        }
        let record = self.ask("read", self.store.read(&key)).await??;
        let proof = Proof::from_record(&record)?;
        self.proofs.insert(key, proof);
        Some(proof)
    }

    /// An upstream has shown a digest in a repository.
    pub(crate) fn prove(self: &Arc<Self>, upstream: &str, repository: &RepositoryName, digest: &Digest) {
        if let Some(key) = self.show(upstream, repository, digest) {
            self.write_soon(Note { shown: Some(key), ..Note::default() });
        }
    }

    /// Tags in memory that are meant.
    pub(super) fn remembered_tags(&self, is_meant: impl Fn(&Key, &Pointer) -> bool) -> Vec<Key> {
        self.pointers.iter().filter(|(key, pointer)| is_meant(key, pointer)).map(|(key, _)| key).collect()
    }

    /// Empties what memory has before the store.
    pub(super) fn forget_records(&self) {
        self.pointers.clear();
        self.proofs.clear();
        self.manifests.clear();
    }

    /// The store does not have it any more: neither has memory.
    pub(crate) fn lost(&self, key: &Key) {
        match key.kind() {
            Some(Kind::Blob(digest)) => drop(self.verified.remove(&digest)),
            Some(Kind::Manifest(digest)) => drop(self.manifests.remove(&digest)),
            Some(Kind::Tag { .. }) => drop(self.pointers.remove(key)),
            Some(Kind::Link { .. }) => drop(self.proofs.remove(key)),
            Some(Kind::Lease { .. } | Kind::Ingest(_) | Kind::Usage { .. }) | None => {}
        }
    }
}
