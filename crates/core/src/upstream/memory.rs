//! The health of addresses: one that cannot be reached is not asked for a while (it rests), and so is any other host that an
//! answer led to. A single failure says little, so the first rest is short, and each further one twice as long. A 5xx is not
//! remembered; a 429 is, by `limits`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use url::{Origin, Url};

use crate::error::Trouble;
use crate::platform::{Moment, Unconnected};

/// The rest after a failed connection. Each one that follows is twice as long, up to `timeouts.down`.
pub(super) const FIRST_REST: Duration = Duration::from_millis(500);

/// Whether an address answers. All times in milliseconds on the clock.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Until when it rests; 0: it answers.
    rests_until: AtomicU64,
    /// When it answered last.
    answered: AtomicU64,
    /// The last failure, as its place in `TROUBLES`.
    trouble: AtomicU8,
    /// When the connection failed with which this rest began, and one more; 0: none since it answered.
    refused: AtomicU64,
    /// Rests after failed connections since it answered.
    rests: AtomicU32,
    /// While one request probes whether it is back: until when the others wait for the result. 0: none does.
    probe: AtomicU64,
}

/// All failures that make an address rest.
const TROUBLES: [Trouble; 7] = [
    Trouble::Silence,
    Trouble::Unconnected(Unconnected::NotResolved),
    Trouble::Unconnected(Unconnected::Refused),
    Trouble::Unconnected(Unconnected::TimedOut),
    Trouble::Unconnected(Unconnected::Certificate),
    Trouble::Unconnected(Unconnected::Proxy),
    Trouble::Unconnected(Unconnected::Unknown),
];

impl Health {
    /// A permit to try the address, if it does not rest and has not rested since it last answered.
    pub(super) fn turn_at_once(&self) -> Option<Attempt<'_>> {
        (self.rests_until.load(Ordering::Acquire) == 0).then_some(Attempt { health: self, probe: None })
    }

    /// A permit to try the address; `None`: it rests. When the rest is over, one caller gets the permit, and the others wait for
    /// its result.
    pub(super) fn turn(&self, now: Moment, probe: Duration) -> Option<Attempt<'_>> {
        let until = self.rests_until.load(Ordering::Acquire);
        let now_ms = millis(now);
        if until == 0 {
            return Some(Attempt { health: self, probe: None });
        }
        if now_ms < until {
            return None;
        }
        let next = now_ms.saturating_add(u64::try_from(probe.as_millis()).unwrap_or(u64::MAX));
        self.rests_until.compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire).ok()?;
        self.probe.store(next, Ordering::Release);
        Some(Attempt { health: self, probe: Some(next) })
    }

    /// A request of `sent` got no connection: the address rests, the longer the more often this has happened. All requests that
    /// were in progress when the first of them failed count as one failure.
    pub(super) fn unconnected(&self, trouble: Trouble, sent: Moment, now: Moment, most: Duration) {
        let before = self.refused.load(Ordering::Acquire);
        let is_known = before != 0 && millis(sent) < before;
        let noted = millis(now).saturating_add(1);
        if is_known || self.refused.compare_exchange(before, noted, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let doublings = self.rests.fetch_add(1, Ordering::AcqRel);
        let rest = FIRST_REST.saturating_mul(2_u32.saturating_pow(doublings)).min(most);
        self.failed(trouble, now, rest);
    }

    /// The address failed, and rests for a while.
    fn failed(&self, trouble: Trouble, now: Moment, rest: Duration) {
        let at = TROUBLES.iter().position(|known| *known == trouble).unwrap_or_default();
        self.trouble.store(u8::try_from(at).unwrap_or_default(), Ordering::Release);
        self.probe.store(0, Ordering::Release);
        self.rests_until.store(millis(now.after(rest)).max(1), Ordering::Release);
    }

    /// A request of `sent` was not answered in time. If the address has answered others since, the request was slow and not the
    /// address.
    pub(super) fn timed_out(&self, sent: Moment, now: Moment, rest: Duration) {
        if self.answered.load(Ordering::Acquire) <= millis(sent) {
            self.failed(Trouble::Silence, now, rest);
        }
    }

    /// The last failure.
    pub(super) fn trouble(&self) -> Trouble {
        TROUBLES.get(usize::from(self.trouble.load(Ordering::Acquire))).copied().unwrap_or_default()
    }

    /// It answered.
    pub(super) fn answered(&self, now: Moment) {
        // Of all answers within a millisecond only the first writes: cores would take the place from each other.
        if self.answered.load(Ordering::Acquire) < millis(now) {
            self.answered.fetch_max(millis(now), Ordering::AcqRel);
        }
        if self.rests_until.load(Ordering::Acquire) != 0 {
            self.refused.store(0, Ordering::Release);
            self.rests.store(0, Ordering::Release);
            self.probe.store(0, Ordering::Release);
            self.rests_until.store(0, Ordering::Release);
        }
    }

    /// How long it still rests.
    pub(super) fn left(&self, now: Moment) -> Duration {
        Duration::from_millis(self.rests_until.load(Ordering::Acquire).saturating_sub(millis(now)))
    }

    /// Whether it rests.
    pub(super) fn is_resting(&self, now: Moment) -> bool {
        millis(now) < self.rests_until.load(Ordering::Acquire)
    }
}

/// A permit to try an address, for as long as that takes.
pub(super) struct Attempt<'a> {
    health: &'a Health,
    /// Of who tries whether it is back: the mark of that try.
    probe: Option<u64>,
}

impl Drop for Attempt<'_> {
    /// If the try had no result, as its client left or it was never sent, the next request may try.
    fn drop(&mut self) {
        let Some(mark) = self.probe else { return };
        if self.health.probe.compare_exchange(mark, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.health.rests_until.store(1, Ordering::Release);
        }
    }
}

/// Most hosts, besides the registry's own addresses, whose health is remembered.
const MAX_ELSEWHERE: usize = 256;

/// The health of hosts that answers of the registry lead to: token servers, and where redirects go.
pub(super) struct RedirectHosts(Cache<Origin, Arc<Health>>);

impl Default for RedirectHosts {
    fn default() -> Self {
        Self(Cache::new(MAX_ELSEWHERE))
    }
}

impl RedirectHosts {
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

pub(super) fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Trouble = Trouble::Unconnected(Unconnected::Refused);

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn an_address_rests_after_a_failure_and_then_one_caller_tries() {
        let (health, probe) = (Health::default(), Duration::from_secs(5));
        assert!(health.turn(at(0), probe).is_some());
        health.failed(REFUSED, at(0), Duration::from_secs(10));
        assert!(health.turn(at(9), probe).is_none());
        assert!(health.is_resting(at(9)));
        let tries = health.turn(at(10), probe);
        assert!(tries.is_some(), "the first after the rest tries");
        assert!(health.turn(at(10), probe).is_none(), "the second does not");
        drop(tries);
        let tries = health.turn(at(10), probe);
        assert!(tries.is_some(), "unless the first goes away");
        health.answered(at(11));
        drop(tries);
        assert!(
            health.turn(at(11), probe).is_some() && health.turn(at(11), probe).is_some(),
            "and then everybody"
        );
    }

    #[test]
    fn a_rest_as_long_as_a_try_may_take_is_not_over_when_the_try_is() {
        let (health, span) = (Health::default(), Duration::from_secs(10));
        health.failed(REFUSED, at(0), Duration::from_secs(1));
        let tries = health.turn(at(1), span);
        health.failed(REFUSED, at(1), span);
        drop(tries);
        assert!(health.is_resting(at(10)));
    }

    #[test]
    fn rests_after_failed_connections_grow_and_what_failed_together_counts_once() {
        let ms = |ms| Moment(Duration::from_millis(ms));
        let (health, most) = (Health::default(), Duration::from_secs(10));
        let mut now = 0;
        for rest in [500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            // Three that were sent at once; the last of them fails later.
            for failed in [now, now, now + 3] {
                health.unconnected(REFUSED, ms(now), ms(failed), most);
            }
            assert_eq!(health.left(ms(now)), Duration::from_millis(rest));
            now += rest;
            assert!(health.turn(ms(now), Duration::from_secs(5)).is_some(), "a probe after {rest} ms");
        }
        health.answered(ms(now));
        health.unconnected(REFUSED, ms(now + 1), ms(now + 1), most);
        assert_eq!(health.left(ms(now + 1)), FIRST_REST, "anew");
        let impatient = Health::default();
        impatient.unconnected(REFUSED, ms(0), ms(0), Duration::from_millis(200));
        assert_eq!(impatient.left(ms(0)), Duration::from_millis(200), "never longer than timeouts.down");
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
    fn what_an_address_failed_by_is_remembered() {
        for trouble in TROUBLES {
            let health = Health::default();
            health.failed(trouble, at(0), Duration::from_secs(10));
            assert_eq!(health.trouble(), trouble);
        }
        let health = Health::default();
        health.failed(REFUSED, at(0), Duration::from_secs(10));
        health.timed_out(at(11), at(21), Duration::from_secs(10));
        assert_eq!(health.trouble(), Trouble::Silence, "the last");
    }

    #[test]
    fn health_is_kept_for_each_origin() {
        let elsewhere = RedirectHosts::default();
        let health = |url: &str| elsewhere.health(&Url::parse(url).unwrap());
        health("https://cdn.example/a?b").failed(REFUSED, at(0), Duration::from_secs(10));
        assert!(health("https://cdn.example:443/c").is_resting(at(1)));
        assert!(!health("https://cdn.example:444/a").is_resting(at(1)));
        assert!(!health("http://cdn.example/a").is_resting(at(1)));
    }
}
