//! What is kept, under which name, for how long, and for whom: the typed face of a [store](crate::platform::Store), with a tier in memory
//! before it. A store that fails costs a log line and a metric, never an answer: everything can be fetched again.

mod admin;
mod course;
mod keys;
mod lease;
mod lengths;
mod lists;
mod manifest_format;
mod memory;
mod metadata;
mod pending;
mod pressure;
mod sparse;
mod store;
mod tag;
mod trust;
mod unremoved;
mod uploads;
mod usage;
mod verify;
mod write_behind;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache as Memory;

pub use self::admin::{CacheAdmin, CacheStats, Command, Event, Image, Janitor, Purge, Purged, Tell, Verified};
pub use self::keys::{BLOBS, EVERYTHING, INGESTS, Key, Kind, LEASES, LINKS, MANIFESTS, ORIGINS, TAGS, USAGE};
pub use self::memory::MemoryStore;

pub(crate) use self::lease::{Lease, Leased};
use self::lengths::Lengths;
pub(crate) use self::lists::{Listed, Lists};
use self::manifest_format::LentManifest;
pub(crate) use self::manifest_format::{ChildDescriptor, Described, StoredManifest};
use self::pressure::EvictionPressure;
use self::store::WatchedStore;
pub(crate) use self::tag::{Freshness, Pointer};
use self::trust::Proof;
use self::unremoved::Unremoved;
pub(crate) use self::usage::usage_failed;
use self::verify::Verifications;
pub(crate) use self::write_behind::TagGeneration;
use self::write_behind::{LinkWrites, TagQueue};
use crate::body::{Body, InFlight};
use crate::config;
use crate::digest::Digest;
use crate::evidence::{Absences, Grants, Link, Origins, Provenance};
use crate::platform::{Clock, Draft, Kept, Moment, Passing, Platform, StoreError, Tasks, Validator, within};
use crate::single_flight::SingleFlight;
use crate::sync::Mutex;
use crate::telemetry;

/// How long a store may take for anything but the bytes themselves.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a blob that arrives waits for room to be made; then it passes by.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);
/// What a small record takes, at most: a block of a disk.
const RECORD_BYTES: u64 = 4096;
/// Tags that were forgotten and are remembered as such: questions that began before are under way no longer than it
/// takes to forget so many others.
const MAX_FORGOTTEN: usize = 1000;
/// Blobs whose length is remembered by the word of a manifest: it is wanted soon after, while the image is pulled.
const MAX_DESCRIBED: usize = 10_000;
/// What an entry of a small table takes, about, with its key.
const ENTRY_BYTES: u64 = 300;

/// Kept content.
pub(crate) struct Cache {
    store: WatchedStore,
    config: config::CacheConfig,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    /// The longest blob that may lie on the instance's disk on its way into a bucket.
    max_scratch: u64,
    /// Whether requests may do each other's work.
    shares_io: bool,
    manifests: Memory<Digest, Arc<StoredManifest>, ManifestBytes>,
    /// Manifests that are being read.
    reads: SingleFlight<Digest, Option<Arc<StoredManifest>>>,
    /// Large manifests that were read for clients, which may still use them: no more than there is room for in flight.
    lent: Mutex<HashMap<Digest, LentManifest>>,
    /// What clients have not taken yet.
    in_flight: Arc<InFlight>,
    pointers: Memory<Key, Pointer>,
    links: Memory<Key, Link>,
    /// How long blobs are by the manifests that name them, under the key of their link.
    described: Memory<Key, u64>,
    origins: Memory<Digest, Arc<Origins>>,
    tag_queue: TagQueue,
    /// Links that are being written.
    link_writes: LinkWrites,
    /// Tags and links that were forgotten, each with the generation that this began.
    forgotten: Memory<Key, u64>,
    /// Those that may still be in the store.
    unremoved: Unremoved,
    generations: AtomicU64,
    /// Blobs that are known to have their digest, in the state in which they were, and from what.
    verified: Memory<Digest, (Validator, Proof)>,
    /// How long blobs are, from their registries and from manifests.
    lengths: Lengths,
    /// Blobs that are not served in that state until then: they do not have their digest and are on their way out, or
    /// could not be read.
    distrusted: Memory<Digest, (Validator, Moment)>,
    verifications: Verifications,
    grants: Grants,
    lists: Lists,
    absences: Absences,
    pressure: Arc<EvictionPressure>,
    /// How much is on its way into the store, and who waits for it.
    pending_writes: (AtomicUsize, event_listener::Event),
    /// Until when the store is left alone, in milliseconds on the clock.
    backs_off_until: AtomicU64,
    /// While it is asked for no lease.
    lease_backoff: lease::LeaseBackoff,
}

#[derive(Clone)]
struct ManifestBytes;

impl Weighter<Digest, Arc<StoredManifest>> for ManifestBytes {
    fn weight(&self, _: &Digest, manifest: &Arc<StoredManifest>) -> u64 {
        manifest.bytes.len() as u64 + ENTRY_BYTES
    }
}

impl Cache {
    /// `None`: the platform has no store, and nothing is kept.
    pub(crate) fn new(
        config: &config::CacheConfig,
        platform: &Platform,
        in_flight: &Arc<InFlight>,
    ) -> Option<Self> {
        let store = WatchedStore::new(platform.store.as_ref()?);
        let bytes = config.memory.0;
        let entries = usize::try_from(bytes / 8 / ENTRY_BYTES).unwrap_or(usize::MAX).max(100);
        Some(Self {
            store,
            config: config.clone(),
            clock: Arc::clone(&platform.clock),
            tasks: Arc::clone(&platform.tasks),
            max_scratch: platform.capabilities.max_scratch.unwrap_or(u64::MAX),
            shares_io: platform.capabilities.shares_io,
            manifests: Memory::with_weighter(entries, bytes / 2, ManifestBytes),
            reads: SingleFlight::new(platform.capabilities.shares_io),
            lent: Mutex::default(),
            in_flight: Arc::clone(in_flight),
            pointers: Memory::new(entries),
            links: Memory::new(entries),
            described: Memory::new(MAX_DESCRIBED),
            origins: Memory::new(entries),
            tag_queue: TagQueue::default(),
            link_writes: LinkWrites::default(),
            forgotten: Memory::new(MAX_FORGOTTEN),
            unremoved: Unremoved::default(),
            generations: AtomicU64::new(0),
            verified: Memory::new(entries),
            lengths: Lengths::new(entries),
            distrusted: Memory::new(1000),
            verifications: Verifications::default(),
            grants: Grants::new(entries),
            lists: Lists::new(bytes / 8),
            absences: Absences::new(1000),
            pressure: Arc::new(EvictionPressure::new(config.max_size().0)),
            pending_writes: Default::default(),
            backs_off_until: AtomicU64::new(0),
            lease_backoff: lease::LeaseBackoff::default(),
        })
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &config::CacheConfig {
        &self.config
    }

    /// What upstreams listed lately.
    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }

    /// Room for a blob that arrives; `None`: it must pass by.
    pub(crate) async fn draft(&self, digest: &Digest, length: u64) -> Option<Arc<dyn Draft>> {
        if self.is_too_long(length) || !self.admit(length).await {
            return None;
        }
        let key = Key::blob(digest);
        let draft = self.ask("draft", async {
            let draft = self.store.draft(&key, Some(length)).await;
            draft.inspect_err(|error| {
                if matches!(error, StoreError::Full) {
                    self.pressure.report_full(length);
                }
            })
        });
        let draft = draft.await;
        if draft.is_none() {
            self.pressure.subtract(length);
        }
        draft
    }

    /// Whether all the rest together could make room for so many bytes.
    pub(crate) fn may_hold(&self, length: u64) -> bool {
        length <= self.config.max_size().0
    }

    /// All the rest together could not make room for it, or its way into a bucket leads over a disk that is too small.
    fn is_too_long(&self, length: u64) -> bool {
        !self.may_hold(length) || length > self.max_scratch && self.store.capabilities().stages_locally
    }

    /// So many bytes more are on their way into the store.
    pub(crate) fn count_incoming(&self, bytes: u64) {
        self.pressure.add(bytes);
        telemetry::holds(self.pressure.held_bytes());
    }

    /// The same, unless that is too far beyond what the store may hold; whether they are.
    fn try_admit(&self, bytes: u64) -> bool {
        let is_in = self.pressure.try_add(bytes);
        telemetry::holds(self.pressure.held_bytes());
        is_in
    }

    /// The same, as soon as that is not too far beyond what the store may hold. `false`: it would be, and nobody has made
    /// room in time.
    async fn admit(&self, bytes: u64) -> bool {
        let mut is_in = self.pressure.try_add(bytes);
        if !is_in {
            let _waiting = self.pressure.wait(bytes);
            let made = async {
                loop {
                    let looked = self.pressure.next_survey();
                    if self.pressure.try_add(bytes) {
                        return;
                    }
                    looked.await;
                }
            };
            is_in = within(&*self.clock, ROOM_PATIENCE, made).await.is_ok();
        }
        telemetry::holds(self.pressure.held_bytes());
        is_in
    }

    /// Keeps a copy of a blob that passes, where the store can, and tells what becomes of it by itself.
    pub(crate) fn keep_passing(
        self: &Arc<Self>,
        provenance: Provenance,
        digest: &Digest,
        length: u64,
        body: Body,
    ) -> Result<Body, Body> {
        if !self.may_hold(length) {
            return Err(body);
        }
        let Passing { body, kept } = self.store.keep_passing(digest, length, body)?;
        let (cache, digest, pending) = (Arc::clone(self), digest.clone(), self.begin_write());
        self.tasks.spawn(Box::pin(async move {
            let _pending = pending;
            match kept.await {
                Ok(Kept::Whole) => cache.committed(&provenance, &digest, length).await,
                Ok(Kept::OtherDigest) => {
                    tracing::error!(%digest, "a blob did not have its digest; it is not kept, and its client had no end of it");
                    telemetry::corrupt("blob");
                }
                Ok(Kept::Short) => tracing::info!(%digest, "a blob ended before its time, and is not kept"),
                // Perhaps for this one only: two at once may have written it. The store is not left alone for that.
                Err(error) => {
                    telemetry::store_failed("keep", error.why());
                    let why = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::warn!(%digest, error = why, "a blob that passed is not kept: {error}");
                }
            }
        }));
        Ok(body)
    }
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}
