//! One line of the log for many failures of one kind. Otherwise an upstream whose connections break would cause a line for
//! each request, perhaps a hundred a second. Failures after the first are counted, and the next line reports the count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::memory::millis;
use crate::error::Failure;
use crate::platform::Moment;

/// The shortest time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(30);

/// The kinds of failures that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No connection was made.
    Connection,
    /// No answer in time.
    Silence,
    /// A connection broke before an answer.
    Break,
    /// No connection became free.
    Busy,
    /// An answer that cannot be used.
    Answer,
    /// A redirect that was not followed to its end.
    Redirect,
    /// Its token server did not give a token.
    TokenServer,
    /// Its token server is not trusted with our password.
    Realm,
    /// A body broke, and is resumed.
    Body,
}

impl FailureKind {
    const ALL: [Self; 9] = [
        Self::Connection,
        Self::Silence,
        Self::Break,
        Self::Busy,
        Self::Answer,
        Self::Redirect,
        Self::TokenServer,
        Self::Realm,
        Self::Body,
    ];

    /// The kind of a failure. `None`: the upstream did not fail.
    pub(super) fn of(failure: &Failure) -> Option<Self> {
        Some(match failure {
            Failure::Unreachable(_) | Failure::Resting { .. } => Self::Connection,
            Failure::TimedOut => Self::Silence,
            Failure::Broken => Self::Break,
            Failure::Busy => Self::Busy,
            Failure::Redirect(_) => Self::Redirect,
            Failure::RealmNotTrusted => Self::Realm,
            Failure::NotLoggedIn { .. } => Self::TokenServer,
            Failure::Status(_)
            | Failure::Coded
            | Failure::DigestMismatch
            | Failure::NoManifest
            | Failure::TooLarge
            | Failure::Nonsense(_) => Self::Answer,
            Failure::ClientBody => return None,
        })
    }

    /// For the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "no connection",
            Self::Silence => "no answer in time",
            Self::Break => "connection broke",
            Self::Busy => "no connection free",
            Self::Answer => "unusable answer",
            Self::Redirect => "redirect not followed",
            Self::TokenServer => "no token",
            Self::Realm => "realm not trusted",
            Self::Body => "body broke",
        }
    }
}

/// The lines of one upstream.
#[derive(Default)]
pub(super) struct Reports([Line; FailureKind::ALL.len()]);

/// The lines of one kind.
#[derive(Default)]
struct Line {
    /// When the last was written, in milliseconds on the clock and one more; 0: never.
    written: AtomicU64,
    /// Failures since then that were not logged.
    held: AtomicU64,
}

impl Reports {
    /// Counts a failure. `Some`: a line is to be written, with the number of failures that were not logged.
    pub(super) fn note(&self, kind: FailureKind, now: Moment) -> Option<u64> {
        let line = self.0.get(kind as usize)?;
        let is_due = line.take_turn(now);
        if !is_due {
            line.held.fetch_add(1, Ordering::Relaxed);
        }
        is_due.then(|| line.held.swap(0, Ordering::Relaxed))
    }

    /// Failures that were never logged, for when the upstream answers again and perhaps no other failure follows.
    pub(super) fn overdue(&self, now: Moment) -> impl Iterator<Item = (FailureKind, u64)> {
        let overdue = FailureKind::ALL
            .into_iter()
            .zip(&self.0)
            .filter(move |(_, line)| line.held.load(Ordering::Relaxed) > 0 && line.take_turn(now));
        overdue.map(|(kind, line)| (kind, line.held.swap(0, Ordering::Relaxed)))
    }
}

impl Line {
    /// Whether the interval is over; of several callers at once, one gets `true`.
    fn take_turn(&self, now: Moment) -> bool {
        let written = self.written.load(Ordering::Acquire);
        let is_over = written == 0 || millis(now) >= written - 1 + millis(Moment(INTERVAL));
        let next = millis(now).saturating_add(1);
        is_over && self.written.compare_exchange(written, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn a_kind_has_one_line_an_interval_and_the_next_tells_how_many_there_were() {
        let reports = Reports::default();
        assert_eq!(reports.note(FailureKind::Break, at(0)), Some(0));
        for second in 1..30 {
            assert_eq!(reports.note(FailureKind::Break, at(second)), None);
        }
        assert_eq!(reports.note(FailureKind::Silence, at(1)), Some(0), "another kind has a line of its own");
        assert_eq!(reports.note(FailureKind::Break, at(30)), Some(29));
        assert_eq!(reports.note(FailureKind::Break, at(60)), Some(0));
    }

    #[test]
    fn what_nobody_was_told_is_told_when_the_upstream_answers() {
        let reports = Reports::default();
        for second in [0, 1, 2] {
            reports.note(FailureKind::Break, at(second));
        }
        reports.note(FailureKind::Busy, at(2));
        assert_eq!(reports.overdue(at(29)).count(), 0, "the interval is not over");
        assert_eq!(reports.overdue(at(30)).collect::<Vec<_>>(), [(FailureKind::Break, 2)]);
        assert_eq!(reports.overdue(at(90)).count(), 0);
    }

    #[test]
    fn each_kind_has_its_own_place() {
        for (at, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{kind:?}");
        }
    }
}
