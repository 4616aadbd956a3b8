//! The progress of a fill in another process, as its lease reports it, and whether it is worth waiting for: pure.

use std::time::Duration;

/// The progress of a fill. Times are in seconds since 1970, by the clock of the process that fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Course {
    /// When it began.
    pub(super) began: u64,
    /// When this was said.
    pub(super) at: u64,
    /// Bytes that came, of `total`.
    pub(super) done: u64,
    pub(super) total: u64,
    /// When the last byte came; 0: not yet.
    pub(super) fetched: u64,
}

impl Course {
    /// The words after a lease's end.
    pub(super) fn to_words(self) -> String {
        let Self { began, at, done, total, fetched } = self;
        format!("{began} {at} {done} {total} {fetched}")
    }

    /// Reads them; `None`: there are none yet, or in an earlier version's lease.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let mut numbers = words.split(' ').map(|word| word.parse().ok());
        let [began, at, done, total, fetched] = std::array::from_fn(|_| numbers.next().flatten());
        let course = Self { began: began?, at: at?, done: done?, total: total?, fetched: fetched? };
        (course.total > 0 && numbers.next().is_none()).then_some(course)
    }

    /// How long until it is stored, at its rate so far. `sends_on`: afterwards the bytes are sent to the store, as fast
    /// as they came. `None`: it makes no progress.
    pub(super) fn left(self, now: u64, sends_on: bool) -> Option<Duration> {
        let took = |until: u64| until.saturating_sub(self.began).max(1);
        let sending = |took: u64| if sends_on { took } else { 0 };
        let seconds = if self.fetched > 0 {
            // After twice that time, do not wait.
            let (expected, gone) = (sending(took(self.fetched)), now.saturating_sub(self.fetched));
            (gone <= 2 * expected + 1).then(|| expected.saturating_sub(gone))?
        } else {
            let rate = self.done / took(self.at);
            let missing = self.total.saturating_sub(self.done).checked_div(rate)?;
            let whole = self.total.checked_div(rate)?;
            missing.saturating_sub(now.saturating_sub(self.at)).saturating_add(sending(whole))
        };
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn course(done: u64, total: u64, fetched: u64) -> Course {
        Course { began: 1000, at: 1010, done, total, fetched }
    }

    #[test]
    fn what_is_left_follows_from_the_rate() {
        for (course, now, sends_on, expected, why) in [
            (course(100 * MB, 300 * MB, 0), 1010, false, Some(20), "ten a second"),
            (course(100 * MB, 300 * MB, 0), 1012, false, Some(18), "it went on since"),
            (course(100 * MB, 300 * MB, 0), 1010, true, Some(50), "and all of it to the bucket"),
            (course(0, 300 * MB, 0), 1010, false, None, "nothing comes"),
            (course(300 * MB, 300 * MB, 1030), 1040, true, Some(20), "on its way to the bucket"),
            (course(300 * MB, 300 * MB, 1030), 1065, true, Some(0), "any moment"),
            (course(300 * MB, 300 * MB, 1030), 1092, true, None, "the bucket is slower than the registry"),
            (course(300 * MB, 300 * MB, 1030), 1031, false, Some(0), "a disk takes it at once"),
            (course(300 * MB, 300 * MB, 1030), 1035, false, None, "or not at all"),
        ] {
            assert_eq!(course.left(now, sends_on), expected.map(Duration::from_secs), "{why}");
        }
    }

    #[test]
    fn a_course_reads_back_and_others_are_none() {
        let course = course(7, 9, 0);
        assert_eq!(Course::parse(&course.to_words()), Some(course));
        for other in ["", "1", "1 2 3 4", "1 2 3 0 0", "1 2 3 4 5 6", "1 2 -3 4 5", "a b c d e"] {
            assert_eq!(Course::parse(other), None, "{other}");
        }
    }
}
