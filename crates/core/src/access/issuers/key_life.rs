//! For how long the keys of an issuer count, and when it is asked for them. Pure.

use std::time::Duration;

use crate::platform::Moment;

/// How long keys are used without asking.
const FRESH: Duration = Duration::from_hours(1);
/// How long they are used while the issuer gives no newer ones.
const LONGEST: Duration = Duration::from_hours(24);
/// How often an issuer is asked for a key that it has not shown, and how long it is left alone after a failure while there are keys.
const PAUSE: Duration = Duration::from_mins(1);
/// How long it is left alone after a failure while there are none: nobody can log in by it meanwhile.
const SHORT_PAUSE: Duration = Duration::from_secs(10);

/// What has happened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeyTimes {
    /// When the keys came, if there are any.
    pub(super) fetched: Option<Moment>,
    /// When the issuer failed last, if it has since they came.
    pub(super) failed: Option<Moment>,
    /// When it was last asked for the sake of a key that it did not have.
    pub(super) looked_for: Option<Moment>,
}

/// What to do for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyPlan {
    /// Its key is here and counts.
    Use,
    /// Ask the issuer.
    Fetch,
    /// There is no such key.
    Lacks,
    /// There are no keys, and the issuer is not asked yet.
    Wait,
}

impl KeyTimes {
    /// Whether the keys count without asking.
    pub(super) fn is_fresh(&self, now: Moment) -> bool {
        self.fetched.is_some_and(|at| now.since(at) < FRESH)
    }

    /// What to do, where the keys include the token's or not.
    pub(super) fn plan(&self, has_key: bool, now: Moment) -> KeyPlan {
        let within = |event: Option<Moment>, pause| event.is_some_and(|at| now.since(at) < pause);
        match (within(self.fetched, LONGEST), has_key) {
            (true, true) if self.is_fresh(now) || within(self.failed, PAUSE) => KeyPlan::Use,
            (true, false) if within(self.failed, PAUSE) || within(self.looked_for, PAUSE) => KeyPlan::Lacks,
            (false, _) if within(self.failed, SHORT_PAUSE) => KeyPlan::Wait,
            (true | false, _) => KeyPlan::Fetch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn keys_count_for_an_hour_and_old_ones_for_a_day_while_the_issuer_is_down() {
        let times = |fetched: Option<u64>, failed: Option<u64>, looked_for: Option<u64>| KeyTimes {
            fetched: fetched.map(at),
            failed: failed.map(at),
            looked_for: looked_for.map(at),
        };
        for (times, has_key, now, expected) in [
            (times(None, None, None), false, 0, KeyPlan::Fetch),
            (times(None, Some(0), None), false, 9, KeyPlan::Wait),
            (times(None, Some(0), None), false, 10, KeyPlan::Fetch),
            (times(Some(0), None, None), true, 0, KeyPlan::Use),
            (times(Some(0), None, None), true, HOUR - 1, KeyPlan::Use),
            (times(Some(0), None, None), true, HOUR, KeyPlan::Fetch),
            (times(Some(0), Some(HOUR), None), true, HOUR + 59, KeyPlan::Use),
            (times(Some(0), Some(HOUR), None), true, HOUR + 60, KeyPlan::Fetch),
            (times(Some(0), Some(24 * HOUR - 1), None), true, 24 * HOUR - 1, KeyPlan::Use),
            (times(Some(0), Some(24 * HOUR - 1), None), true, 24 * HOUR, KeyPlan::Wait),
            (times(Some(0), Some(24 * HOUR - 1), None), true, 24 * HOUR + 9, KeyPlan::Fetch),
            // A key that is not here is asked for at once, and then once a minute.
            (times(Some(0), None, None), false, 1, KeyPlan::Fetch),
            (times(Some(1), None, Some(1)), false, 2, KeyPlan::Lacks),
            (times(Some(1), None, Some(1)), false, 60, KeyPlan::Lacks),
            (times(Some(1), None, Some(1)), false, 61, KeyPlan::Fetch),
            (times(Some(1), None, Some(1)), true, 2, KeyPlan::Use),
            (times(Some(0), Some(1), None), false, 2, KeyPlan::Lacks),
        ] {
            assert_eq!(times.plan(has_key, at(now)), expected, "{times:?} {has_key} {now}");
        }
    }
}
