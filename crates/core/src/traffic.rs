//! What clients were answered lately, for the plots of the administration page: counts of this process in fixed rings of
//! minutes, quarters of an hour, and two hours. The caller says what time it is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::outcome::{Action, Outcome};
use crate::platform::Moment;

/// Where the content of an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentSource {
    /// From the cache, or from a download that another request had begun: no upstream was asked.
    Cache,
    /// From the cache, after an upstream was asked.
    AskedCache,
    /// From an upstream.
    Upstream,
    /// There was no content, or it went another way.
    Nowhere,
}

impl ContentSource {
    fn of(outcome: Outcome) -> Self {
        match outcome.action {
            Action::Hit | Action::Joined => Self::Cache,
            // A held tag may have been asked for upstream or not: nothing is called saved that may not be.
            Action::Revalidated | Action::Stale | Action::Held => Self::AskedCache,
            Action::Filled | Action::Relayed => Self::Upstream,
            Action::Answered | Action::Redirected | Action::Refused | Action::Failed | Action::Abandoned => {
                Self::Nowhere
            }
        }
    }
}

/// Requests for content and the bytes that clients got, in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TrafficCounts {
    /// Requests answered from the cache.
    pub(crate) hits: u64,
    /// Requests answered from an upstream.
    pub(crate) misses: u64,
    /// Requests for which no upstream was asked: a part of `hits`.
    pub(crate) saved: u64,
    pub(crate) cache_bytes: u64,
    pub(crate) upstream_bytes: u64,
}

impl TrafficCounts {
    /// How many of a hundred requests the cache answered; `None`: there were none.
    pub(crate) fn hit_percent(self) -> Option<u64> {
        let all = self.hits.saturating_add(self.misses);
        self.hits.saturating_mul(100).checked_div(all)
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (own, more) in [
            (&mut self.hits, other.hits),
            (&mut self.misses, other.misses),
            (&mut self.saved, other.saved),
            (&mut self.cache_bytes, other.cache_bytes),
            (&mut self.upstream_bytes, other.upstream_bytes),
        ] {
            *own = own.saturating_add(more);
        }
    }
}

/// A span of time that is plotted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Period {
    Hour,
    Day,
    Week,
}

impl Period {
    pub(crate) const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// As the page's address has it.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    /// How long one bucket is, in minutes.
    pub(crate) fn bucket_minutes(self) -> u64 {
        match self {
            Self::Hour => 1,
            Self::Day => 15,
            Self::Week => 120,
        }
    }

    /// How many buckets there are.
    fn buckets(self) -> usize {
        match self {
            Self::Hour => 60,
            Self::Day => 96,
            Self::Week => 84,
        }
    }
}

/// The buckets of a period, the oldest first. There are always as many.
struct BucketRing {
    period: Period,
    /// Which one the last is, counted from the beginning of the clock.
    latest: u64,
    buckets: VecDeque<TrafficCounts>,
}

impl BucketRing {
    fn new(period: Period) -> Self {
        Self { period, latest: 0, buckets: vec![TrafficCounts::default(); period.buckets()].into() }
    }

    /// Lets time pass until this minute.
    fn advance(&mut self, minute: u64) {
        let now = minute / self.period.bucket_minutes();
        let passed = now.saturating_sub(self.latest).min(self.buckets.len() as u64);
        for _ in 0..passed {
            self.buckets.pop_front();
            self.buckets.push_back(TrafficCounts::default());
        }
        self.latest = self.latest.max(now);
    }

    /// Adds what was counted in this minute, which is not before the last bucket.
    fn add(&mut self, minute: u64, counts: TrafficCounts) {
        self.advance(minute);
        if let Some(last) = self.buckets.back_mut() {
            last.add(counts);
        }
    }
}

/// Counts of the minute that is running. Each request adds to them without a lock.
#[derive(Default)]
struct RunningCounts {
    hits: AtomicU64,
    misses: AtomicU64,
    saved: AtomicU64,
    cache_bytes: AtomicU64,
    upstream_bytes: AtomicU64,
}

impl RunningCounts {
    fn take(&self) -> TrafficCounts {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        TrafficCounts {
            hits: take(&self.hits),
            misses: take(&self.misses),
            saved: take(&self.saved),
            cache_bytes: take(&self.cache_bytes),
            upstream_bytes: take(&self.upstream_bytes),
        }
    }
}

/// The traffic of the last week.
pub(crate) struct Traffic {
    /// The minute that is running, counted from the beginning of the clock.
    minute: AtomicU64,
    running: RunningCounts,
    rings: Mutex<[BucketRing; 3]>,
}

impl Default for Traffic {
    fn default() -> Self {
        let rings = Mutex::new(Period::ALL.map(BucketRing::new));
        Self { minute: AtomicU64::new(0), running: RunningCounts::default(), rings }
    }
}

impl Traffic {
    /// An answer has ended, after so many bytes.
    pub(crate) fn count(&self, outcome: Outcome, sent_bytes: u64, now: Moment) {
        let RunningCounts { hits, misses, saved, cache_bytes, upstream_bytes } = &self.running;
        let (requests, bytes, is_saved) = match ContentSource::of(outcome) {
            ContentSource::Cache => (hits, cache_bytes, true),
            ContentSource::AskedCache => (hits, cache_bytes, false),
            ContentSource::Upstream => (misses, upstream_bytes, false),
            ContentSource::Nowhere => return,
        };
        if minute_of(now) != self.minute.load(Ordering::Relaxed) {
            drop(self.turn(now));
        }
        requests.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(sent_bytes, Ordering::Relaxed);
        if is_saved {
            saved.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The buckets of a period, the oldest first; the last one is running.
    pub(crate) fn buckets(&self, period: Period, now: Moment) -> Vec<TrafficCounts> {
        let rings = self.turn(now);
        let found = rings.iter().find(|ring| ring.period == period);
        found.map(|ring| ring.buckets.iter().copied().collect()).unwrap_or_default()
    }

    /// Takes what was counted into the rings, and lets time pass.
    fn turn(&self, now: Moment) -> MutexGuard<'_, [BucketRing; 3]> {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.minute.fetch_max(minute_of(now), Ordering::Relaxed);
        let counted = self.running.take();
        for ring in rings.iter_mut() {
            ring.add(before, counted);
            ring.advance(minute_of(now));
        }
        rings
    }
}

fn minute_of(now: Moment) -> u64 {
    now.0.as_secs() / 60
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::Reason;

    const HIT: Outcome = Outcome::new(Action::Hit, Reason::Digest);
    const FILLED: Outcome = Outcome::new(Action::Filled, Reason::BlobAbsent);
    const CONFIRMED: Outcome = Outcome::new(Action::Revalidated, Reason::TagUnchanged);
    const REFUSED: Outcome = Outcome::new(Action::Refused, Reason::NotFound);

    fn at(minutes: u64) -> Moment {
        Moment(Duration::from_secs(60 * minutes))
    }

    /// Place from the end, hits, bytes from the cache, of each bucket that has any.
    fn filled(traffic: &Traffic, period: Period, now: u64) -> Vec<(usize, u64, u64)> {
        let buckets = traffic.buckets(period, at(now));
        let numbered = buckets.iter().rev().enumerate();
        let filled = numbered.filter(|(_, counts)| counts.hits > 0);
        filled.map(|(place, counts)| (place, counts.hits, counts.cache_bytes)).collect()
    }

    #[test]
    fn an_answer_counts_by_where_its_content_came_from() {
        let traffic = Traffic::default();
        for (outcome, bytes) in [(HIT, 10), (HIT, 5), (CONFIRMED, 7), (FILLED, 100), (REFUSED, 1000)] {
            traffic.count(outcome, bytes, at(3));
        }
        let counts = traffic.buckets(Period::Hour, at(3)).pop().unwrap();
        let expected = TrafficCounts { hits: 3, misses: 1, saved: 2, cache_bytes: 22, upstream_bytes: 100 };
        assert_eq!(counts, expected);
        assert_eq!(counts.hit_percent(), Some(75));
        assert_eq!(TrafficCounts::default().hit_percent(), None, "nobody asked");
    }

    #[test]
    fn what_was_counted_moves_back_with_time_and_is_gone_after_the_period() {
        let traffic = Traffic::default();
        traffic.count(HIT, 10, at(100));
        traffic.count(HIT, 20, at(102));
        assert_eq!(filled(&traffic, Period::Hour, 102), [(0, 1, 20), (2, 1, 10)]);
        assert_eq!(filled(&traffic, Period::Hour, 159), [(57, 1, 20), (59, 1, 10)]);
        assert_eq!(filled(&traffic, Period::Hour, 160), [(58, 1, 20)]);
        assert_eq!(filled(&traffic, Period::Hour, 1_000_000), []);
    }

    #[test]
    fn a_day_has_quarters_of_an_hour_and_a_week_two_hours() {
        let traffic = Traffic::default();
        for minute in [0, 14, 15, 119, 120] {
            traffic.count(HIT, 1, at(minute));
        }
        assert_eq!(filled(&traffic, Period::Day, 120), [(0, 1, 1), (1, 1, 1), (7, 1, 1), (8, 2, 2)]);
        assert_eq!(filled(&traffic, Period::Week, 120), [(0, 1, 1), (1, 4, 4)]);
        assert_eq!(filled(&traffic, Period::Week, 120 * 83), [(82, 1, 1), (83, 4, 4)]);
        assert_eq!(filled(&traffic, Period::Week, 120 * 84), [(83, 1, 1)]);
    }

    #[test]
    fn the_buckets_are_always_as_many() {
        let traffic = Traffic::default();
        for now in [0, 1, 500, 500_000] {
            traffic.count(FILLED, u64::MAX, at(now));
            let lengths = Period::ALL.map(|period| traffic.buckets(period, at(now)).len());
            assert_eq!(lengths, [60, 96, 84]);
        }
    }
}
