//! Hours and days of the clock, and counts that end with them: pure.
//!
//! A count and the number of its window share one word. A count of another window reads as zero, so a new window needs neither a
//! lock nor a sweep.

use std::sync::atomic::{AtomicU64, Ordering};

/// The time after which a limit begins anew: hours and days of the clock, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuotaWindow {
    Hour,
    Day,
}

impl QuotaWindow {
    pub(crate) const ALL: [Self; 2] = [Self::Hour, Self::Day];

    const fn seconds(self) -> u64 {
        match self {
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// The number of the window at a time in seconds since 1970.
    pub(crate) fn number(self, now: u64) -> u64 {
        now / self.seconds()
    }

    /// When the next one begins, in seconds since 1970.
    pub(crate) fn end(self, now: u64) -> u64 {
        self.number(now).saturating_add(1).saturating_mul(self.seconds())
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Requests,
    Bytes,
}

/// The counts of the present hour and day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// By hour, by day.
    pub(crate) requests: [u64; 2],
    pub(crate) bytes: [u64; 2],
}

impl Usage {
    pub(crate) fn plus(self, other: Self) -> Self {
        let add = |a: [u64; 2], b: [u64; 2]| [a[0].saturating_add(b[0]), a[1].saturating_add(b[1])];
        Self { requests: add(self.requests, other.requests), bytes: add(self.bytes, other.bytes) }
    }

    /// The counts after the hour is over.
    pub(crate) fn of_day(self) -> Self {
        Self { requests: [0, self.requests[1]], bytes: [0, self.bytes[1]] }
    }

    pub(crate) fn get(&self, what: Resource, window: QuotaWindow) -> u64 {
        let of = match what {
            Resource::Requests => self.requests,
            Resource::Bytes => self.bytes,
        };
        match window {
            QuotaWindow::Hour => of[0],
            QuotaWindow::Day => of[1],
        }
    }
}

/// Bits of a word that hold the count, up to a petabyte. The other bits tell 16,384 windows apart: a count that nobody touched for
/// exactly 16,384 hours would be taken for a present one.
const COUNT_BITS: u32 = 50;
const MOST: u64 = (1 << COUNT_BITS) - 1;

/// One count of one window.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    const fn word(window: u64, count: u64) -> u64 {
        (window << COUNT_BITS) | if count > MOST { MOST } else { count }
    }

    const fn read(word: u64, window: u64) -> u64 {
        if word >> COUNT_BITS == (window << COUNT_BITS) >> COUNT_BITS { word & MOST } else { 0 }
    }

    fn get(&self, window: u64) -> u64 {
        Self::read(self.0.load(Ordering::Relaxed), window)
    }

    fn set(&self, window: u64, count: u64) {
        self.0.store(Self::word(window, count), Ordering::Relaxed);
    }

    fn add(&self, window: u64, amount: u64) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let next = Self::word(window, Self::read(word, window).saturating_add(amount));
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }
}

/// What somebody has used of the present hour and day.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: [Count; 2],
    bytes: [Count; 2],
}

impl Tally {
    /// Adds what was used.
    pub(crate) fn add(&self, what: Resource, amount: u64, now: u64) {
        let counts = match what {
            Resource::Requests => &self.requests,
            Resource::Bytes => &self.bytes,
        };
        for (count, window) in counts.iter().zip(QuotaWindow::ALL) {
            count.add(window.number(now), amount);
        }
    }

    /// Sets what was used.
    pub(crate) fn set(&self, usage: Usage, now: u64) {
        let pairs = self.requests.iter().zip(usage.requests).chain(self.bytes.iter().zip(usage.bytes));
        for ((count, value), window) in pairs.zip(QuotaWindow::ALL.into_iter().cycle()) {
            count.set(window.number(now), value);
        }
    }

    /// What was used until now.
    pub(crate) fn usage(&self, now: u64) -> Usage {
        let [hour, day] = QuotaWindow::ALL.map(|window| window.number(now));
        let read = |counts: &[Count; 2]| [counts[0].get(hour), counts[1].get(day)];
        Usage { requests: read(&self.requests), bytes: read(&self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_are_those_of_the_clock() {
        let noon = 1_700_049_600; // 2023-11-15 12:00:00 UTC
        assert_eq!(QuotaWindow::Hour.end(noon), noon + 3600);
        assert_eq!(QuotaWindow::Hour.end(noon - 1), noon);
        assert_eq!(QuotaWindow::Day.end(noon), noon + 12 * 3600);
        assert_eq!(QuotaWindow::Day.end(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_count_stops_at_its_end_and_does_not_run_into_the_window() {
        let count = Count::default();
        count.add(7, u64::MAX);
        count.add(7, 1);
        assert_eq!((count.get(7), count.get(8)), (MOST, 0));
    }

    proptest! {
        /// Held against the plainest way to say it: every event with its time, summed up over the window of now.
        #[test]
        fn a_tally_is_the_sum_of_what_happened_in_this_window(
            start in 0_u64..4_000_000_000,
            events in proptest::collection::vec((0_u64..20_000, any::<bool>(), 0_u64..1 << 40), 1..60),
        ) {
            let tally = Tally::default();
            let mut now = start;
            let mut past: Vec<(u64, Resource, u64)> = Vec::new();
            for (later, is_bytes, amount) in events {
                now += later;
                let what = if is_bytes { Resource::Bytes } else { Resource::Requests };
                tally.add(what, amount, now);
                past.push((now, what, amount));
                let usage = tally.usage(now);
                for what in [Resource::Requests, Resource::Bytes] {
                    for window in QuotaWindow::ALL {
                        let same = |at: u64| window.number(at) == window.number(now);
                        let sum: u64 = past.iter().filter(|(at, of, _)| *of == what && same(*at)).map(|(_, _, n)| n).sum();
                        prop_assert_eq!(usage.get(what, window), sum);
                    }
                }
            }
        }

        #[test]
        fn a_window_ends_where_the_next_begins(now in 0_u64..1 << 40) {
            for window in QuotaWindow::ALL {
                let end = window.end(now);
                prop_assert!(end > now && end - now <= window.seconds());
                prop_assert_eq!(window.number(end), window.number(now) + 1);
                prop_assert_eq!(window.number(end - 1), window.number(now));
            }
        }

        #[test]
        fn what_was_set_is_read_until_its_windows_end(
            now in 0_u64..1 << 33, requests in [0_u64..1 << 50, 0_u64..1 << 50], bytes in [0_u64..1 << 50, 0_u64..1 << 50],
        ) {
            let (tally, usage) = (Tally::default(), Usage { requests, bytes });
            tally.set(usage, now);
            prop_assert_eq!(tally.usage(now), usage);
            prop_assert_eq!(tally.usage(QuotaWindow::Day.end(now)), Usage::default());
        }
    }
}
