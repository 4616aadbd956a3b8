//! What is kept, under which name, for how long, and for whom: the typed face of a [store](platform::Store), with a tier in memory
//! before it. A store that fails costs a log line and a metric, never an answer: everything can be fetched again.

mod busy;
mod evict;
mod house;
mod inventory;
mod janitor;
mod keys;
mod lease;
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
mod uploads;
mod usage;
mod verify;

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
pub(crate) use self::lists::{Listed, Lists};
pub(crate) use self::notes::Tag;
use self::notes::{Turns, Writing};
pub(crate) use self::record::{Described, Piece, StoredManifest};
use self::room::Room;
use self::store::Watched;
pub(crate) use self::survey::Survey;
pub(crate) use self::tag::{Freshness, Pointer};
pub(crate) use self::usage::usage_failed;
use self::verify::UnderWay;
use crate::body::Body;
use crate::config;
use crate::digest::Digest;
use crate::evidence::{Absences, Grants, Link, Origins, Provenance};
use crate::platform::{
    self, Clock, Draft, Found, Kept, Mark, Moment, Part, Passing, Platform, StoreError, Tasks, within,
};
use crate::telemetry;

/// How long a store may take for anything but the bytes themselves.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a blob that arrives waits for room to be made; then it passes by.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);
/// What a small record takes, at most: a block of a disk.
const RECORD_BYTES: u64 = 4096;
/// How long a blob that could not be read is left alone.
const UNREAD: Duration = Duration::from_mins(1);
/// Tags that were forgotten and are remembered as such: questions that began before are under way no longer than it
/// takes to forget so many others.
const MAX_FORGOTTEN: usize = 1000;
/// Blobs whose length is remembered by the word of a manifest: it is wanted soon after, while the image is pulled.
const MAX_LENGTHS: usize = 10_000;
/// What an entry of a small table takes, about, with its key.
const ENTRY_BYTES: u64 = 300;

/// Kept content.
pub(crate) struct Cache {
    store: Watched,
    config: config::Cache,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    /// The longest blob that may lie on the instance's disk on its way into a bucket.
    max_scratch: u64,
    /// Whether requests may do each other's work.
    shares_io: bool,
    manifests: Memory<Digest, Arc<StoredManifest>, ManifestBytes>,
    pointers: Memory<Key, Pointer>,
    links: Memory<Key, Link>,
    /// How long blobs are by the manifests that name them, under the key of their link.
    lengths: Memory<Key, u64>,
    origins: Memory<Digest, Arc<Origins>>,
    turns: Turns,
    /// Links that are being written.
    writing: Writing,
    /// Tags and links that were forgotten, each with the generation that this began.
    forgotten: Memory<Key, u64>,
    generations: AtomicU64,
    /// Blobs whose bytes have been held against their digest, in the state in which they were.
    verified: Memory<Digest, Mark>,
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
    pub(crate) fn new(config: &config::Cache, platform: &Platform) -> Option<Self> {
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
            pointers: Memory::new(entries),
            links: Memory::new(entries),
            lengths: Memory::new(MAX_LENGTHS),
            origins: Memory::new(entries),
            turns: Turns::default(),
            writing: Writing::default(),
            forgotten: Memory::new(MAX_FORGOTTEN),
            generations: AtomicU64::new(0),
            verified: Memory::new(entries),
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
    pub(crate) fn config(&self) -> &config::Cache {
        &self.config
    }

    /// What upstreams listed lately.
    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }

    /// A blob's length, if it is here.
    pub(crate) async fn blob_length(&self, digest: &Digest) -> Option<u64> {
        let stat: platform::Stat = self.ask("stat", self.store.stat(&Key::blob(digest))).await??;
        (!self.is_distrusted(digest, &stat)).then_some(stat.length)
    }

    /// The length of a stored blob that has its digest: a file that was cut short does not say how long the blob is.
    pub(crate) async fn right_length(self: &Arc<Self>, digest: &Digest) -> Option<u64> {
        let stat: platform::Stat = self.ask("stat", self.store.stat(&Key::blob(digest))).await??;
        if !self.trusts(digest, &stat.mark) {
            if self.is_distrusted(digest, &stat) {
                return None;
            }
            self.verify_in_time(digest).await;
        }
        self.trusts(digest, &stat.mark).then_some(stat.length)
    }

    /// A blob, or a part of it. Its bytes have been held against the digest since they last changed, or are on their
    /// way: then the last of them are withheld.
    pub(crate) async fn blob(self: &Arc<Self>, digest: &Digest, part: Option<Part>) -> Option<Found> {
        let Found { stat, body } = self.right_blob(digest, part).await?;
        // Until its first bytes are in hand it can still be had elsewhere.
        if let Ok(Ok(body)) = within(&*self.clock, DEADLINE, body.begun()).await {
            return Some(Found { stat, body });
        }
        if !self.is_distrusted(digest, &stat) {
            self.unread(digest, stat.mark);
        }
        None
    }

    async fn right_blob(self: &Arc<Self>, digest: &Digest, part: Option<Part>) -> Option<Found> {
        let key = Key::blob(digest);
        let found = self.ask("open", self.store.open(&key, part)).await??;
        if self.trusts(digest, &found.stat.mark) {
            self.store.used(&key);
            return Some(found);
        }
        if self.is_distrusted(digest, &found.stat) {
            return None;
        }
        if part.is_none() {
            let Found { stat, body } = found;
            let verifying = verify::Verifying::new(Arc::clone(self), digest, &stat, body)?;
            return Some(Found { body: Body::stream(verifying, Some(stat.length)), stat });
        }
        drop(found);
        self.verify_in_time(digest).await;
        let found = self.ask("open", self.store.open(&key, part)).await??;
        // Otherwise, whatever it is now: it is not what was verified.
        self.trusts(digest, &found.stat.mark).then_some(found)
    }

    /// Whether a stored blob is known to have its digest.
    fn trusts(&self, digest: &Digest, mark: &Mark) -> bool {
        self.store.abilities().vouches || self.verified.get(digest).as_ref() == Some(mark)
    }

    /// A stored blob has its digest.
    fn trust(&self, digest: &Digest, mark: Mark) {
        self.verified.insert(digest.clone(), mark);
        self.store.used(&Key::blob(digest));
    }

    fn is_distrusted(&self, digest: &Digest, stat: &platform::Stat) -> bool {
        let distrusted = self.distrusted.get(digest);
        distrusted.is_some_and(|(mark, until)| mark == stat.mark && self.clock.now() < until)
    }

    /// A stored blob does not have its digest any more.
    fn distrust(self: &Arc<Self>, digest: &Digest, mark: Mark) {
        let key = Key::blob(digest);
        tracing::error!(%key, "a stored blob does not have its digest any more; it is thrown away");
        telemetry::corrupt("blob");
        self.verified.remove(digest);
        // It takes a moment to remove it, and nobody is to be served from it meanwhile.
        self.distrusted.insert(digest.clone(), (mark, Moment(Duration::MAX)));
        let cache = Arc::clone(self);
        self.tasks.spawn(Box::pin(async move {
            cache.ask("remove", cache.store.remove(&key)).await;
        }));
    }

    /// A stored blob cannot be read: it may be whole all the same, and stays. Meanwhile it is served from elsewhere.
    fn unread(&self, digest: &Digest, mark: Mark) {
        tracing::warn!(key = %Key::blob(digest), "a stored blob could not be read; it is left alone for a while");
        telemetry::store_failed("read", "unreadable");
        self.distrusted.insert(digest.clone(), (mark, self.clock.now().after(UNREAD)));
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
                Ok(Kept::Whole) => cache.committed(&provenance, &digest).await,
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

    /// A blob that an upstream gave, whole and verified, has been put into the store.
    pub(crate) async fn committed(self: &Arc<Self>, provenance: &Provenance, digest: &Digest) {
        self.given(provenance, digest);
        if let Some(Some(stat)) = self.ask("stat", self.store.stat(&Key::blob(digest))).await {
            self.trust(digest, stat.mark);
        }
    }
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}
