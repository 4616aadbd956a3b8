//! What is remembered after a failure, and for whom: an address that cannot be reached is left alone for seconds, and
//! so is any other host that an answer led to; a 429 counts for the credential that got it. A 5xx is remembered by
//! nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use url::{Origin, Url};

use crate::platform::{Moment, Purpose};

/// Whether an address answers. All in milliseconds on the clock.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Until when it is left alone; 0: it answers.
    rests_until: AtomicU64,
    /// When it answered last.
    answered: AtomicU64,
}

impl Health {
    /// Whether the address may be tried. When its rest is over one caller gets `true` and tries, while the others
    /// are told to wait for what it finds.
    pub(super) fn may_try(&self, now: Moment, probe: Duration) -> bool {
        let until = self.rests_until.load(Ordering::Acquire);
        let now_ms = millis(now);
        if until == 0 {
            return true;
        }
        if now_ms < until {
            return false;
        }
        let next = now_ms.saturating_add(u64::try_from(probe.as_millis()).unwrap_or(u64::MAX));
        self.rests_until.compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It could not be reached: it is left alone for a while.
    pub(super) fn failed(&self, now: Moment, rest: Duration) {
        self.rests_until.store(millis(now.after(rest)).max(1), Ordering::Release);
    }

    /// It left unanswered what was sent at `sent`. If it has answered others since, the question was slow and not the
    /// address.
    pub(super) fn timed_out(&self, sent: Moment, now: Moment, rest: Duration) {
        if self.answered.load(Ordering::Acquire) <= millis(sent) {
            self.failed(now, rest);
        }
    }

    /// It answered.
    pub(super) fn answered(&self, now: Moment) {
        self.answered.fetch_max(millis(now), Ordering::AcqRel);
        if self.rests_until.load(Ordering::Acquire) != 0 {
            self.rests_until.store(0, Ordering::Release);
        }
    }

    /// Whether it is being left alone.
    pub(super) fn is_resting(&self, now: Moment) -> bool {
        millis(now) < self.rests_until.load(Ordering::Acquire)
    }
}

/// Most hosts besides the registry's own addresses whose health is known at once.
const MAX_ELSEWHERE: usize = 256;

/// The health of hosts that answers of the registry lead to: token servers, and where redirects go.
pub(super) struct Elsewhere(Cache<Origin, Arc<Health>>);

impl Default for Elsewhere {
    fn default() -> Self {
        Self(Cache::new(MAX_ELSEWHERE))
    }
}

impl Elsewhere {
    /// The health of the host of this URL, port and scheme included.
    pub(super) fn health(&self, url: &Url) -> Arc<Health> {
        let origin = url.origin();
        self.0.get(&origin).unwrap_or_else(|| {
            let health = Arc::<Health>::default();
            self.0.insert(origin, Arc::clone(&health));
            health
        })
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
        health.answered(at(11));
        assert!(health.may_try(at(11), probe));
    }

    #[test]
    fn a_question_without_an_answer_counts_unless_others_were_answered_meanwhile() {
        for (answered, rests) in [(0, true), (5, true), (6, false)] {
            let health = Health::default();
            health.answered(at(answered));
            health.timed_out(at(5), at(15), Duration::from_secs(10));
            assert_eq!(health.is_resting(at(15)), rests, "sent after 5 s, and the last answer after {answered} s");
        }
    }

    #[test]
    fn health_is_kept_for_each_origin() {
        let elsewhere = Elsewhere::default();
        let health = |url: &str| elsewhere.health(&Url::parse(url).unwrap());
        health("https://cdn.example/a?b").failed(at(0), Duration::from_secs(10));
        assert!(health("https://cdn.example:443/c").is_resting(at(1)));
        assert!(!health("https://cdn.example:444/a").is_resting(at(1)));
        assert!(!health("http://cdn.example/a").is_resting(at(1)));
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
