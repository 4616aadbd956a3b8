//! When an upstream counts as down: none of its addresses has answered for a while. It is said once, and once more when
//! one answers again. A short failure is not said: requests try another address, or come again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::platform::Moment;

/// For how long no address has answered when an upstream counts as down.
const DOWN_AFTER: Duration = Duration::from_secs(10);

/// Whether an upstream answers.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Whether `state` says anything: an upstream that answers costs no lock.
    is_failing: AtomicBool,
    state: Mutex<OutageState>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum OutageState {
    #[default]
    Answers,
    /// All addresses fail, the first of them since this moment.
    Fails(Moment),
    /// The same, and it was said.
    Down(Moment),
}

impl Outage {
    /// A request of `sent` has failed at `now`, and no address is left that answers. Whether the upstream is down from now
    /// on.
    pub(super) fn all_fail(&self, sent: Moment, now: Moment) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_failing.store(true, Ordering::Release);
        let (next, is_said) = state.failed(sent, now);
        *state = next;
        is_said
    }

    /// An address has answered. For how long the upstream was down, if that was said.
    pub(super) fn answered(&self, now: Moment) -> Option<Duration> {
        if !self.is_failing.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_failing.store(false, Ordering::Release);
        match std::mem::take(&mut *state) {
            OutageState::Answers | OutageState::Fails(_) => None,
            OutageState::Down(since) => Some(now.since(since)),
        }
    }
}

impl OutageState {
    /// The state after a failure, and whether it is said.
    fn failed(self, sent: Moment, now: Moment) -> (Self, bool) {
        let since = match self {
            Self::Answers => sent,
            Self::Fails(since) => since,
            Self::Down(_) => return (self, false),
        };
        if now.since(since) >= DOWN_AFTER { (Self::Down(since), true) } else { (Self::Fails(since), false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn an_outage_is_said_once_after_ten_seconds_and_its_end_once() {
        let outage = Outage::default();
        for (second, is_said) in [(5, false), (6, false), (14, false), (15, true), (16, false), (600, false)] {
            assert_eq!(outage.all_fail(at(second), at(second)), is_said, "after {second} s");
        }
        assert_eq!(outage.answered(at(605)), Some(Duration::from_mins(10)));
        assert_eq!(outage.answered(at(606)), None);
        assert!(!outage.all_fail(at(700), at(700)), "the next one begins anew");
        assert!(outage.all_fail(at(709), at(710)));
    }

    #[test]
    fn a_short_failure_is_not_said_and_neither_is_its_end() {
        let outage = Outage::default();
        assert!(!outage.all_fail(at(5), at(5)) && !outage.all_fail(at(14), at(14)));
        assert_eq!(outage.answered(at(14)), None);
        assert!(!outage.all_fail(at(16), at(16)));
    }

    #[test]
    fn a_request_that_waited_ten_seconds_in_vain_is_enough() {
        assert!(Outage::default().all_fail(at(5), at(15)));
        assert!(!Outage::default().all_fail(at(6), at(15)));
    }
}
