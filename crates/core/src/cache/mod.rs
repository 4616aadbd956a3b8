//! What is kept, under which name, for how long, and for whom: the typed face of a [store](crate::platform::Store), with a tier in memory
//! before it. A store that fails costs a log line and a metric, never an answer: everything can be fetched again.

mod busy;
mod course;
mod evict;
mod house;
mod inventory;
mod janitor;
mod keys;
mod lease;
mod lengths;
mod lists;
mod memory;
mod notes;
mod record;
mod records;
mod room;
mod sparse;
mod store;
mod survey;
mod tag;
mod trust;
mod unremoved;
mod uploads;
mod usage;
mod verify;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache as Memory;

pub use self::house::{Command, Event, House, Image, Purge, Purged, Stat, Tell, Verified};
pub use self::janitor::Janitor;
pub use self::keys::{BLOBS, EVERYTHING, INGESTS, Key, Kind, LEASES, LINKS, MANIFESTS, ORIGINS, TAGS, USAGE};
pub use self::memory::MemoryStore;

pub(crate) use self::house::Cleared;
pub(crate) use self::inventory::Content;
pub(crate) use self::lease::{Lease, Leased};
use self::lengths::Lengths;
pub(crate) use self::lists::{Listed, Lists};
pub(crate) use self::notes::Tag;
use self::notes::{Turns, Writing};
use self::record::Lent;
pub(crate) use self::record::{Described, Piece, StoredManifest};
use self::room::Room;
use self::store::Watched;
pub(crate) use self::survey::Survey;
pub(crate) use self::tag::{Freshness, Pointer};
use self::trust::Proof;
use self::unremoved::Unremoved;
pub(crate) use self::usage::usage_failed;
use self::verify::UnderWay;
use crate::body::{Body, InFlight};
use crate::config;
use crate::digest::Digest;
use crate::evidence::{Absences, Grants, Link, Origins, Provenance};
use crate::platform::{Clock, Draft, Kept, Mark, Moment, Passing, Platform, StoreError, Tasks, within};
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
    store: Watched,
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
    lent: Mutex<HashMap<Digest, Lent>>,
    /// What clients have not taken yet.
    in_flight: Arc<InFlight>,
    pointers: Memory<Key, Pointer>,
    links: Memory<Key, Link>,
    /// How long blobs are by the manifests that name them, under the key of their link.
    described: Memory<Key, u64>,
    origins: Memory<Digest, Arc<Origins>>,
    turns: Turns,
    /// Links that are being written.
    writing: Writing,
    /// Tags and links that were forgotten, each with the generation that this began.
    forgotten: Memory<Key, u64>,
    /// Those that may still be in the store.
    unremoved: Unremoved,
    generations: AtomicU64,
    /// Blobs that are known to have their digest, in the state in which they were, and from what.
    verified: Memory<Digest, (Mark, Proof)>,
    /// How long blobs are, from their registries and from manifests.
    lengths: Lengths,
    /// Blobs that are not served in that state until then: they do not have their digest and are on their way out, or
    /// could not be read.
    distrusted: Memory<Digest, (Mark, Moment)>,
    verifying: UnderWay,
    grants: Grants,
    lists: Lists,
    absences: Absences,
    room: Arc<Room>,
    /// How much is on its way into the store, and who waits for it.
    busy: (AtomicUsize, event_listener::Event),
    /// Until when the store is left alone, in milliseconds on the clock.
    rests_until: AtomicU64,
    /// While it is asked for no lease.
    leases_rest: lease::Rest,
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
        let store = Watched::new(platform.store.as_ref()?);
        let bytes = config.memory.0;
        let entries = usize::try_from(bytes / 8 / ENTRY_BYTES).unwrap_or(usize::MAX).max(100);
        Some(Self {
            store,
            config: config.clone(),
            clock: Arc::clone(&platform.clock),
            tasks: Arc::clone(&platform.tasks),
            max_scratch: platform.limits.max_scratch.unwrap_or(u64::MAX),
            shares_io: platform.limits.shares_io,
            manifests: Memory::with_weighter(entries, bytes / 2, ManifestBytes),
            reads: SingleFlight::new(platform.limits.shares_io),
            lent: Mutex::default(),
            in_flight: Arc::clone(in_flight),
            pointers: Memory::new(entries),
            links: Memory::new(entries),
            described: Memory::new(MAX_DESCRIBED),
            origins: Memory::new(entries),
            turns: Turns::default(),
            writing: Writing::default(),
            forgotten: Memory::new(MAX_FORGOTTEN),
            unremoved: Unremoved::default(),
            generations: AtomicU64::new(0),
            verified: Memory::new(entries),
            lengths: Lengths::new(entries),
            distrusted: Memory::new(1000),
            verifying: UnderWay::default(),
            grants: Grants::new(entries),
            lists: Lists::new(bytes / 8),
            absences: Absences::new(1000),
            room: Arc::new(Room::new(config.max_size().0)),
            busy: Default::default(),
            rests_until: AtomicU64::new(0),
            leases_rest: lease::Rest::default(),
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
        if self.is_too_long(length) || !self.takes_in(length).await {
            return None;
        }
        let key = Key::blob(digest);
        let draft = self.ask("draft", async {
            let draft = self.store.draft(&key, Some(length)).await;
            draft.inspect_err(|error| {
                if matches!(error, StoreError::Full) {
                    self.room.lacks(length);
                }
            })
        });
        let draft = draft.await;
        if draft.is_none() {
            self.room.gives_back(length);
        }
        draft
    }

    /// Whether all the rest together could make room for so many bytes.
    pub(crate) fn may_hold(&self, length: u64) -> bool {
        length <= self.config.max_size().0
    }

    /// All the rest together could not make room for it, or its way into a bucket leads over a disk that is too small.
    fn is_too_long(&self, length: u64) -> bool {
        !self.may_hold(length) || length > self.max_scratch && self.store.abilities().stages
    }

    /// So many bytes more are on their way into the store.
    pub(crate) fn takes(&self, bytes: u64) {
        self.room.takes(bytes);
        telemetry::holds(self.room.held());
    }

    /// The same, unless that is too far beyond what the store may hold; whether they are.
    fn takes_if_room(&self, bytes: u64) -> bool {
        let is_in = self.room.takes_in(bytes);
        telemetry::holds(self.room.held());
        is_in
    }

    /// The same, as soon as that is not too far beyond what the store may hold. `false`: it would be, and nobody has made
    /// room in time.
    async fn takes_in(&self, bytes: u64) -> bool {
        let mut is_in = self.room.takes_in(bytes);
        if !is_in {
            let _waiting = self.room.wait(bytes);
            let made = async {
                loop {
                    let looked = self.room.looked();
                    if self.room.takes_in(bytes) {
                        return;
                    }
                    looked.await;
                }
            };
            is_in = within(&*self.clock, ROOM_PATIENCE, made).await.is_ok();
        }
        telemetry::holds(self.room.held());
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
        let (cache, digest, busy) = (Arc::clone(self), digest.clone(), self.busy());
        self.tasks.spawn(Box::pin(async move {
            let _busy = busy;
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
