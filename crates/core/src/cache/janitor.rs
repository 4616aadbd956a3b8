//! Keeps the store within its limits and free of litter, beside all requests.
//!
//! It looks at the store at the start, now and then, as soon as more has arrived than there was room for, and when something
//! found no room. What arrives meanwhile goes a little beyond, and then waits for it ([`Room`]). Several of them at one store
//! remove the same things, which harms nobody.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::select;

use super::Cache;
use super::evict::{Limits, choose};
use super::house::{Cleared, Clearing, House};
use super::inventory::Packed;
use super::room::Room;
use super::survey::Survey;
use crate::digest::Digest;
use crate::fill::Fills;
use crate::platform::{Clock, Moment, StoreError};
use crate::sync::{Mutex, MutexGuard};
use crate::telemetry;

/// Between two looks, at least: as long as the last one took, too, so that no more than half of the time goes into them.
const PAUSE: Duration = Duration::from_millis(250);
/// The same behind a look that could not make the room that was needed: the next one could not either.
const LONG_PAUSE: Duration = Duration::from_secs(10);
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
    /// What could not be removed since the last sweep.
    stuck: Mutex<HashSet<Packed>>,
}

/// What a look at the store came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There is as much room as is needed.
    Enough,
    /// There is not, or nobody knows.
    TooLittle,
    /// Something could not be removed, and something else is to go in its place.
    Stuck,
}

impl Look {
    /// How long until the next one, at least.
    fn pause(self, took: Duration) -> Duration {
        match self {
            Self::Enough | Self::Stuck => took.clamp(PAUSE, LONG_PAUSE),
            Self::TooLittle => LONG_PAUSE,
        }
    }
}

impl Janitor {
    pub(crate) fn new(cache: &Arc<Cache>, fills: &Arc<Fills>) -> Self {
        Self {
            cache: Arc::downgrade(cache),
            fills: Arc::downgrade(fills),
            room: Arc::clone(&cache.room),
            clock: Arc::clone(&cache.clock),
            stuck: Mutex::default(),
        }
    }

    fn stuck(&self) -> MutexGuard<'_, HashSet<Packed>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
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
            let Some(look) = self.look(is_due).await else { return };
            self.clock.sleep(look.pause(self.clock.now().since(now))).await;
            if look != Look::Stuck
                && let Some(due) = self.room.due()
            {
                select(due, self.clock.sleep(EVERY)).await;
            }
        }
    }

    /// Looks once, and makes room where there is too little. Whether there is still a proxy. Platforms without
    /// anything that goes on between requests call this now and then.
    pub async fn once(&self, sweeps: bool) -> bool {
        self.look(sweeps).await.is_some()
    }

    /// `None`: there is no proxy any more.
    async fn look(&self, sweeps: bool) -> Option<Look> {
        let (cache, fills) = (self.cache.upgrade()?, self.fills.upgrade()?);
        fills.let_go(self.clock.now());
        let house = House::of_cache(Arc::clone(&cache), fills);
        let begun = self.room.look();
        Some(self.tidy(&cache, &house, begun.wanted, sweeps).await.unwrap_or_else(|error| {
            self.room.failed(begun);
            telemetry::store_failed("tidy", error.why());
            // Whoever serves goes on asking the store: what is wrong for a list need not be wrong for a blob.
            let source = std::error::Error::source(&error).map(tracing::field::display);
            tracing::warn!(error = source, "{error}; no room was made, the next try comes");
            Look::TooLittle
        }))
    }

    async fn tidy(&self, cache: &Cache, house: &House, mut wanted: u64, sweeps: bool) -> Result<Look, StoreError> {
        let mut survey = house.survey().await?;
        if sweeps {
            sweep(house, &survey).await?;
            self.stuck().clear();
        }
        let free = house.in_time(house.store.free()).await?;
        if free == Some(0) {
            wanted = wanted.max(1);
        }
        let config = cache.config();
        let now = self.clock.unix_seconds();
        let limits = Limits {
            max_bytes: config.max_size().0,
            arriving: house.arriving().1.saturating_add(self.room.waiting()),
            wanted,
            free,
            unused_since: config.max_unused.map_or(0, |span| now.saturating_sub(span.0.as_secs())),
        };
        let bytes = survey.taken();
        let freed = house.let_ranges_go(&limits, bytes);
        let (mut arriving, arriving_bytes) = house.arriving();
        let free = free.map(|free| free.saturating_add(freed));
        let coming = arriving_bytes.saturating_add(self.room.waiting());
        let limits = Limits { arriving: coming, free, ..limits };
        let is_old = |survey: &Survey| survey.inventory.items().iter().any(|item| item.used < limits.unused_since);
        let mut cleared = Cleared::default();
        let excess = limits.excess(bytes);
        if excess > 0 || is_old(&survey) {
            // It stays as well, and with it what leads there.
            arriving.extend(self.stuck().iter().cloned());
            house.read_through(&mut survey, &arriving, &|_, _| {}).await?;
            let nowhere_before = now.saturating_sub(GRACE.as_secs());
            // What leads nowhere goes anyway, and what leads somewhere only for the rest.
            let missing = excess.saturating_sub(survey.nowhere_before(nowhere_before));
            let gone = choose(&survey.inventory, &limits, missing);
            let clearing = Clearing { gone, nowhere_before, ..Clearing::default() };
            cleared = house.clear(&survey, &clearing).await?;
            telemetry::evicted(&cleared);
            tracing::info!(
                blobs = cleared.blobs,
                manifests = cleared.manifests,
                tags = cleared.tags,
                freed_bytes = cleared.taken(),
                left_bytes = bytes.saturating_sub(cleared.taken()),
                "room was made in the cache"
            );
        }
        let held = bytes.saturating_sub(cleared.taken()).saturating_add(arriving_bytes);
        self.room.allow(held, limits.max_bytes.saturating_sub(held));
        telemetry::surveyed(&survey, &cleared, now);
        telemetry::holds(self.room.held());
        // Freed is not always free: others fill the same disk, and `min_free` may be farther off than it shows.
        if wanted > 0
            && cleared.bytes > 0
            && house.in_time(house.store.free()).await?.is_some_and(|free| free < wanted)
        {
            self.room.lacks(wanted);
            return Ok(Look::TooLittle);
        }
        Ok(if !cleared.stuck.is_empty() {
            self.stuck().extend(cleared.stuck);
            Look::Stuck
        } else if held > limits.max_bytes {
            Look::TooLittle
        } else {
            Look::Enough
        })
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
