//! Whether a part that did not come is tried again, and when. Pure.

use std::time::Duration;

use super::trouble::Prospect;
use crate::backoff::Backoff;
use crate::platform::Moment;

/// How often a part is asked for that a registry fails to give.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextTry {
    /// The same again, after a limit of the registry's.
    AfterLimit(Duration),
    /// The same again, after a pause.
    AfterPause(Duration),
    /// Nothing: it is missing.
    Never,
}

/// How long one part is tried.
#[derive(Debug)]
pub(super) struct Patience {
    /// How long it waits for limits, from the first one on.
    limit: Duration,
    until: Option<Moment>,
    tries: u32,
    backoff: Backoff,
}

impl Patience {
    /// Waits for limits of the registry's so long in all.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, until: None, tries: 1, backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE) }
    }

    /// Decides after a trouble.
    pub(super) fn after(&mut self, prospect: Prospect, now: Moment) -> NextTry {
        match prospect {
            Prospect::After(left) => {
                let until = *self.until.get_or_insert(now.after(self.limit));
                // A registry may say 0 and mean it every time.
                let pause = left.max(FIRST_PAUSE);
                if now.after(pause) <= until { NextTry::AfterLimit(pause) } else { NextTry::Never }
            }
            Prospect::Soon if self.tries < TRIES => {
                self.tries += 1;
                NextTry::AfterPause(self.backoff.pause())
            }
            Prospect::Soon | Prospect::Never => NextTry::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn limits_are_waited_for_while_they_end_in_time() {
        let seconds = Duration::from_secs;
        let wait = |pause| NextTry::AfterLimit(seconds(pause));
        for (limits, expected) in [
            (vec![(0, 60)], wait(60)),
            (vec![(0, 61)], NextTry::Never),
            (vec![(0, 30), (30, 30)], wait(30)),
            (vec![(0, 30), (30, 31)], NextTry::Never),
            (vec![(100, 60)], wait(60)),
            (vec![(0, 0), (59, 0)], wait(1)),
            (vec![(0, 0), (60, 0)], NextTry::Never),
        ] {
            let mut patience = Patience::new(seconds(60));
            let told = limits.iter().map(|&(now, left)| patience.after(Prospect::After(seconds(left)), at(now)));
            assert_eq!(told.last(), Some(expected), "{limits:?}");
        }
    }

    #[test]
    fn a_failure_is_tried_three_times_and_a_refusal_once() {
        let mut patience = Patience::new(Duration::ZERO);
        let pause = |seconds| NextTry::AfterPause(Duration::from_secs(seconds));
        let tries = [(); 3].map(|()| patience.after(Prospect::Soon, at(0)));
        assert_eq!(tries, [pause(1), pause(2), NextTry::Never]);
        assert_eq!(Patience::new(Duration::from_mins(1)).after(Prospect::Never, at(0)), NextTry::Never);
    }
}
