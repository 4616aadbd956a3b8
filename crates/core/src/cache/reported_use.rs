//! When the store was last told that an entry in memory is used. A store keeps such times under a lock, for all requests, and
//! in whole seconds: no eviction can tell a report each second from one at each request.

use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds between two reports.
const REPORTED_EVERY: u64 = 1;

/// When the store was last told, in seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct ReportedUse(AtomicU64);

impl ReportedUse {
    /// Whether to tell the store `now`, in seconds since 1970: true for one of those who ask at once.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        // A clock that was set back must not keep the store from being told.
        now.abs_diff(last) >= REPORTED_EVERY
            && self.0.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_told_once_a_second() {
        let reported = ReportedUse::default();
        for (now, expected) in [(10_000, true), (10_000, false), (10_001, true), (10_001, false), (9_000, true)] {
            assert_eq!(reported.is_due(now), expected, "at {now}");
        }
    }
}
