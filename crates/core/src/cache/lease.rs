//! Who fetches a blob, where several processes share a store: a record put only where none is. An expired one gives
//! way to the next number (epoch), so that stores that cannot overwrite on a condition can still hand a lease on.
//!
//! A lease saves downloads and decides nothing else: two that believe to hold it fetch the same blob twice, and both
//! commit the same bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::{Cache, Key};
use crate::digest::Digest;
use crate::platform::When;

/// How long a lease holds: longer than anybody waits for its holder.
const LIFE_SECONDS: u64 = 60;
/// More expired leases than this on one blob are a sign that something is wrong: then each fetches for itself.
const MAX_EPOCHS: u32 = 100;

/// The right to fetch, until it is dropped.
pub(crate) struct Lease {
    cache: Arc<Cache>,
    key: Key,
}

/// What asking for a lease gives.
pub(crate) enum Leased {
    /// Fetch; with a lease, where the store would give one.
    Ours(Option<Lease>),
    /// Another process fetches.
    Theirs,
}

impl Cache {
    /// Asks for the right to fetch a blob.
    pub(crate) async fn lease(self: &Arc<Self>, digest: &Digest) -> Leased {
        if !self.store.is_shared() {
            return Leased::Ours(None);
        }
        let now = self.clock_seconds();
        for epoch in 1..=MAX_EPOCHS {
            let key = Key::lease(digest, epoch);
            let until = now.saturating_add(LIFE_SECONDS);
            let record = Bytes::from(until.to_string());
            match self.ask("lease", self.store.write(&key, record, When::Absent)).await {
                None => return Leased::Ours(None),
                Some(true) => return Leased::Ours(Some(Lease { cache: Arc::clone(self), key })),
                Some(false) => {}
            }
            let record = self.ask("lease", self.store.read(&key)).await.flatten();
            let until = record.as_deref().and_then(|record| std::str::from_utf8(record).ok()?.parse::<u64>().ok());
            // Longer than a lease can hold is a clock gone wrong; it does not keep everybody waiting.
            if until.is_some_and(|until| now < until && until <= now.saturating_add(2 * LIFE_SECONDS)) {
                return Leased::Theirs;
            }
        }
        Leased::Ours(None)
    }

    fn clock_seconds(&self) -> u64 {
        self.clock.unix_seconds()
    }
}

impl Drop for Lease {
    /// It is over: the blob is there, or others may try.
    fn drop(&mut self) {
        let (cache, key) = (Arc::clone(&self.cache), self.key.clone());
        self.cache.tasks.spawn(Box::pin(async move {
            cache.ask("remove", cache.store.remove(&key)).await;
        }));
    }
}
