//! The administration of a store, with the memory of the live server before it where there is one.

mod adopt;
mod clear;
mod command;
mod evict;
mod export;
mod holds;
mod import;
mod inventory;
mod janitor;
mod list;
mod purge;
mod survey;
mod uploads;
mod verify;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

pub use self::adopt::{AdoptError, AdoptMode, Adopted, Adoption};
pub use self::command::{CacheStats, Command, Event, HeldState, HoldEntry, Image, Purge, Purged, Tell, Verified};
use self::evict::EvictionTargets;
pub use self::import::{KeepError, Kept};
use self::inventory::Packed;
pub use self::janitor::Janitor;
use crate::cache::{Cache, DEADLINE, Key};
use crate::fill::Fills;
use crate::platform::{Clock, Store, StoreError, within};

/// A store, and the live server that uses it, if there is one.
pub struct CacheAdmin {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) live: Option<LiveServer>,
}

/// What a running proxy has besides its store.
pub(crate) struct LiveServer {
    pub(crate) cache: Arc<Cache>,
    pub(crate) fills: Arc<Fills>,
}

impl CacheAdmin {
    /// Of a store that no proxy in this process uses.
    pub fn of_store(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, live: None }
    }

    pub(crate) fn of_cache(cache: Arc<Cache>, fills: Arc<Fills>) -> Self {
        let (store, clock) = (Arc::clone(&cache.backend.store.inner), Arc::clone(&cache.backend.clock));
        Self { store, clock, live: Some(LiveServer { cache, fills }) }
    }

    /// Digests of downloads in progress, and their bytes in all.
    pub(crate) fn arriving(&self) -> (HashSet<Packed>, u64) {
        let fills = self.live.as_ref().map(|live| live.fills.under_way()).unwrap_or_default();
        let bytes = fills.iter().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
        (fills.iter().map(|(digest, _)| Packed::new(digest)).collect(), bytes)
    }

    /// Lets go ranges that nobody reads, where there is too little room beside so many `stored` bytes: they are soon had
    /// again. How many bytes that frees.
    pub(crate) fn let_ranges_go(&self, targets: &EvictionTargets, stored: u64) -> u64 {
        let Some(LiveServer { fills, .. }) = &self.live else { return 0 };
        fills.make_room(|ranges| {
            let targets = EvictionTargets { arriving: targets.arriving.saturating_sub(ranges), ..*targets };
            targets.excess(stored.saturating_add(ranges)).min(ranges)
        })
    }

    pub(crate) async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.in_time(self.store.read(key)).await
    }

    /// Removes it, from memory too.
    pub(crate) async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.in_time(self.store.remove(key)).await?;
        if let Some(LiveServer { cache, .. }) = &self.live {
            cache.lost(key);
        }
        Ok(())
    }

    /// The store's answer, within the deadline.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        within(&*self.clock, DEADLINE, answer).await.unwrap_or(Err(StoreError::TimedOut))
    }
}
