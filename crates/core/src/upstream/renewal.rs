//! When a login that a cloud issues (`upstream.login`) is renewed, and what requests do meanwhile.
//!
//! A renewal begins before the login ends, or at once when a registry refuses it. While the identity service fails, the login
//! is used to its end, and tries pause ever longer.

use std::sync::Arc;
use std::time::Duration;

use super::login::Login;
use crate::backoff::Backoff;
use crate::platform::Moment;

/// Time limit of one renewal with all its requests.
pub(super) const RENEWAL_DEADLINE: Duration = Duration::from_secs(15);
/// A login is renewed when this part of its life is left, within the two limits below.
const LAST_PART: u32 = 10;
const SHORTEST_MARGIN: Duration = Duration::from_mins(1);
const LONGEST_MARGIN: Duration = Duration::from_mins(30);
/// A shorter life counts as this one: the clocks of the two sides may differ, and the registry has the last word.
const SHORTEST_LIFE: Duration = Duration::from_mins(1);
/// No login is used longer, whatever its life is said to be.
const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// A login younger than this is not renewed after a refusal: its account may not do what was asked for, and another login of
/// the same account could not either.
const REFUSED_AGE: Duration = Duration::from_mins(1);
/// Pauses after failed renewals: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What a request does.
#[derive(Debug)]
pub(super) enum RenewalStep {
    /// Uses this login.
    Use(Arc<Login>),
    /// Uses this login, and begins a renewal that nobody waits for.
    UseAndRenew(Arc<Login>),
    /// Waits for a renewal.
    Renew,
    /// Fails: there is no login, and the identity service is not asked again before this time has passed.
    Fail(Duration),
}

/// The login of one upstream, and what is known of its renewals.
#[derive(Default)]
pub(super) struct Renewal {
    held: Option<HeldLogin>,
    failures: Option<FailedRenewals>,
    /// When the renewal began that nobody waits for.
    begun: Option<Moment>,
}

struct HeldLogin {
    login: Arc<Login>,
    since: Moment,
    renew_at: Moment,
    ends: Moment,
    /// A registry refused it when it was no longer new.
    is_refused: bool,
}

struct FailedRenewals {
    until: Moment,
    pauses: Backoff,
}

impl Renewal {
    /// What a request does now.
    pub(super) fn next(&self, now: Moment) -> RenewalStep {
        let held = self.held.as_ref().filter(|held| now < held.ends);
        match (held, self.pause(now)) {
            (Some(held), Some(_)) => RenewalStep::Use(Arc::clone(&held.login)),
            (None, Some(left)) => RenewalStep::Fail(left),
            (None, None) => RenewalStep::Renew,
            (Some(held), None) if held.is_refused => RenewalStep::Renew,
            (Some(held), None) if now < held.renew_at || self.has_begun(now) => {
                RenewalStep::Use(Arc::clone(&held.login))
            }
            (Some(held), None) => RenewalStep::UseAndRenew(Arc::clone(&held.login)),
        }
    }

    /// Whether the identity service is to be asked: not if another request has just done so.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        let is_good = |held: &HeldLogin| now < held.renew_at && !held.is_refused;
        self.pause(now).is_none() && !self.held.as_ref().is_some_and(is_good)
    }

    /// A renewal begins that nobody waits for.
    pub(super) fn begin(&mut self, now: Moment) {
        self.begun = Some(now);
    }

    /// The identity service, asked at `asked`, issued this login for so long.
    pub(super) fn renewed(&mut self, login: Arc<Login>, life: Duration, asked: Moment) {
        let life = life.clamp(SHORTEST_LIFE, LONGEST_LIFE);
        let margin = (life / LAST_PART).clamp(SHORTEST_MARGIN, LONGEST_MARGIN).min(life / 2);
        *self = Self {
            held: Some(HeldLogin {
                login,
                since: asked,
                renew_at: asked.after(life.saturating_sub(margin)),
                ends: asked.after(life),
                is_refused: false,
            }),
            failures: None,
            begun: None,
        };
    }

    /// The identity service issued nothing. Returns how long it is not asked again.
    pub(super) fn failed(&mut self, now: Moment) -> Duration {
        let mut pauses =
            self.failures.as_ref().map_or(Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), |failures| failures.pauses);
        let pause = pauses.pause();
        self.failures = Some(FailedRenewals { until: now.after(pause), pauses });
        self.begun = None;
        // It may still be good for other repositories.
        self.held.iter_mut().for_each(|held| held.is_refused = false);
        pause
    }

    /// A registry refused this login. Returns whether another one may be taken in its place.
    pub(super) fn refused(&mut self, id: [u8; 16], now: Moment) -> bool {
        let Some(held) = self.held.as_mut().filter(|held| held.login.id == id) else { return true };
        held.is_refused |= now.since(held.since) >= REFUSED_AGE;
        held.is_refused
    }

    /// How long the identity service is not asked.
    fn pause(&self, now: Moment) -> Option<Duration> {
        let left = self.failures.as_ref()?.until.since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Whether a renewal that nobody waits for is under way. One that never ended does not count for ever.
    fn has_begun(&self, now: Moment) -> bool {
        self.begun.is_some_and(|begun| now.since(begun) < RENEWAL_DEADLINE)
    }
}

#[cfg(test)]
mod tests {
    use super::super::login::LoginSource;
    use super::*;
    use crate::secret::{Basic, Secret};

    fn login(password: &str) -> Arc<Login> {
        let basic = Basic { username: "AWS".to_owned(), password: Secret::new(password) };
        Arc::new(Login { basic, id: [u8::try_from(password.len()).unwrap(); 16], origin: LoginSource::Cloud })
    }

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3600)
    }

    /// What is done, in a word, and with which login.
    fn step(renewal: &Renewal, seconds: u64) -> (&'static str, Option<String>) {
        let password = |login: &Login| Some(login.basic.password.expose().to_owned());
        match renewal.next(at(seconds)) {
            RenewalStep::Use(login) => ("use", password(&login)),
            RenewalStep::UseAndRenew(login) => ("use and renew", password(&login)),
            RenewalStep::Renew => ("renew", None),
            RenewalStep::Fail(left) => ("fail", Some(left.as_secs().to_string())),
        }
    }

    fn first(word: &'static str) -> (&'static str, Option<String>) {
        (word, Some("first".to_owned()))
    }

    #[test]
    fn a_login_of_twelve_hours_is_renewed_half_an_hour_before_its_end() {
        let mut renewal = Renewal::default();
        assert_eq!(step(&renewal, 0), ("renew", None));
        renewal.renewed(login("first"), hours(12), at(0));
        assert_eq!(step(&renewal, 41_399), first("use"));
        assert_eq!(step(&renewal, 41_400), first("use and renew"));
        renewal.begin(at(41_400));
        assert_eq!(step(&renewal, 41_401), first("use"), "one renewal is enough");
        assert_eq!(step(&renewal, 41_415), first("use and renew"), "the first never came back");
        assert_eq!(step(&renewal, 43_200), ("renew", None), "it has ended");
    }

    #[test]
    fn a_life_that_is_over_already_counts_as_a_minute_and_one_without_end_as_a_day() {
        let mut renewal = Renewal::default();
        renewal.renewed(login("first"), Duration::ZERO, at(100));
        assert_eq!(step(&renewal, 129), first("use"));
        assert_eq!(step(&renewal, 130), first("use and renew"));
        assert_eq!(step(&renewal, 160), ("renew", None));
        renewal.renewed(login("first"), Duration::MAX, at(0));
        assert_eq!(step(&renewal, 84_599), first("use"));
        assert_eq!(step(&renewal, 84_600), first("use and renew"));
        assert_eq!(step(&renewal, 86_400), ("renew", None));
    }

    #[test]
    fn the_margin_is_a_tenth_of_the_life_within_its_limits() {
        for (life, renewed_at) in
            [(60, 30), (120, 60), (360, 300), (3600, 3240), (18_000, 16_200), (36_000, 34_200)]
        {
            let mut renewal = Renewal::default();
            renewal.renewed(login("first"), Duration::from_secs(life), at(0));
            assert_eq!(step(&renewal, renewed_at - 1), first("use"), "{life}");
            assert_eq!(step(&renewal, renewed_at), first("use and renew"), "{life}");
        }
    }

    #[test]
    fn pauses_grow_to_a_minute_while_the_identity_service_fails_and_the_login_is_used_to_its_end() {
        let mut renewal = Renewal::default();
        renewal.renewed(login("first"), hours(1), at(0));
        assert_eq!(step(&renewal, 3240), first("use and renew"));
        let mut now = 3240;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(renewal.failed(at(now)).as_secs(), pause);
            assert_eq!(step(&renewal, now), first("use"));
            assert!(!renewal.is_due(at(now)), "not before the pause is over");
            now += pause;
            assert!(renewal.is_due(at(now)));
            assert_eq!(step(&renewal, now), first("use and renew"));
        }
        assert_eq!(renewal.failed(at(3590)).as_secs(), 60);
        assert_eq!(step(&renewal, 3599), first("use"));
        assert_eq!(step(&renewal, 3600), ("fail", Some("50".to_owned())), "it has ended");
        assert_eq!(step(&renewal, 3650), ("renew", None));
        renewal.renewed(login("second"), hours(1), at(3650));
        assert_eq!(renewal.failed(at(7000)).as_secs(), 1, "after a success pauses begin anew");
    }

    #[test]
    fn a_refused_login_is_replaced_once_a_minute_at_most() {
        let mut renewal = Renewal::default();
        let old = login("first");
        renewal.renewed(Arc::clone(&old), hours(12), at(0));
        assert!(!renewal.refused(old.id, at(59)), "it is new");
        assert_eq!(step(&renewal, 59), first("use"));
        assert!(renewal.refused(old.id, at(60)));
        assert!(renewal.is_due(at(60)));
        assert_eq!(step(&renewal, 60), ("renew", None), "whoever comes now waits for the other one");
        renewal.renewed(login("second"), hours(12), at(60));
        assert!(renewal.refused(old.id, at(61)), "there is another one already");
        assert!(!renewal.is_due(at(61)));
        assert_eq!(step(&renewal, 61), ("use", Some("second".to_owned())));
    }

    #[test]
    fn a_refused_login_is_used_on_while_there_is_no_other() {
        let mut renewal = Renewal::default();
        let old = login("first");
        renewal.renewed(Arc::clone(&old), hours(12), at(0));
        assert!(renewal.refused(old.id, at(100)));
        renewal.failed(at(100));
        assert_eq!(step(&renewal, 100), first("use"));
        assert_eq!(step(&renewal, 101), first("use"), "only another refusal asks again");
    }
}
