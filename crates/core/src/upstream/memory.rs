//! What is remembered after a failure, and for whom: an address that cannot be reached is left alone for seconds; a
//! 429 counts for the credential that got it. A 5xx is remembered by nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::platform::{Moment, Purpose};

/// Whether an address answers. Milliseconds on the clock; 0: it does.
#[derive(Debug, Default)]
pub(super) struct Health(AtomicU64);

impl Health {
    /// Whether the address may be tried. When its rest is over one caller gets `true` and tries, while the others
    /// are told to wait for what it finds.
    pub(super) fn may_try(&self, now: Moment, probe: Duration) -> bool {
        let until = self.0.load(Ordering::Acquire);
        let now_ms = millis(now);
        if until == 0 {
            return true;
        }
        if now_ms < until {
            return false;
        }
        let next = now_ms.saturating_add(u64::try_from(probe.as_millis()).unwrap_or(u64::MAX));
        self.0.compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It could not be reached: it is left alone for a while.
    pub(super) fn failed(&self, now: Moment, rest: Duration) {
        self.0.store(millis(now.after(rest)).max(1), Ordering::Release);
    }

    /// It answered.
    pub(super) fn answered(&self) {
        if self.0.load(Ordering::Acquire) != 0 {
            self.0.store(0, Ordering::Release);
        }
    }

    /// Whether it is being left alone.
    pub(super) fn is_resting(&self, now: Moment) -> bool {
        millis(now) < self.0.load(Ordering::Acquire)
    }
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}

/// Who was limited, at which address, for what.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Limited {
    /// Which address of the upstream.
    pub address: usize,
    /// Whose credential; all zero for none.
    pub credential: [u8; 16],
    /// Docker Hub limits manifests and not blobs.
    pub purpose: Purpose,
}

/// Remembers 429s until they are over (P-119).
pub(super) struct RateLimits(Cache<Limited, Moment>);

impl Default for RateLimits {
    fn default() -> Self {
        Self(Cache::new(1024))
    }
}

impl RateLimits {
    /// How long is still to wait; `None`: nothing stands against asking.
    pub(super) fn remaining(&self, who: &Limited, now: Moment) -> Option<Duration> {
        let until = self.0.get(who)?;
        if until <= now {
            self.0.remove(who);
            return None;
        }
        Some(until.since(now))
    }

    /// A 429 came.
    pub(super) fn limited(&self, who: Limited, now: Moment, retry_after: Duration) {
        self.0.insert(who, now.after(retry_after));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn an_address_rests_after_a_failure_and_then_one_caller_tries() {
        let (health, probe) = (Health::default(), Duration::from_secs(5));
        assert!(health.may_try(at(0), probe));
        health.failed(at(0), Duration::from_secs(10));
        assert!(!health.may_try(at(9), probe));
        assert!(health.is_resting(at(9)));
        assert!(health.may_try(at(10), probe), "the first after the rest tries");
        assert!(!health.may_try(at(10), probe), "the second does not");
        health.answered();
        assert!(health.may_try(at(10), probe));
    }

    #[test]
    fn a_limit_counts_for_one_credential_until_it_is_over() {
        let limits = RateLimits::default();
        let who = Limited { address: 0, credential: [1; 16], purpose: Purpose::Api };
        limits.limited(who, at(0), Duration::from_secs(3));
        assert_eq!(limits.remaining(&who, at(1)), Some(Duration::from_secs(2)));
        assert_eq!(limits.remaining(&Limited { credential: [2; 16], ..who }, at(1)), None);
        assert_eq!(limits.remaining(&Limited { purpose: Purpose::Blob, ..who }, at(1)), None);
        assert_eq!(limits.remaining(&who, at(3)), None);
    }
}
