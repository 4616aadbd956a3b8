//! Manifests by digest: in memory, and in the store behind it. Each is read from the store once, however many ask for it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync::Cache as Memory;

use super::lengths::Lengths;
use super::manifest_format::{StoredManifest, WeakManifest};
use crate::body::{InFlight, SMALL_BYTES};
use crate::cache::Key;
use crate::cache::backend::CacheBackend;
use crate::digest::Digest;
use crate::single_flight::SingleFlight;
use crate::sync::Mutex;

/// About the bytes of a small table's entry, with its key.
pub(in crate::cache) const ENTRY_BYTES: u64 = 300;

/// Manifests in memory and in the store.
pub(super) struct Manifests {
    backend: Arc<CacheBackend>,
    memory: Memory<Digest, Arc<StoredManifest>, ManifestBytes>,
    /// Manifests that are being read.
    reads: SingleFlight<Digest, Option<Arc<StoredManifest>>>,
    /// Large manifests that clients may still use: no more than `in_flight` has room for.
    in_use: Mutex<HashMap<Digest, WeakManifest>>,
    /// Bytes that clients have not taken yet.
    in_flight: Arc<InFlight>,
    lengths: Arc<Lengths>,
}

#[derive(Clone)]
struct ManifestBytes;

impl Weighter<Digest, Arc<StoredManifest>> for ManifestBytes {
    fn weight(&self, _: &Digest, manifest: &Arc<StoredManifest>) -> u64 {
        manifest.bytes.len() as u64 + ENTRY_BYTES
    }
}

impl Manifests {
    /// Keeps about so many, of so many bytes in all.
    pub(super) fn new(
        backend: &Arc<CacheBackend>,
        lengths: &Arc<Lengths>,
        in_flight: &Arc<InFlight>,
        entries: usize,
        bytes: u64,
    ) -> Self {
        Self {
            backend: Arc::clone(backend),
            memory: Memory::with_weighter(entries, bytes, ManifestBytes),
            reads: SingleFlight::new(backend.shares_io),
            in_use: Mutex::default(),
            in_flight: Arc::clone(in_flight),
            lengths: Arc::clone(lengths),
        }
    }

    /// A manifest by digest.
    pub(super) async fn get(&self, digest: &Digest) -> Option<Arc<StoredManifest>> {
        // What cannot be verified was never stored (P-90).
        if !digest.is_computable() {
            return None;
        }
        // Memory may have no room for a manifest that a client still uses.
        if let Some(manifest) = self.memory.get(digest).or_else(|| self.still_used(digest)) {
            if manifest.reported_use.is_due(self.backend.clock.unix_seconds()) {
                self.backend.store.used(&Key::manifest(digest));
            }
            return Some(manifest);
        }
        Box::pin(self.reads.join(digest, || self.read(digest))).await
    }

    /// Reads a manifest from the store once `in_flight` has room for it: clients may be given it.
    async fn read(&self, digest: &Digest) -> Option<Arc<StoredManifest>> {
        let key = Key::manifest(digest);
        let mut room = self.in_flight.take(SMALL_BYTES).await;
        let record = loop {
            let record = self.backend.read(&key).await??;
            // Only now its length is known.
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
            tracing::error!(%key, "a stored manifest no longer matches its digest; it is removed");
            self.backend.corrupt("manifest", digest);
            self.backend.remove(&key).await;
            return None;
        };
        self.lengths.learn(&manifest.bytes);
        let manifest = Arc::new(manifest.in_tier(&self.in_flight));
        if let Some(weak) = manifest.downgrade().filter(|_| manifest.bytes.len() as u64 > SMALL_BYTES) {
            let mut all = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, weak| weak.is_in_use());
            all.insert(digest.clone(), weak);
        }
        self.memory.insert(digest.clone(), Arc::clone(&manifest));
        Some(manifest)
    }

    /// A large manifest that clients still use, although memory has dropped it.
    fn still_used(&self, digest: &Digest) -> Option<Arc<StoredManifest>> {
        let all = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(digest)?.upgrade(digest).map(Arc::new)
    }

    /// Remembers a manifest.
    pub(super) fn remember(&self, manifest: &Arc<StoredManifest>) {
        self.lengths.learn(&manifest.bytes);
        self.memory.insert(manifest.digest.clone(), Arc::clone(manifest));
    }

    /// Drops a manifest from memory.
    pub(super) fn remove(&self, digest: &Digest) {
        self.memory.remove(digest);
    }

    /// Drops all manifests from memory.
    pub(super) fn clear(&self) {
        self.memory.clear();
    }
}
