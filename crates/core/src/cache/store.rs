//! Asking the store: within a deadline, and not at all for a while where it does not answer in time, or fails at several
//! keys. One key that cannot be read says nothing of the others.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{Cache, DEADLINE, Key, millis};
use crate::platform::{Draft, Found, Part, Precondition, Stat, Store, StoreError, within};
use crate::sync::{Mutex, MutexGuard};
use crate::telemetry;

/// How long a store that failed is left alone.
const BACKOFF: Duration = Duration::from_secs(5);
/// So many keys that fail, with nothing between them that goes well, are the store's own failure.
const SEVERAL: usize = 3;

/// A store, and at which keys it has failed since it last did something well.
pub(super) struct WatchedStore {
    /// The store itself, for whoever looks after it.
    pub(super) inner: Arc<dyn Store>,
    /// At most [`SEVERAL`].
    failing: Mutex<Vec<Key>>,
    /// Whether there are any: nobody takes the lock while all is well.
    is_failing: AtomicBool,
}

impl WatchedStore {
    pub(super) fn new(inner: &Arc<dyn Store>) -> Self {
        Self { inner: Arc::clone(inner), failing: Mutex::default(), is_failing: AtomicBool::new(false) }
    }

    pub(super) async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.noted(key, self.inner.read(key).await)
    }

    pub(super) async fn write(
        &self,
        key: &Key,
        value: Bytes,
        precondition: Precondition,
    ) -> Result<bool, StoreError> {
        self.noted(key, self.inner.write(key, value, precondition).await)
    }

    pub(super) async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.noted(key, self.inner.remove(key).await)
    }

    pub(super) async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.noted(key, self.inner.stat(key).await)
    }

    pub(super) async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        self.noted(key, self.inner.open(key, part).await)
    }

    pub(super) async fn draft(&self, key: &Key, length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        self.noted(key, self.inner.draft(key, length).await)
    }

    /// Takes down how it went.
    fn noted<T>(&self, key: &Key, done: Result<T, StoreError>) -> Result<T, StoreError> {
        match &done {
            Ok(_) if self.is_failing.load(Ordering::Relaxed) => {
                self.failing().clear();
                self.is_failing.store(false, Ordering::Relaxed);
            }
            Err(StoreError::Failed(_)) => {
                let mut failing = self.failing();
                if failing.len() < SEVERAL && !failing.contains(key) {
                    failing.push(key.clone());
                }
                self.is_failing.store(true, Ordering::Relaxed);
            }
            // Room, or a right, is not the key's.
            Ok(_)
            | Err(
                StoreError::Full
                | StoreError::Denied(_)
                | StoreError::ReadDenied(_)
                | StoreError::NoCredentials(_)
                | StoreError::TimedOut,
            ) => {}
        }
        done
    }

    fn failing(&self) -> MutexGuard<'_, Vec<Key>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store is left alone after it has failed so.
    fn opens_breaker(&self, error: &StoreError) -> bool {
        match error {
            StoreError::TimedOut => true,
            StoreError::Failed(_) => self.failing().len() >= SEVERAL,
            // What lacks is room, or a right: reading goes on.
            StoreError::Full
            | StoreError::Denied(_)
            | StoreError::ReadDenied(_)
            | StoreError::NoCredentials(_) => false,
        }
    }
}

/// For all that is not of one key.
impl Deref for WatchedStore {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.inner
    }
}

impl Cache {
    /// Says that the store failed, and leaves it alone for a while if it is the store and not one key.
    pub(crate) fn failed(&self, what: &'static str, error: &StoreError) {
        telemetry::store_failed(what, error.why());
        if matches!(error, StoreError::Full) {
            self.pressure.report_full(1);
        }
        if self.store.opens_breaker(error) {
            self.backs_off_until.store(millis(self.clock.now().after(BACKOFF)), Ordering::Relaxed);
        }
        tracing::warn!(
            what,
            error = std::error::Error::source(error).map(tracing::field::display),
            "{error}; going on without it"
        );
    }

    /// Asks the store, within a deadline. `None`: it failed, or failed a moment ago.
    pub(super) async fn ask<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        if self.backs_off() {
            return None;
        }
        let answer = within(&*self.clock, DEADLINE, answer).await.unwrap_or(Err(StoreError::TimedOut));
        answer.map_err(|error| self.failed(what, &error)).ok()
    }

    /// Asks for what is only a help: where it fails, the store is asked for everything else all the same. `None`: it
    /// failed at something else a moment ago.
    pub(super) async fn ask_quietly<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Option<T>, StoreError> {
        if self.backs_off() {
            return Ok(None);
        }
        let answer = within(&*self.clock, DEADLINE, answer).await.unwrap_or(Err(StoreError::TimedOut));
        answer.map(Some).inspect_err(|error| telemetry::store_failed(what, error.why()))
    }

    fn backs_off(&self) -> bool {
        millis(self.clock.now()) < self.backs_off_until.load(Ordering::Relaxed)
    }
}
