//! The store, as the cache asks it: within deadlines, and behind a circuit breaker that leaves a failing store alone for a
//! while. A store that fails costs a log line and a metric, and never an answer.

mod counted;
mod pending;
mod pressure;
mod watched_store;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;

pub(crate) use self::counted::CountedBytes;
pub(crate) use self::pending::PendingGuard;
use self::pending::PendingWrites;
pub(crate) use self::pressure::EvictionPressure;
use self::watched_store::WatchedStore;
use super::Key;
use crate::digest::Digest;
use crate::notification::{EventKind, Notification, Notifications};
use crate::platform::{
    Clock, Found, Part, Platform, Precondition, Stat, Store, StoreCapabilities, StoreError, Tasks, within,
};
use crate::telemetry;

/// How long a store may take for anything but the bytes themselves.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// How long a blob that arrives waits for an eviction; then it is not stored.
const EVICTION_WAIT: Duration = Duration::from_secs(1);

/// A store with its circuit breaker, and the writes to it that are pending.
pub(crate) struct CacheBackend {
    pub(crate) store: WatchedStore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: Arc<dyn Tasks>,
    pub(crate) notifications: Notifications,
    /// Whether requests may do each other's work.
    pub(super) shares_io: bool,
    pub(crate) pressure: Arc<EvictionPressure>,
    pending_writes: Arc<PendingWrites>,
    /// Bytes that fills have read and the store does not have yet.
    arriving: Arc<AtomicUsize>,
}

impl CacheBackend {
    /// A store that may hold `max_bytes`.
    pub(super) fn new(store: &Arc<dyn Store>, platform: &Platform, max_bytes: u64) -> Self {
        Self {
            store: WatchedStore::new(store),
            clock: Arc::clone(&platform.clock),
            tasks: Arc::clone(&platform.tasks),
            notifications: platform.notifications.clone(),
            shares_io: platform.capabilities.shares_io,
            pressure: Arc::new(EvictionPressure::new(max_bytes)),
            pending_writes: Arc::default(),
            arriving: Arc::default(),
        }
    }

    /// A count of bytes that a connection reads ahead of the store.
    pub(crate) fn arriving(&self) -> CountedBytes {
        CountedBytes::new(&self.arriving)
    }

    /// What the store can do.
    pub(crate) fn capabilities(&self) -> StoreCapabilities {
        self.store.capabilities()
    }

    /// Logs and counts that the store failed. Opens the breaker if the store itself failed, and not one key.
    pub(crate) fn failed(&self, what: &'static str, error: &StoreError) {
        telemetry::store_failed(what, error.why());
        if matches!(error, StoreError::Full) {
            self.pressure.report_full(1);
        }
        self.store.back_off_after(error, self.clock.now());
        tracing::warn!(
            what,
            error = std::error::Error::source(error).map(tracing::field::display),
            "{error}; continuing without it"
        );
    }

    /// Counts and says that content does not have its digest: `blob` or `manifest` in the store, `upload` on its way there.
    pub(crate) fn corrupt(&self, content: &'static str, digest: &Digest) {
        telemetry::corrupt(content);
        self.mismatched(content, digest);
    }

    /// Says the same of a `download`, which has a metric of its own.
    pub(crate) fn mismatched(&self, content: &'static str, digest: &Digest) {
        let what = || Notification::Corrupt { content, digest: digest.as_str().into() };
        self.notifications.happened(EventKind::Corrupt, self.clock.now().0, what);
    }

    /// Asks the store, within a deadline. `None`: it failed, or the breaker is open.
    pub(super) async fn ask<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        if self.store.backs_off(self.clock.now()) {
            return None;
        }
        self.ask_slowly(what, DEADLINE, answer).await
    }

    /// Asks the store for something optional: a failure does not open the breaker. `None`: the breaker is open.
    pub(super) async fn ask_quietly<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Option<T>, StoreError> {
        if self.store.backs_off(self.clock.now()) {
            return Ok(None);
        }
        let answer = within(&*self.clock, DEADLINE, answer).await.unwrap_or(Err(StoreError::TimedOut));
        answer.map(Some).inspect_err(|error| telemetry::store_failed(what, error.why()))
    }

    /// Asks the store for something that takes as long as its bytes take, also while the breaker is open.
    pub(super) async fn ask_slowly<T>(
        &self,
        what: &'static str,
        deadline: Duration,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        let answer = within(&*self.clock, deadline, answer).await.unwrap_or(Err(StoreError::TimedOut));
        answer.map_err(|error| self.failed(what, &error)).ok()
    }

    /// A record, if there is one.
    pub(super) async fn read(&self, key: &Key) -> Option<Option<Bytes>> {
        self.ask("read", self.store.read(key)).await
    }

    /// Writes a record, whatever is there.
    pub(super) async fn write(&self, key: &Key, record: Bytes) -> Option<()> {
        self.ask("write", self.store.write(key, record, Precondition::Always)).await.map(drop)
    }

    /// Removes a record or a blob.
    pub(super) async fn remove(&self, key: &Key) -> Option<()> {
        self.ask("remove", self.store.remove(key)).await
    }

    /// A blob's length and validator, if it is there.
    pub(super) async fn stat(&self, key: &Key) -> Option<Option<Stat>> {
        self.ask("stat", self.store.stat(key)).await
    }

    /// A blob or a part of it, if it is there.
    pub(super) async fn open(&self, key: &Key, part: Option<Part>) -> Option<Option<Found>> {
        self.ask("open", self.store.open(key, part)).await
    }

    /// Counts bytes that are on their way into the store.
    pub(crate) fn count_incoming(&self, bytes: u64) {
        self.pressure.add(bytes);
        telemetry::holds(self.pressure.held_bytes());
    }

    /// The same, unless the store would then hold too many; whether it would not.
    pub(super) fn try_admit(&self, bytes: u64) -> bool {
        let is_admitted = self.pressure.try_add(bytes);
        telemetry::holds(self.pressure.held_bytes());
        is_admitted
    }

    /// The same, once the store would not hold too many. `false`: nothing was evicted in time.
    pub(super) async fn admit(&self, bytes: u64) -> bool {
        let mut is_admitted = self.pressure.try_add(bytes);
        if !is_admitted {
            let _waiting = self.pressure.wait(bytes);
            let evicted = async {
                loop {
                    let surveyed = self.pressure.next_survey();
                    if self.pressure.try_add(bytes) {
                        return;
                    }
                    surveyed.await;
                }
            };
            is_admitted = within(&*self.clock, EVICTION_WAIT, evicted).await.is_ok();
        }
        telemetry::holds(self.pressure.held_bytes());
        is_admitted
    }

    /// A pending write, until the guard is dropped: [`flush`](Self::flush) waits for it. No client does.
    pub(crate) fn begin_write(&self) -> PendingGuard {
        self.pending_writes.begin()
    }

    /// Waits until the store keeps up with what is fetched. `None`: it does not within its deadline, and what is fetched is not
    /// stored.
    pub(crate) async fn room_for_write(&self) -> Option<PendingGuard> {
        let room = within(&*self.clock, DEADLINE, self.pending_writes.room()).await;
        room.inspect_err(|_| telemetry::store_failed("write", StoreError::TimedOut.why())).ok()
    }

    /// Waits until no write is pending, or for `limit`; whether none is. What takes longer is fetched again.
    pub(crate) async fn flush(&self, limit: Duration) -> bool {
        within(&*self.clock, limit, self.pending_writes.flushed()).await.is_ok()
    }
}
