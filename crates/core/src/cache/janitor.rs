//! Keeps the store within its limits and free of litter, beside all requests.
//!
//! It looks at the store at the start, now and then, when as much was written as there was room for, and when something
//! found no room. Several of them at one store remove the same things, which harms nobody.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::select;

use super::Cache;
use super::evict::{Limits, choose};
use super::house::{Cleared, Clearing, House};
use super::room::Room;
use super::survey::Survey;
use crate::digest::Digest;
use crate::fill::Fills;
use crate::platform::{Clock, Moment, StoreError};
use crate::telemetry;

/// Between two looks, at least.
const PAUSE: Duration = Duration::from_secs(10);
/// And at most: other processes write, too.
const EVERY: Duration = Duration::from_mins(10);
/// Between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// How old litter is that a sweep takes.
const LITTER_AGE: Duration = Duration::from_hours(1);
/// What leads nowhere and is younger than this may be about to lead somewhere.
const GRACE: Duration = Duration::from_hours(1);
/// A lease ends within seconds of its holder: who left one behind for so long is gone.
const LEASE_AGE: Duration = Duration::from_mins(10);
/// What was used before the day before yesterday nobody reads any more, whatever the clocks.
const USAGE_DAYS: u64 = 2;

/// Who keeps order in one proxy's cache.
pub struct Janitor {
    cache: Weak<Cache>,
    fills: Weak<Fills>,
    room: Arc<Room>,
    clock: Arc<dyn Clock>,
}

impl Janitor {
    pub(crate) fn new(cache: &Arc<Cache>, fills: &Arc<Fills>) -> Self {
        Self {
            cache: Arc::downgrade(cache),
            fills: Arc::downgrade(fills),
            room: Arc::clone(&cache.room),
            clock: Arc::clone(&cache.clock),
        }
    }

    /// Works until the proxy is gone.
    pub async fn run(self) {
        let mut swept: Option<Moment> = None;
        loop {
            let now = self.clock.now();
            let is_due = swept.is_none_or(|swept| now.since(swept) >= SWEEP_EVERY);
            if is_due {
                swept = Some(now);
            }
            if !self.once(is_due).await {
                return;
            }
            self.clock.sleep(PAUSE).await;
            if let Some(due) = self.room.due() {
                select(due, self.clock.sleep(EVERY)).await;
            }
        }
    }

    /// Looks once, and makes room where there is too little. Whether there is still a proxy. Platforms without
    /// anything that goes on between requests call this now and then.
    pub async fn once(&self, sweeps: bool) -> bool {
        let (Some(cache), Some(fills)) = (self.cache.upgrade(), self.fills.upgrade()) else { return false };
        fills.let_go(self.clock.now());
        let house = House::of_cache(Arc::clone(&cache), fills);
        let wanted = self.room.look();
        if let Err(error) = self.tidy(&cache, &house, wanted, sweeps).await {
            if wanted > 0 {
                self.room.lacks(wanted);
            }
            telemetry::store_failed("tidy", error.why());
            // Whoever serves goes on asking the store: what is wrong for a list need not be wrong for a blob.
            let source = std::error::Error::source(&error).map(tracing::field::display);
            tracing::warn!(error = source, "{error}; no room was made, the next try comes");
        }
        true
    }

    async fn tidy(&self, cache: &Cache, house: &House, mut wanted: u64, sweeps: bool) -> Result<(), StoreError> {
        let mut survey = house.survey().await?;
        if sweeps {
            sweep(house, &survey).await?;
        }
        let free = house.in_time(house.store.free()).await?;
        if free == Some(0) {
            wanted = wanted.max(1);
        }
        let config = cache.config();
        let now = self.clock.unix_seconds();
        let limits = Limits {
            max_bytes: config.max_size().0,
            arriving: house.arriving().1,
            wanted,
            free,
            unused_since: config.max_unused.map_or(0, |span| now.saturating_sub(span.0.as_secs())),
        };
        let bytes = survey.inventory.bytes();
        let freed = house.let_ranges_go(&limits, bytes);
        let (arriving, arriving_bytes) = house.arriving();
        let free = free.map(|free| free.saturating_add(freed));
        let limits = Limits { arriving: arriving_bytes, free, ..limits };
        let is_old = |survey: &Survey| survey.inventory.items().iter().any(|item| item.used < limits.unused_since);
        let mut cleared = Cleared::default();
        if limits.excess(bytes) > 0 || is_old(&survey) {
            house.read_through(&mut survey, &arriving, &|_, _| {}).await?;
            let clearing = Clearing {
                gone: choose(&survey.inventory, &limits),
                nowhere_before: now.saturating_sub(GRACE.as_secs()),
                ..Clearing::default()
            };
            cleared = house.clear(&survey, &clearing).await?;
            telemetry::evicted(&cleared);
            tracing::info!(
                blobs = cleared.blobs,
                manifests = cleared.manifests,
                tags = cleared.tags,
                freed_bytes = cleared.bytes,
                left_bytes = bytes.saturating_sub(cleared.bytes),
                "room was made in the cache"
            );
        }
        let left = bytes.saturating_sub(cleared.bytes);
        self.room.allow(limits.max_bytes.saturating_sub(left.saturating_add(arriving_bytes)));
        telemetry::surveyed(&survey, &cleared, now);
        // Freed is not always free: others fill the same disk, and `min_free` may be farther off than it shows.
        if wanted > 0
            && cleared.bytes > 0
            && house.in_time(house.store.free()).await?.is_some_and(|free| free < wanted)
        {
            self.room.lacks(wanted);
        }
        Ok(())
    }
}

/// Removes what crashes left behind.
async fn sweep(house: &House, survey: &Survey) -> Result<(), StoreError> {
    let swept = house.store.sweep(LITTER_AGE).await?;
    if swept.count > 0 {
        tracing::info!(count = swept.count, freed_bytes = swept.bytes, "litter was removed from the cache");
    }
    let now = house.clock.unix_seconds();
    // Each lease that ran out gave way to the next: all of a digest's go, or none.
    let mut latest: HashMap<&Digest, u64> = HashMap::new();
    for lease in &survey.leases {
        let used = latest.entry(&lease.digest).or_default();
        *used = (*used).max(lease.used);
    }
    for lease in &survey.leases {
        if latest.get(&lease.digest).is_some_and(|used| now.saturating_sub(*used) > LEASE_AGE.as_secs()) {
            house.remove(&lease.key).await?;
        }
    }
    for (key, used) in &survey.ingests {
        if now.saturating_sub(*used) > LITTER_AGE.as_secs() && house.take_back(key).await {
            house.remove(key).await?;
        }
    }
    let today = now / (24 * 60 * 60);
    for (_, key) in survey.usage.iter().filter(|(day, _)| day + USAGE_DAYS < today) {
        house.remove(key).await?;
    }
    Ok(())
}
