//! Whether a registry's answers to HEAD are reliable. Some registries refuse HEAD for what they give to GET: public.ecr.aws with 401 for
//! every blob, Harbor's proxy cache with 404 until it has it, Nexus with 404 for manifests
//! (aws/containers-roadmap#2671, goharbor/harbor#22609, crazy-max/diun#1614). So a refusal of HEAD proves nothing, and the
//! proxy sends a GET before it believes it. If GET has given several times in a row what HEAD refused, the proxy sends no
//! HEAD for a while. Any HEAD that is answered in between resets the count.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::platform::Moment;

/// Refusals in a row, contradicted by GET, after which HEAD is left out. A single one may be a push between the two requests.
const MAKE_A_HABIT: u8 = 3;
/// How long HEAD is left out then. After that a single contradicted HEAD is enough to leave it out again.
const LEFT_OUT: Duration = Duration::from_mins(10);

/// What a HEAD asks for: some registries refuse it for one of them and answer it for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadOf {
    /// A blob.
    Blob,
    /// A manifest.
    Manifest,
}

/// The method to try first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskFirst {
    /// HEAD, as its answer is the cheapest.
    Head,
    /// GET: HEAD is not reliable here.
    Get,
}

/// Identifies a HEAD: many requests may share one, and its refusal counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct HeadId(u64);

/// What one registry's answers to HEAD have shown, in memory only.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    blobs: Mutex<Habit>,
    manifests: Mutex<Habit>,
}

#[derive(Debug, Default)]
struct Habit {
    /// The last one that was asked.
    asked: HeadId,
    /// The last one whose refusal was counted.
    counted: HeadId,
    /// Refusals since HEAD was answered last, each contradicted by a GET.
    contradicted: u8,
    left_out_until: Option<Moment>,
}

impl Heads {
    /// Which method to try first.
    pub(crate) fn ask_first(&self, of: HeadOf, now: Moment) -> AskFirst {
        self.habit(of).ask_first(now)
    }

    /// HEAD is being asked.
    pub(crate) fn asked(&self, of: HeadOf) -> HeadId {
        self.habit(of).asked()
    }

    /// HEAD was answered with 2xx.
    pub(crate) fn answered(&self, of: HeadOf) {
        self.habit(of).answered();
    }

    /// GET has given what this HEAD refused.
    pub(crate) fn contradicted(&self, of: HeadOf, head: HeadId, now: Moment) {
        self.habit(of).contradicted(head, now);
    }

    fn habit(&self, of: HeadOf) -> MutexGuard<'_, Habit> {
        let habit = match of {
            HeadOf::Blob => &self.blobs,
            HeadOf::Manifest => &self.manifests,
        };
        habit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Habit {
    fn ask_first(&self, now: Moment) -> AskFirst {
        if self.left_out_until.is_some_and(|until| now < until) { AskFirst::Get } else { AskFirst::Head }
    }

    fn asked(&mut self) -> HeadId {
        self.asked.0 = self.asked.0.saturating_add(1);
        self.asked
    }

    fn answered(&mut self) {
        self.contradicted = 0;
        self.left_out_until = None;
    }

    fn contradicted(&mut self, head: HeadId, now: Moment) {
        if head <= self.counted {
            return;
        }
        self.counted = head;
        self.contradicted = self.contradicted.saturating_add(1).min(MAKE_A_HABIT);
        if self.contradicted == MAKE_A_HABIT {
            self.left_out_until = Some(now.after(LEFT_OUT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Moment {
        Moment(Duration::from_mins(minutes))
    }

    fn contradict(heads: &Heads, of: HeadOf, now: Moment) {
        let head = heads.asked(of);
        heads.contradicted(of, head, now);
    }

    #[test]
    fn head_is_left_out_after_three_refusals_that_get_contradicted_and_not_for_ever() {
        let heads = Heads::default();
        for _ in 0..3 {
            assert_eq!(heads.ask_first(HeadOf::Blob, at(0)), AskFirst::Head);
            contradict(&heads, HeadOf::Blob, at(0));
        }
        assert_eq!(heads.ask_first(HeadOf::Blob, at(9)), AskFirst::Get);
        assert_eq!(heads.ask_first(HeadOf::Manifest, at(9)), AskFirst::Head, "of manifests nothing is known");
        assert_eq!(heads.ask_first(HeadOf::Blob, at(10)), AskFirst::Head, "perhaps it has learned");
        contradict(&heads, HeadOf::Blob, at(10));
        assert_eq!(heads.ask_first(HeadOf::Blob, at(19)), AskFirst::Get, "it has not: one is enough");
    }

    #[test]
    fn a_head_that_is_answered_in_between_begins_the_count_anew() {
        let heads = Heads::default();
        for _ in 0..10 {
            contradict(&heads, HeadOf::Manifest, at(0));
            contradict(&heads, HeadOf::Manifest, at(0));
            heads.answered(HeadOf::Manifest);
            assert_eq!(heads.ask_first(HeadOf::Manifest, at(0)), AskFirst::Head);
        }
    }

    #[test]
    fn the_refusal_of_one_head_counts_once_however_many_waited_for_it() {
        let heads = Heads::default();
        let head = heads.asked(HeadOf::Manifest);
        for _ in 0..10 {
            heads.contradicted(HeadOf::Manifest, head, at(0));
        }
        assert_eq!(heads.ask_first(HeadOf::Manifest, at(0)), AskFirst::Head);
    }
}
