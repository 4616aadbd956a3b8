//! The circuit breaker before a store: where the store does not answer in time, or fails at several keys in a row, it is
//! left alone for a while. One key that cannot be read says nothing of the others.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::cache::Key;
use crate::platform::{Draft, Found, Moment, Part, Precondition, Stat, Store, StoreError};
use crate::sync::{Mutex, MutexGuard};

/// How long a store that failed is left alone.
const BACKOFF: Duration = Duration::from_secs(5);
/// So many keys that fail, with nothing between them that goes well, are the store's own failure.
const SEVERAL: usize = 3;

/// A store, and the keys at which it has failed since its last success.
pub(crate) struct WatchedStore {
    /// The store itself, for the cache's administration.
    pub(crate) inner: Arc<dyn Store>,
    /// At most [`SEVERAL`].
    failing: Mutex<Vec<Key>>,
    /// Whether there are any: nobody takes the lock while all is well.
    is_failing: AtomicBool,
    /// Until when the store is left alone, in milliseconds on the clock.
    backs_off_until: AtomicU64,
}

impl WatchedStore {
    pub(crate) fn new(inner: &Arc<dyn Store>) -> Self {
        Self {
            inner: Arc::clone(inner),
            failing: Mutex::default(),
            is_failing: AtomicBool::new(false),
            backs_off_until: AtomicU64::new(0),
        }
    }

    pub(crate) async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.noted(key, self.inner.read(key).await)
    }

    pub(crate) async fn write(
        &self,
        key: &Key,
        value: Bytes,
        precondition: Precondition,
    ) -> Result<bool, StoreError> {
        self.noted(key, self.inner.write(key, value, precondition).await)
    }

    pub(crate) async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.noted(key, self.inner.remove(key).await)
    }

    pub(crate) async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.noted(key, self.inner.stat(key).await)
    }

    pub(crate) async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        self.noted(key, self.inner.open(key, part).await)
    }

    pub(crate) async fn draft(&self, key: &Key, length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        self.noted(key, self.inner.draft(key, length).await)
    }

    /// Records whether a request for one key succeeded.
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
            // Missing room, or a missing permission, says nothing of the key.
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

    /// Opens the breaker if this failure is the store's own, and not that of one key.
    pub(crate) fn back_off_after(&self, error: &StoreError, now: Moment) {
        if self.opens_breaker(error) {
            self.backs_off_until.store(millis(now.after(BACKOFF)), Ordering::Relaxed);
        }
    }

    /// Whether the breaker is open.
    pub(crate) fn backs_off(&self, now: Moment) -> bool {
        millis(now) < self.backs_off_until.load(Ordering::Relaxed)
    }

    /// Whether this failure opens the breaker.
    fn opens_breaker(&self, error: &StoreError) -> bool {
        match error {
            StoreError::TimedOut => true,
            StoreError::Failed(_) => self.failing().len() >= SEVERAL,
            // Room is missing, or a permission: reads go on.
            StoreError::Full
            | StoreError::Denied(_)
            | StoreError::ReadDenied(_)
            | StoreError::NoCredentials(_) => false,
        }
    }
}

/// For requests that are not for one key.
impl Deref for WatchedStore {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.inner
    }
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}
