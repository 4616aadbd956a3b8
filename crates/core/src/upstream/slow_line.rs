//! Whether an upstream's blobs came over a slow line, and came faster in parts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::memory::millis;
use crate::platform::Moment;

/// How long it is remembered. Lines change: what an hour ago was slow may be another address by now.
const REMEMBERED: Duration = Duration::from_mins(10);

/// What the latest fill in parts has shown. Two fills that end at once may leave the rate of one and the time of the other.
#[derive(Debug, Default)]
pub(super) struct SlowLine {
    /// Bytes a second of one connection; 0: it is not known to be slow.
    rate: AtomicU64,
    /// Until when that counts, in milliseconds on the clock.
    until: AtomicU64,
}

impl SlowLine {
    /// `rate`: bytes a second of one connection; `None`: it is slow no more.
    pub(super) fn note(&self, rate: Option<u64>, now: Moment) {
        self.until.store(millis(now.after(REMEMBERED)), Ordering::Relaxed);
        self.rate.store(rate.map_or(0, |rate| rate.max(1)), Ordering::Relaxed);
    }

    /// Bytes a second of one connection, if it is known to be slow.
    pub(super) fn rate(&self, now: impl FnOnce() -> Moment) -> Option<u64> {
        let rate = Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)?;
        (millis(now()) < self.until.load(Ordering::Relaxed)).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_is_remembered_for_ten_minutes_or_until_it_is_fast() {
        let at = |seconds| move || Moment(Duration::from_secs(seconds));
        let line = SlowLine::default();
        assert_eq!(line.rate(at(0)), None, "nothing is known");
        line.note(Some(2_500_000), at(100)());
        assert_eq!(line.rate(at(699)), Some(2_500_000));
        assert_eq!(line.rate(at(700)), None, "ten minutes later");
        line.note(Some(0), at(100)());
        assert_eq!(line.rate(at(101)), Some(1), "as slow as can be");
        line.note(None, at(102)());
        assert_eq!(line.rate(at(103)), None, "a fill was fast");
    }
}
