//! Which failures were to be expected, and what grew that should not have.

use std::time::Duration;

use crate::journal::{Delivered, Trouble, Wrong};
use crate::sample::Sample;
use crate::timetable::{Disturbance, Instance, Keeps, Window};

/// An upstream that was down is asked again after `timeouts.down` (10 s) at the latest; its answer takes a while.
const UPSTREAM_BACK: Duration = Duration::from_secs(15);
/// What was on its way when the upstream went was still delivered.
const UPSTREAM_GONE: Duration = Duration::from_secs(3);
/// What was delivered is in the bucket after so long.
const STORED: Duration = Duration::from_secs(30);
/// Connections that began when a process had just ended or begun.
const PROCESS_BACK: Duration = Duration::from_secs(2);
/// What was being read when the store went away cannot be read to its end.
const STORE_GONE: Duration = Duration::from_secs(15);

/// Whether a failure was to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Expected(Disturbance),
    Fault(&'static str),
}

/// What the windows say of a failure.
pub(crate) fn judge(trouble: &Trouble, windows: &[Window]) -> Verdict {
    let meets = |window: &&Window, after: Duration| trouble.to >= window.from && trouble.from <= window.to + after;
    let find = |after: Duration, wanted: &dyn Fn(&Disturbance) -> bool| {
        windows.iter().filter(|window| meets(window, after)).find(|window| wanted(&window.disturbance))
    };
    let instance = trouble.instance;
    let of_process = |is_kill_only: bool| {
        find(PROCESS_BACK, &|disturbance| match disturbance {
            Disturbance::Killed(killed) => *killed == instance,
            Disturbance::Stopped(stopped) => *stopped == instance && !is_kill_only,
            Disturbance::SlowUpstream
            | Disturbance::UpstreamDown
            | Disturbance::TooManyRequests
            | Disturbance::StoreDown => false,
        })
    };
    let of_upstream = find(UPSTREAM_BACK, &|disturbance| {
        matches!(disturbance, Disturbance::UpstreamDown | Disturbance::TooManyRequests)
    });
    let expected = |window: Option<&Window>, otherwise| {
        window.map_or(Verdict::Fault(otherwise), |window| Verdict::Expected(window.disturbance))
    };
    let unless_cached = |otherwise| match of_upstream {
        Some(window) if was_cached(instance.keeps(), trouble.delivered, window, windows) => {
            Verdict::Fault("it was cached, so an outage of the upstream should not matter")
        }
        window => expected(window, otherwise),
    };
    match trouble.wrong {
        Wrong::Digest => Verdict::Fault("a body had another digest"),
        Wrong::Tag => Verdict::Fault("a tag never pointed there"),
        Wrong::OutdatedTag => expected(of_upstream, "a tag was outdated, and the upstream was there"),
        Wrong::NoAnswer => expected(of_process(false), "no answer, and the process was there"),
        Wrong::Cut => {
            let of_store = || {
                let is_bucket = instance.keeps() == Keeps::Bucket;
                find(Duration::ZERO, &|disturbance| is_bucket && *disturbance == Disturbance::StoreDown)
                    .filter(|window| trouble.from <= window.from + STORE_GONE)
            };
            match of_process(true).or_else(of_store) {
                Some(window) => Verdict::Expected(window.disturbance),
                None => unless_cached("a body ended early"),
            }
        }
        Wrong::Late => unless_cached("an answer took two minutes"),
        Wrong::Status(429 | 500..=599) => unless_cached("an error, and the upstream was there"),
        Wrong::Status(_) => Verdict::Fault("a status that nothing explains"),
    }
}

/// Whether a store surely had it when the upstream went. Of a directory that evicts all the time, only what it served during
/// the outage is certain: nothing comes in then, and so nothing is evicted.
fn was_cached(keeps: Keeps, delivered: Option<Delivered>, outage: &Window, windows: &[Window]) -> bool {
    let Some(Delivered { first, last }) = delivered else { return false };
    if last >= outage.from + UPSTREAM_GONE && last <= outage.to {
        return true;
    }
    let was_stored = |at: Duration| {
        let is_disturbed = |window: &Window| match window.disturbance {
            Disturbance::StoreDown | Disturbance::Killed(_) | Disturbance::Stopped(_) => {
                at + STORED >= window.from && at <= window.to + STORED
            }
            Disturbance::SlowUpstream | Disturbance::UpstreamDown | Disturbance::TooManyRequests => false,
        };
        at + STORED <= outage.from && !windows.iter().any(is_disturbed)
    };
    match keeps {
        Keeps::Bucket => was_stored(first) || was_stored(last),
        Keeps::Directory => false,
    }
}

/// A life of a process shorter than this says nothing of what grows.
const LIFE: Duration = Duration::from_mins(10);

/// What may not grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    MemoryKib,
    Descriptors,
    Threads,
}

impl Measure {
    pub(crate) const ALL: [Self; 3] = [Self::MemoryKib, Self::Descriptors, Self::Threads];

    pub(crate) fn of(self, sample: &Sample) -> u64 {
        match self {
            Self::MemoryKib => sample.memory_kib,
            Self::Descriptors => sample.descriptors,
            Self::Threads => sample.threads,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MemoryKib => "resident memory",
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
        }
    }

    /// The median of the last third may be a tenth above that of the middle third, and so much.
    pub(crate) fn margin(self) -> u64 {
        match self {
            Self::MemoryKib => 8 << 10,
            Self::Descriptors => 32,
            Self::Threads => 4,
        }
    }

    fn limit(self, middle: u64) -> u64 {
        middle + middle / 10 + self.margin()
    }
}

/// One life of a process: medians of its thirds, for each measure.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) instance: Instance,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) thirds: [[u64; 3]; 3],
    pub(crate) most: [u64; 3],
    /// Too short to be judged.
    pub(crate) is_short: bool,
}

impl Life {
    /// What grew beyond its limit.
    pub(crate) fn grown(&self) -> impl Iterator<Item = Measure> + '_ {
        let measures = Measure::ALL.into_iter().zip(&self.thirds);
        measures
            .filter(move |(measure, thirds)| !self.is_short && thirds[2] > measure.limit(thirds[1]))
            .map(|(measure, _)| measure)
    }
}

/// The lives in what was sampled.
pub(crate) fn lives(samples: &[Sample]) -> Vec<Life> {
    let mut lives = Vec::new();
    for instance in Instance::ALL {
        let samples: Vec<&Sample> = samples.iter().filter(|sample| sample.instance == instance).collect();
        for life in samples.chunk_by(|one, other| one.life == other.life) {
            let (Some(first), Some(last)) = (life.first(), life.last()) else { continue };
            let third = life.len().div_ceil(3);
            let thirds = Measure::ALL.map(|measure| {
                let mut medians =
                    life.chunks(third).map(|part| median(part.iter().map(|sample| measure.of(sample))));
                [(); 3].map(|()| medians.next().unwrap_or_default())
            });
            let most = Measure::ALL.map(|measure| life.iter().map(|sample| measure.of(sample)).max().unwrap_or(0));
            let is_short = last.at.saturating_sub(first.at) < LIFE;
            lives.push(Life { instance, from: first.at, to: last.at, thirds, most, is_short });
        }
    }
    lives
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Asked;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn window(disturbance: Disturbance, from: u64, to: u64) -> Window {
        Window { disturbance, from: at(from), to: at(to) }
    }

    fn trouble(instance: Instance, wrong: Wrong, seconds: u64, delivered: Option<(u64, u64)>) -> Trouble {
        let delivered = delivered.map(|(first, last)| Delivered { first: at(first), last: at(last) });
        let (asked, from, to) = (Asked::Layer, at(seconds), at(seconds + 1));
        Trouble { instance, asked, name: String::new(), wrong, detail: String::new(), from, to, delivered }
    }

    fn is_expected(instance: Instance, wrong: Wrong, seconds: u64, delivered: Option<(u64, u64)>) -> bool {
        let windows = [
            window(Disturbance::UpstreamDown, 100, 160),
            window(Disturbance::Killed(Instance::First), 300, 310),
            window(Disturbance::Stopped(Instance::Second), 400, 410),
            window(Disturbance::StoreDown, 500, 530),
            window(Disturbance::UpstreamDown, 600, 660),
        ];
        matches!(judge(&trouble(instance, wrong, seconds, delivered), &windows), Verdict::Expected(_))
    }

    #[test]
    fn wrong_bytes_are_never_expected() {
        assert!(!is_expected(Instance::Alone, Wrong::Digest, 120, None));
        assert!(!is_expected(Instance::Alone, Wrong::Tag, 120, None));
        assert!(!is_expected(Instance::Alone, Wrong::Status(404), 120, None));
    }

    #[test]
    fn what_is_not_cached_fails_in_an_outage_and_only_then() {
        for (seconds, expected) in [(90, false), (99, true), (130, true), (174, true), (176, false)] {
            assert_eq!(is_expected(Instance::First, Wrong::Status(504), seconds, None), expected, "{seconds}");
        }
        assert!(is_expected(Instance::First, Wrong::OutdatedTag, 150, None));
        assert!(!is_expected(Instance::First, Wrong::OutdatedTag, 200, None));
        assert!(!is_expected(Instance::First, Wrong::NoAnswer, 130, None));
    }

    #[test]
    fn what_is_cached_is_served_in_an_outage() {
        let cases = [
            // Served in this outage.
            (Instance::Alone, 150, (110, 120), false),
            (Instance::First, 150, (110, 120), false),
            // On its way when it began.
            (Instance::Alone, 150, (90, 101), true),
            // Long before: a bucket still has it, a directory may have evicted it.
            (Instance::First, 150, (20, 20), false),
            (Instance::Alone, 150, (20, 20), true),
            (Instance::First, 150, (80, 90), true),
            // A process was killed when it was stored.
            (Instance::Second, 620, (305, 305), true),
            (Instance::Second, 620, (200, 305), false),
        ];
        for (instance, seconds, delivered, expected) in cases {
            let found = is_expected(instance, Wrong::Status(504), seconds, Some(delivered));
            assert_eq!(found, expected, "{instance} {seconds} {delivered:?}");
        }
    }

    #[test]
    fn a_process_that_was_killed_cuts_its_own_bodies_only() {
        assert!(is_expected(Instance::First, Wrong::Cut, 300, None));
        assert!(!is_expected(Instance::Second, Wrong::Cut, 300, None));
        assert!(is_expected(Instance::First, Wrong::NoAnswer, 311, None));
        assert!(is_expected(Instance::Second, Wrong::NoAnswer, 405, None));
        // SIGTERM lets a body come to its end.
        assert!(!is_expected(Instance::Second, Wrong::Cut, 405, None));
    }

    #[test]
    fn a_store_that_goes_away_cuts_what_is_read_from_it() {
        assert!(is_expected(Instance::First, Wrong::Cut, 505, None));
        assert!(!is_expected(Instance::Alone, Wrong::Cut, 505, None));
        assert!(!is_expected(Instance::First, Wrong::Cut, 525, None));
        assert!(!is_expected(Instance::First, Wrong::Status(504), 505, None));
    }

    #[test]
    fn what_grows_by_more_than_a_tenth_and_the_margin_is_found() {
        let samples = |last: u64| -> Vec<Sample> {
            let value = |number: u64| if number < 40 { 100_000 } else { last };
            let sample = |number| Sample {
                at: at(number * 20),
                instance: Instance::Alone,
                life: 0,
                memory_kib: value(number),
                descriptors: 10,
                threads: 5,
                ..Sample::default()
            };
            (0..60).map(sample).collect()
        };
        let grown = |last| {
            lives(&samples(last)).iter().flat_map(|life| life.grown().collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(grown(100_000 + 10_000 + 8_192), []);
        assert_eq!(grown(100_000 + 10_000 + 8_193), [Measure::MemoryKib]);
    }
}
