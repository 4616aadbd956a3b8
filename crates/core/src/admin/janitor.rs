//! Keeps the store within its limits and free of litter, beside all requests.
//!
//! It surveys the store at the start, now and then, as soon as more has arrived than there was room for, and when a write
//! found no room. Bytes that arrive meanwhile may exceed the limit a little, and then wait ([`EvictionPressure`]). Several
//! janitors of one store remove the same things, which does no harm.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::select;

use super::CacheAdmin;
use super::clear::{Cleared, Clearing};
use super::evict::{EvictionTargets, choose};
use super::inventory::{Content, Packed};
use super::survey::Survey;
use crate::cache::Cache;
use crate::cache::EvictionPressure;
use crate::digest::Digest;
use crate::fill::Fills;
use crate::platform::{Clock, Moment, StoreError};
use crate::sync::{Mutex, MutexGuard};
use crate::telemetry::{self, EntryCounts};

/// Between two surveys, at least: as long as the last one took, too, so that surveys take at most half of the time.
const PAUSE: Duration = Duration::from_millis(250);
/// The same after a survey that could not free enough: the next one could not either.
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

/// Keeps one proxy's cache within its limits.
pub struct Janitor {
    cache: Weak<Cache>,
    fills: Weak<Fills>,
    pressure: Arc<EvictionPressure>,
    clock: Arc<dyn Clock>,
    /// Content that could not be removed since the last sweep.
    stuck: Mutex<HashSet<Packed>>,
}

/// The result of a survey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SurveyOutcome {
    /// There is enough room.
    Enough,
    /// There is too little room, or it is not known how much.
    TooLittle,
    /// Something could not be removed, and something else is to go in its place.
    Stuck,
}

impl SurveyOutcome {
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
            pressure: Arc::clone(&cache.backend.pressure),
            clock: Arc::clone(&cache.backend.clock),
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
            if look != SurveyOutcome::Stuck
                && let Some(due) = self.pressure.survey_due()
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
    async fn look(&self, sweeps: bool) -> Option<SurveyOutcome> {
        let (cache, fills) = (self.cache.upgrade()?, self.fills.upgrade()?);
        fills.let_go(self.clock.now());
        let admin = CacheAdmin::of_cache(Arc::clone(&cache), fills);
        let begun = self.pressure.begin_survey();
        Some(self.tidy(&cache, &admin, begun.wanted, sweeps).await.unwrap_or_else(|error| {
            self.pressure.survey_failed(begun);
            telemetry::store_failed("tidy", error.why());
            // Whoever serves goes on asking the store: what is wrong for a list need not be wrong for a blob.
            let source = std::error::Error::source(&error).map(tracing::field::display);
            tracing::warn!(error = source, "{error}; nothing was evicted, and the next run tries again");
            SurveyOutcome::TooLittle
        }))
    }

    async fn tidy(
        &self,
        cache: &Cache,
        admin: &CacheAdmin,
        mut wanted: u64,
        sweeps: bool,
    ) -> Result<SurveyOutcome, StoreError> {
        let mut survey = admin.survey().await?;
        if sweeps {
            sweep(admin, &survey).await?;
            self.stuck().clear();
        }
        let free = admin.in_time(admin.store.free()).await?;
        if free == Some(0) {
            wanted = wanted.max(1);
        }
        let config = cache.config();
        let now = self.clock.unix_seconds();
        let targets = EvictionTargets {
            max_bytes: config.max_size().0,
            arriving: admin.arriving().1.saturating_add(self.pressure.waiting()),
            wanted,
            free,
            unused_since: config.max_unused.map_or(0, |span| now.saturating_sub(span.0.as_secs())),
        };
        let bytes = survey.taken();
        let freed = admin.let_ranges_go(&targets, bytes);
        let (mut arriving, arriving_bytes) = admin.arriving();
        let free = free.map(|free| free.saturating_add(freed));
        let coming = arriving_bytes.saturating_add(self.pressure.waiting());
        let targets = EvictionTargets { arriving: coming, free, ..targets };
        let is_old = |survey: &Survey| survey.inventory.items().any(|item| item.used < targets.unused_since);
        let mut cleared = Cleared::default();
        let excess = targets.excess(bytes);
        if excess > 0 || is_old(&survey) {
            // It stays as well, and with it what leads there.
            arriving.extend(self.stuck().iter().cloned());
            admin.read_through(&mut survey, &arriving, &|_, _| {}).await?;
            survey.keep(&cache.kept());
            let nowhere_before = now.saturating_sub(GRACE.as_secs());
            // What leads nowhere goes anyway, and what leads somewhere only for the rest.
            let missing = excess.saturating_sub(survey.nowhere_before(nowhere_before));
            let gone = choose(&survey.inventory, &targets, missing);
            let clearing = Clearing { gone, nowhere_before, ..Clearing::default() };
            cleared = admin.clear(&survey, &clearing).await?;
            telemetry::evicted(cleared.entries(), cleared.taken());
            tracing::info!(
                blobs = cleared.blobs,
                manifests = cleared.manifests,
                tags = cleared.tags,
                freed_bytes = cleared.taken(),
                left_bytes = bytes.saturating_sub(cleared.taken()),
                "content was evicted from the cache"
            );
        }
        let held = bytes.saturating_sub(cleared.taken()).saturating_add(arriving_bytes);
        self.pressure.survey_done(held, targets.max_bytes.saturating_sub(held));
        telemetry::surveyed(left(&survey, &cleared), now);
        telemetry::holds(self.pressure.held_bytes());
        // Freed is not always free: others fill the same disk, and `min_free` may be farther off than it shows.
        if wanted > 0
            && cleared.bytes > 0
            && admin.in_time(admin.store.free()).await?.is_some_and(|free| free < wanted)
        {
            self.pressure.report_full(wanted);
            return Ok(SurveyOutcome::TooLittle);
        }
        Ok(if !cleared.stuck.is_empty() {
            self.stuck().extend(cleared.stuck);
            SurveyOutcome::Stuck
        } else if held > targets.max_bytes {
            SurveyOutcome::TooLittle
        } else {
            SurveyOutcome::Enough
        })
    }
}

/// What is left of a survey after something was removed.
fn left(survey: &Survey, cleared: &Cleared) -> EntryCounts {
    let count = |content| survey.inventory.of(content).count() as u64;
    EntryCounts {
        blobs: count(Content::Blob).saturating_sub(cleared.blobs),
        manifests: count(Content::Manifest).saturating_sub(cleared.manifests),
        tags: (survey.tags.len() as u64).saturating_sub(cleared.tags),
    }
}

/// Removes what crashed processes left behind.
async fn sweep(admin: &CacheAdmin, survey: &Survey) -> Result<(), StoreError> {
    let swept = admin.store.sweep(LITTER_AGE).await?;
    if swept.count > 0 {
        tracing::info!(
            count = swept.count,
            freed_bytes = swept.bytes,
            "leftovers of crashes were removed from the cache"
        );
    }
    let now = admin.clock.unix_seconds();
    // Each lease that ran out gave way to the next: all of a digest's go, or none.
    let mut latest: HashMap<&Digest, u64> = HashMap::new();
    for lease in &survey.leases {
        let used = latest.entry(&lease.digest).or_default();
        *used = (*used).max(lease.used);
    }
    for lease in &survey.leases {
        if latest.get(&lease.digest).is_some_and(|used| now.saturating_sub(*used) > LEASE_AGE.as_secs()) {
            admin.remove(&lease.key).await?;
        }
    }
    for (key, used) in &survey.ingests {
        if now.saturating_sub(*used) > LITTER_AGE.as_secs() && admin.take_back(key).await {
            admin.remove(key).await?;
        }
    }
    let today = now / (24 * 60 * 60);
    for (_, key) in survey.usage.iter().filter(|(day, _)| day + USAGE_DAYS < today) {
        admin.remove(key).await?;
    }
    Ok(())
}
