//! The cache: a typed face of a [store](crate::platform::Store), with a tier in memory before it. A store that fails costs a
//! log line and a metric, never an answer: everything can be fetched again.
//!
//! - `backend`: the store, its circuit breaker and the writes that are pending
//! - `metadata`: manifests, tags, links, and who gave what
//! - `blobs`: which blobs are served, how they come in, and which process fetches them
//! - `memory`: a store in memory
//! - `kept` `o`: images that are never evicted

mod backend;
mod blobs;
mod kept;
mod memory;
mod metadata;
mod reported_use;

use std::future::ready;
use std::sync::{Arc, PoisonError};

use futures_util::StreamExt as _;

pub(crate) use self::backend::{CacheBackend, CountedBytes, DEADLINE, EvictionPressure};
use self::blobs::MaxBytes;
pub(crate) use self::blobs::{Blobs, Lease, Leased, Leases};
pub(crate) use self::kept::{KeptImage, KeptReference, kept_tags};
pub use self::memory::MemoryStore;
pub(crate) use self::metadata::{
    ChildDescriptor, Children, Described, Freshness, HeldBack, HoldChange, HoldLookup, HoldRecord, Listed, Lists,
    Metadata, Pointer, Standing, StoredManifest, TagGeneration, TagSeen, usage_failed,
};
use self::metadata::{ENTRY_BYTES, Lengths};
use crate::body::InFlight;
use crate::config;
use crate::evidence::Grants;
use crate::name::RepositoryName;
use crate::platform::Platform;
pub use crate::platform::{
    BLOBS, EVERYTHING, HELD, HOLDS, INGESTS, Key, Kind, LEASES, LINKS, MANIFESTS, ORIGINS, TAGS, USAGE,
};
use crate::sync::Mutex;

/// Most links of a repository that are looked through for a manifest.
const MAX_LOOKED_THROUGH: usize = 5000;

/// What a proxy stores and remembers.
pub(crate) struct Cache {
    config: config::CacheConfig,
    pub(crate) backend: Arc<CacheBackend>,
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) leases: Arc<Leases>,
    grants: Grants,
    lists: Lists,
    /// What is never evicted.
    kept: Mutex<Arc<[KeptImage]>>,
}

impl Cache {
    /// `None`: the platform has no store, and nothing is stored.
    pub(crate) fn new(
        config: &config::CacheConfig,
        platform: &Platform,
        in_flight: &Arc<InFlight>,
    ) -> Option<Self> {
        let bytes = config.memory.0;
        // Of the memory: a quarter for manifests, three eighths for small blobs, a sixteenth for lists and for each kind of
        // record.
        let (manifest_bytes, small_bytes, list_bytes) = (bytes / 4, bytes / 8 * 3, bytes / 16);
        let entries = usize::try_from(bytes / 16 / ENTRY_BYTES).unwrap_or(usize::MAX).max(100);
        let max_bytes = MaxBytes {
            store: config.max_size().0,
            scratch: platform.capabilities.max_scratch.unwrap_or(u64::MAX),
        };
        let backend = Arc::new(CacheBackend::new(platform.store.as_ref()?, platform, max_bytes.store));
        let lengths = Arc::new(Lengths::new(entries));
        let ttl = config.negative_ttl.0;
        let metadata = Arc::new(Metadata::new(&backend, in_flight, &lengths, (entries, manifest_bytes), ttl));
        Some(Self {
            config: config.clone(),
            blobs: Arc::new(Blobs::new(
                &backend,
                &metadata,
                &lengths,
                (in_flight, max_bytes),
                (entries, small_bytes, config.fill.wait.0),
            )),
            leases: Arc::new(Leases::new(&backend)),
            backend,
            metadata,
            grants: Grants::new(entries),
            lists: Lists::new(list_bytes),
            kept: Mutex::new(Arc::default()),
        })
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &config::CacheConfig {
        &self.config
    }

    /// Images that are never evicted.
    pub(crate) fn kept(&self) -> Arc<[KeptImage]> {
        Arc::clone(&self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same cache, which never evicts these.
    pub(crate) fn keeping(self, images: Arc<[KeptImage]>) -> Self {
        Self { kept: Mutex::new(images), ..self }
    }

    /// The same cache, which keeps what another one would.
    pub(crate) fn with_kept_of(self: &Arc<Self>, other: &Self) -> Arc<Self> {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = other.kept();
        Arc::clone(self)
    }

    /// Which clients were let in where.
    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// What upstreams listed lately.
    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }

    /// Up to `most` cached manifests of a repository that `is_wanted` wants, those of a moment ago first.
    pub(crate) async fn manifests_of(
        &self,
        upstream: &str,
        repository: &RepositoryName,
        most: usize,
        is_wanted: impl Fn(&StoredManifest) -> bool,
    ) -> Vec<Arc<StoredManifest>> {
        let mut found: Vec<Arc<StoredManifest>> = Vec::new();
        // Those of a moment ago may not be in the store yet.
        let remembered = futures_util::stream::iter(self.metadata.remembered_links(upstream, repository));
        let stored = self.backend.store.list(&Key::links_of(upstream, repository)).take(MAX_LOOKED_THROUGH);
        let stored = stored.filter_map(|entry| ready(entry.ok().and_then(|entry| entry.key.linked_digest())));
        let mut all = std::pin::pin!(remembered.chain(stored));
        while found.len() < most
            && let Some(digest) = all.next().await
        {
            if let Some(manifest) = self.metadata.manifest(&digest).await
                && is_wanted(&manifest)
                && found.iter().all(|other| other.digest != digest)
            {
                found.push(manifest);
            }
        }
        found
    }

    /// Whether the store has it: what is in memory may be on its way there. A store that fails counts as one that has not.
    pub(crate) async fn is_stored(&self, key: &Key) -> bool {
        matches!(self.backend.stat(key).await, Some(Some(_)))
    }

    /// Drops from memory what the store does not have any more.
    pub(crate) fn lost(&self, key: &Key) {
        match key.kind() {
            Some(Kind::Blob(digest)) => self.blobs.lost(&digest),
            Some(
                Kind::Manifest(_)
                | Kind::Tag { .. }
                | Kind::Link { .. }
                | Kind::Origins(_)
                | Kind::Hold { .. }
                | Kind::HeldDigest { .. }
                | Kind::Lease { .. }
                | Kind::Ingest(_)
                | Kind::Usage { .. },
            )
            | None => self.metadata.lost(key),
        }
    }
}
