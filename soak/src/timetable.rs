//! What goes wrong, and when.

use std::fmt;
use std::time::Duration;

/// The processes under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instance {
    /// One of two on the same bucket; it is killed now and then.
    First,
    /// The other; it is stopped by SIGTERM now and then.
    Second,
    /// On a directory that is too small for all images. It lives as long as the run.
    Alone,
}

/// What content is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Keeps {
    Bucket,
    Directory,
}

impl Instance {
    pub(crate) const ALL: [Self; 3] = [Self::First, Self::Second, Self::Alone];

    pub(crate) fn index(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => 1,
            Self::Alone => 2,
        }
    }

    pub(crate) fn keeps(self) -> Keeps {
        match self {
            Self::First | Self::Second => Keeps::Bucket,
            Self::Alone => Keeps::Directory,
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::First => "replica 1",
            Self::Second => "replica 2",
            Self::Alone => "directory",
        })
    }
}

/// What can be wrong for some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disturbance {
    SlowUpstream,
    UpstreamDown,
    TooManyRequests,
    StoreDown,
    /// `kill -9`, until it serves again.
    Killed(Instance),
    /// SIGTERM, until it serves again.
    Stopped(Instance),
}

impl Disturbance {
    /// In tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SlowUpstream => "slow upstream",
            Self::UpstreamDown => "upstream down",
            Self::TooManyRequests => "upstream answers 429",
            Self::StoreDown => "SeaweedFS down",
            Self::Killed(_) => "kill -9",
            Self::Stopped(_) => "SIGTERM",
        }
    }
}

/// What is done at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Begin(Disturbance),
    /// Of a process: it is started again, if it has ended.
    End(Disturbance),
    /// Every process gets another configuration and SIGHUP.
    Reload,
}

/// Everything comes once in this time, but for kills and stops, which come every other time.
const ROUND: u32 = 900;

/// What happens in a run of this length. A shorter one than a round has one, at a quicker pace.
pub(crate) fn timetable(total: Duration) -> Vec<(Duration, Event)> {
    let round = total.min(Duration::from_secs(ROUND.into()));
    let second = |of_round: u32| round * of_round / ROUND;
    let mut events = Vec::new();
    let mut number = 0;
    while round * (number + 1) <= total {
        let begin = round * number;
        let lasting = [
            (120, 180, Disturbance::SlowUpstream),
            (240, 300, Disturbance::UpstreamDown),
            (390, 435, Disturbance::TooManyRequests),
            (690, 720, Disturbance::StoreDown),
        ];
        let of_processes =
            [(510, 513, Disturbance::Killed(Instance::First)), (600, 603, Disturbance::Stopped(Instance::Second))];
        // So that a process lives for half an hour in a longer run: what grows slowly shows only then.
        let of_processes = of_processes.into_iter().filter(|_| number % 2 == 0);
        for (from, to, disturbance) in lasting.into_iter().chain(of_processes) {
            events.push((begin + second(from), Event::Begin(disturbance)));
            events.push((begin + second(to), Event::End(disturbance)));
        }
        events.extend([60, 360, 660].map(|at| (begin + second(at), Event::Reload)));
        number += 1;
    }
    events.sort_by_key(|(at, _)| *at);
    events
}

/// When something was wrong, since the beginning of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) disturbance: Disturbance,
    pub(crate) from: Duration,
    /// Not yet over: as late as can be.
    pub(crate) to: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ninety_minutes_have_six_rounds() {
        let events = timetable(Duration::from_mins(90));
        let count = |wanted: Event| events.iter().filter(|(_, event)| *event == wanted).count();
        assert_eq!(count(Event::Begin(Disturbance::UpstreamDown)), 6);
        assert_eq!(count(Event::End(Disturbance::StoreDown)), 6);
        assert_eq!(count(Event::Begin(Disturbance::Killed(Instance::First))), 3);
        assert_eq!(count(Event::Reload), 18);
        assert!(events.is_sorted_by_key(|(at, _)| *at));
        let begin = Event::Begin(Disturbance::UpstreamDown);
        assert_eq!(events.iter().find(|(_, event)| *event == begin).unwrap().0, Duration::from_mins(4));
    }

    #[test]
    fn three_minutes_have_one_round() {
        let events = timetable(Duration::from_mins(3));
        assert_eq!(events.iter().filter(|(_, event)| *event == Event::Reload).count(), 3);
        assert!(events.last().unwrap().0 < Duration::from_mins(3));
    }

    #[test]
    fn one_disturbance_is_over_before_the_next_begins() {
        let mut now = None;
        for (_, event) in timetable(Duration::from_hours(1)) {
            match event {
                Event::Begin(disturbance) => assert_eq!(now.replace(disturbance), None),
                Event::End(disturbance) => assert_eq!(now.take(), Some(disturbance)),
                Event::Reload => {}
            }
        }
    }
}
