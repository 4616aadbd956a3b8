//! What is kept, under which name, for how long, and for whom: the typed face of a [`Store`], with a tier in memory
//! before it. A store that fails costs a log line and a metric, never an answer: everything can be fetched again.

mod evict;
mod grants;
mod house;
mod inventory;
mod janitor;
mod keys;
mod lease;
mod lists;
mod memory;
mod record;
mod room;
mod survey;
mod tag;
mod uploads;
mod usage;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Memory;

pub(crate) use self::grants::{Claim, Grants};
pub use self::house::{Command, Event, House, Image, Purge, Purged, Stat, Tell, Verified};
pub use self::janitor::Janitor;
pub use self::keys::{BLOBS, EVERYTHING, INGESTS, Key, Kind, LEASES, LINKS, MANIFESTS, TAGS, USAGE};
pub use self::memory::MemoryStore;

pub(crate) use self::house::Cleared;
pub(crate) use self::inventory::Content;
pub(crate) use self::lease::{Lease, Leased};
pub(crate) use self::lists::{Listed, Lists};
pub(crate) use self::record::{Described, Piece, Proof, StoredManifest};
use self::room::Room;
pub(crate) use self::survey::Survey;
pub(crate) use self::tag::{Freshness, Pointer};
use crate::body::Body;
use crate::config;
use crate::digest::Digest;
use crate::flight::Flights;
use crate::name::RepositoryName;
use crate::platform::{
    self, Clock, Draft, Found, Kept, Mark, Moment, Part, Passing, Platform, Store, StoreError, Tasks, When, within,
};
use crate::telemetry;

/// How long a store that failed is left alone.
const REST: Duration = Duration::from_secs(5);
/// How long a store may take for anything but the bytes themselves.
const DEADLINE: Duration = Duration::from_secs(5);
/// What an entry of a small table takes, about, with its key.
const ENTRY_BYTES: u64 = 300;

/// Kept content.
pub(crate) struct Cache {
    store: Arc<dyn Store>,
    config: config::Cache,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    /// The longest blob that may lie on the instance's disk on its way into a bucket.
    max_scratch: u64,
    manifests: Memory<Digest, Arc<StoredManifest>, ManifestBytes>,
    pointers: Memory<Key, Pointer>,
    proofs: Memory<Key, Proof>,
    /// Blobs whose bytes have been held against their digest, in the state in which they were.
    verified: Memory<Digest, Mark>,
    /// Blobs that were found not to have their digest, in that state: they are on their way out.
    distrusted: Memory<Digest, Mark>,
    verifying: Flights<Digest, bool>,
    grants: Grants,
    lists: Lists,
    absent: Memory<(Claim, Box<str>), Moment>,
    room: Arc<Room>,
    /// How much is on its way into the store, and who waits for it.
    busy: (AtomicUsize, event_listener::Event),
    /// Until when the store is left alone, in milliseconds on the clock.
    rests_until: AtomicU64,
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
        let store = Arc::clone(platform.store.as_ref()?);
        let bytes = config.memory.0;
        let entries = usize::try_from(bytes / 8 / ENTRY_BYTES).unwrap_or(usize::MAX).max(100);
        Some(Self {
            store,
            config: config.clone(),
            clock: Arc::clone(&platform.clock),
            tasks: Arc::clone(&platform.tasks),
            max_scratch: platform.limits.max_scratch.unwrap_or(u64::MAX),
            manifests: Memory::with_weighter(entries, bytes / 2, ManifestBytes),
            pointers: Memory::new(entries),
            proofs: Memory::new(entries),
            verified: Memory::new(entries),
            distrusted: Memory::new(1000),
            verifying: Flights::new(platform.limits.shares_io),
            grants: Grants::new(entries),
            lists: Lists::new(bytes / 8),
            absent: Memory::new(1000),
            room: Arc::new(Room::new()),
            busy: Default::default(),
            rests_until: AtomicU64::new(0),
        })
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &config::Cache {
        &self.config
    }

    /// A manifest by digest.
    pub(crate) async fn manifest(&self, digest: &Digest) -> Option<Arc<StoredManifest>> {
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

    /// Keeps a manifest that an upstream gave for this repository, and that it names its children. In memory at once, in
    /// the store soon; first the bytes, then what leads to them, so that a crash leaves nothing that leads nowhere.
    pub(crate) fn keep_manifest(
        self: &Arc<Self>,
        upstream: &str,
        repository: &RepositoryName,
        manifest: &Arc<StoredManifest>,
        pointer: Option<(Key, Pointer)>,
    ) {
        let mut records = vec![(Key::manifest(&manifest.digest), manifest.to_record())];
        self.manifests.insert(manifest.digest.clone(), Arc::clone(manifest));
        let children = manifest.children();
        let named = children.iter().map(|child| (child, Proof::Named));
        for (digest, proof) in named.chain([(&manifest.digest, Proof::Shown)]) {
            let key = Key::link(upstream, repository, digest);
            if self.proofs.get(&key).is_none_or(|known| known < proof) {
                self.proofs.insert(key.clone(), proof);
                records.push((key, proof.to_record()));
            }
        }
        if let Some((key, pointer)) = pointer {
            self.pointers.insert(key.clone(), pointer.clone());
            records.push((key, pointer.to_record().into()));
        }
        self.write_soon(records);
    }

    /// Where a tag points.
    pub(crate) async fn pointer(&self, key: &Key) -> Option<Pointer> {
        if let Some(pointer) = self.pointers.get(key) {
            return Some(pointer);
        }
        let record = self.ask("read", self.store.read(key)).await??;
        let pointer = Pointer::from_record(&record)?;
        self.pointers.insert(key.clone(), pointer.clone());
        Some(pointer)
    }

    /// An upstream has said where a tag points.
    pub(crate) fn point(self: &Arc<Self>, key: Key, pointer: Pointer) {
        let record = pointer.to_record().into();
        self.pointers.insert(key.clone(), pointer);
        self.write_soon(vec![(key, record)]);
    }

    /// An upstream has said that there is no such thing any more.
    pub(crate) async fn forget(&self, key: &Key) {
        self.pointers.remove(key);
        self.proofs.remove(key);
        self.ask("remove", self.store.remove(key)).await;
    }

    /// How it is known that a repository has a digest.
    pub(crate) async fn proof(
        &self,
        upstream: &str,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Option<Proof> {
        let key = Key::link(upstream, repository, digest);
        if let Some(proof) = self.proofs.get(&key) {
            return Some(proof);
        }
        let record = self.ask("read", self.store.read(&key)).await??;
        let proof = Proof::from_record(&record)?;
        self.proofs.insert(key, proof);
        Some(proof)
    }

    /// An upstream has shown a digest in a repository.
    pub(crate) fn prove(self: &Arc<Self>, upstream: &str, repository: &RepositoryName, digest: &Digest) {
        let key = Key::link(upstream, repository, digest);
        if self.proofs.get(&key) != Some(Proof::Shown) {
            self.proofs.insert(key.clone(), Proof::Shown);
            self.write_soon(vec![(key, Proof::Shown.to_record())]);
        }
    }

    /// Who has been let in where.
    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// What upstreams listed lately.
    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }

    /// Whether this was not found a moment ago, by this client.
    pub(crate) fn is_absent(&self, claim: &Claim, reference: &str) -> bool {
        let until = self.absent.get(&(claim.clone(), reference.into()));
        until.is_some_and(|until| self.clock.now() < until)
    }

    /// It was not found.
    pub(crate) fn set_absent(&self, claim: &Claim, reference: &str) {
        let life = self.config.negative_ttl.0;
        if !life.is_zero() {
            self.absent.insert((claim.clone(), reference.into()), self.clock.now().after(life));
        }
    }

    /// It has come into being.
    pub(crate) fn clear_absent(&self) {
        self.absent.clear();
    }

    /// A blob's length, if it is here.
    pub(crate) async fn blob_length(&self, digest: &Digest) -> Option<u64> {
        let stat: platform::Stat = self.ask("stat", self.store.stat(&Key::blob(digest))).await??;
        (!self.is_distrusted(digest, &stat)).then_some(stat.length)
    }

    /// The length of a stored blob that has its digest: a file that was cut short does not say how long the blob is.
    pub(crate) async fn right_length(self: &Arc<Self>, digest: &Digest) -> Option<u64> {
        let stat: platform::Stat = self.ask("stat", self.store.stat(&Key::blob(digest))).await??;
        let is_verified = || self.trusts(digest, &stat.mark);
        let is_right = is_verified()
            || !self.is_distrusted(digest, &stat)
                && self.verifying.join(digest, || self.verify(digest)).await
                && is_verified();
        is_right.then_some(stat.length)
    }

    /// A blob, or a part of it. Its bytes have been held against the digest since they last changed, or are on their
    /// way: then the last of them are withheld.
    pub(crate) async fn blob(self: &Arc<Self>, digest: &Digest, part: Option<Part>) -> Option<Found> {
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
        let is_right = self.verifying.join(digest, || self.verify(digest)).await;
        let found = if is_right { self.ask("open", self.store.open(&key, part)).await?? } else { return None };
        // Whatever it is now: it is not what was verified.
        (self.verified.get(digest).as_ref() == Some(&found.stat.mark)).then_some(found)
    }

    /// Reads a stored blob to its end and holds it against its digest.
    async fn verify(self: &Arc<Self>, digest: &Digest) -> bool {
        let Some(Some(found)) = self.ask("open", self.store.open(&Key::blob(digest), None)).await else {
            return false;
        };
        let Found { stat, body } = found;
        let Some(verifying) = verify::Verifying::new(Arc::clone(self), digest, &stat, body) else { return false };
        let mut body = Body::stream(verifying, Some(stat.length));
        while let Some(piece) = body.chunk().await {
            if piece.is_err() {
                return false;
            }
        }
        self.verified.get(digest) == Some(stat.mark)
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
        self.distrusted.get(digest).as_ref() == Some(&stat.mark)
    }

    /// A stored blob does not have its digest any more.
    fn distrust(self: &Arc<Self>, digest: &Digest, mark: Mark) {
        let key = Key::blob(digest);
        tracing::error!(%key, "a stored blob does not have its digest any more; it is thrown away");
        telemetry::corrupt("blob");
        self.verified.remove(digest);
        // It takes a moment to remove it, and nobody is to be served from it meanwhile.
        self.distrusted.insert(digest.clone(), mark);
        let cache = Arc::clone(self);
        self.tasks.spawn(Box::pin(async move {
            cache.ask("remove", cache.store.remove(&key)).await;
        }));
    }

    /// Room for a blob that arrives; `None`: it must pass by.
    pub(crate) async fn draft(&self, digest: &Digest, length: u64) -> Option<Arc<dyn Draft>> {
        if self.is_too_long(length) {
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
        let draft = draft.await?;
        self.room.takes(length);
        Some(draft)
    }

    /// Room for some of a blob: nothing is promised for the rest, which perhaps nobody wants.
    pub(crate) async fn sparse_draft(&self, digest: &Digest, length: u64) -> Option<Arc<dyn Draft>> {
        if self.is_too_long(length) {
            return None;
        }
        self.ask("draft", self.store.draft(&Key::blob(digest), None)).await
    }

    /// All the rest together could not make room for it, or it is too long for its way into a bucket.
    fn is_too_long(&self, length: u64) -> bool {
        length > self.config.max_size().0 || length > self.max_scratch && self.store.abilities().uploads
    }

    /// So many bytes more are on their way into the store.
    pub(crate) fn takes(&self, bytes: u64) {
        self.room.takes(bytes);
    }

    /// Keeps a copy of a blob that passes, where the store can, and tells what becomes of it by itself.
    pub(crate) fn keep_passing(self: &Arc<Self>, digest: &Digest, length: u64, body: Body) -> Result<Body, Body> {
        if length > self.config.max_size().0 {
            return Err(body);
        }
        let Passing { body, kept } = self.store.keep_passing(digest, length, body)?;
        let (cache, digest, busy) = (Arc::clone(self), digest.clone(), self.busy());
        self.tasks.spawn(Box::pin(async move {
            let _busy = busy;
            match kept.await {
                Ok(Kept::Whole) => cache.committed(&digest).await,
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

    /// A fill has put a blob it verified into the store.
    pub(crate) async fn committed(&self, digest: &Digest) {
        if let Some(Some(stat)) = self.ask("stat", self.store.stat(&Key::blob(digest))).await {
            self.trust(digest, stat.mark);
        }
    }

    /// Says that the store failed, and leaves it alone for a while.
    pub(crate) fn failed(&self, what: &'static str, error: &StoreError) {
        telemetry::store_failed(what, error.why());
        if matches!(error, StoreError::Full) {
            self.room.lacks(1);
        }
        // What lacks is room, or a right: reading goes on.
        if matches!(error, StoreError::TimedOut | StoreError::Failed(_)) {
            self.rests_until.store(millis(self.clock.now().after(REST)), Ordering::Relaxed);
        }
        tracing::warn!(
            what,
            error = std::error::Error::source(error).map(tracing::field::display),
            "{error}; going on without it"
        );
    }

    /// Asks the store, within a deadline. `None`: it failed, or failed a moment ago.
    async fn ask<T>(&self, what: &'static str, answer: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        if millis(self.clock.now()) < self.rests_until.load(Ordering::Relaxed) {
            return None;
        }
        let answer = within(&*self.clock, DEADLINE, answer).await.unwrap_or(Err(StoreError::TimedOut));
        answer.map_err(|error| self.failed(what, &error)).ok()
    }

    /// Held while something is on its way into the store that no client waits for.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.0.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Waits until what is on its way into the store is there, or for `limit`.
    pub(crate) async fn settle(&self, limit: Duration) {
        let settled = async {
            loop {
                let listener = self.busy.1.listen();
                if self.busy.0.load(Ordering::Relaxed) == 0 {
                    return;
                }
                listener.await;
            }
        };
        // What takes longer is fetched again.
        let _ = within(&*self.clock, limit, settled).await;
    }

    fn write_soon(self: &Arc<Self>, records: Vec<(Key, Bytes)>) {
        let (cache, busy) = (Arc::clone(self), self.busy());
        self.tasks.spawn(Box::pin(async move {
            let _busy = busy;
            for (key, value) in records {
                if cache.ask("write", cache.store.write(&key, value, When::Always)).await.is_none() {
                    return;
                }
            }
        }));
    }
}

/// Something on its way into the store.
pub(crate) struct Busy(Arc<Cache>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.0.fetch_sub(1, Ordering::Relaxed);
        self.0.busy.1.notify(usize::MAX);
    }
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}
