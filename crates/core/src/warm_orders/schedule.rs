//! When the rules of `[[warm]]` are due: those with `every` at the start, and then again and again; those with `at` by the
//! calendar. Nothing of it outlives the process, since what is cached costs next to nothing: a time of the calendar that comes
//! while no process runs is skipped.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::config::WarmRule;
use crate::platform::{Clock, Moment, Timetable};
use crate::sync::{Mutex, MutexGuard};

/// The timetables of the rules, in their order; `None`: the rule has `every`.
pub type Timetables = [Option<Arc<dyn Timetable>>];

/// The time, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScheduleTime {
    /// It never goes back.
    pub(crate) moment: Moment,
    /// Seconds since 1970.
    pub(crate) unix_seconds: u64,
}

impl ScheduleTime {
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self { moment: clock.now(), unix_seconds: clock.unix_seconds() }
    }
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScheduleLook {
    /// The rule at this place.
    Due(usize),
    /// One is after this time.
    In(Duration),
    /// There is no rule.
    Never,
}

/// What is known of a rule.
struct KnownRule {
    rule: WarmRule,
    /// When it began last.
    begun: Option<Moment>,
    /// Times of the calendar count after this one, in seconds since 1970: it began then, or was seen first.
    since: u64,
}

/// When each rule began last.
#[derive(Default)]
pub(crate) struct WarmSchedule {
    known: Mutex<Vec<KnownRule>>,
}

impl WarmSchedule {
    /// Which rule is due: of several the one that waits the longest. Rules with `at` that were not configured before count
    /// from now on, and what is not configured any more is forgotten.
    pub(crate) fn look(&self, rules: &[WarmRule], timetables: &Timetables, now: ScheduleTime) -> ScheduleLook {
        let mut known = self.known();
        known.retain(|known| rules.contains(&known.rule));
        for rule in rules {
            if !known.iter().any(|known| known.rule == *rule) {
                known.push(KnownRule { rule: rule.clone(), begun: None, since: now.unix_seconds });
            }
        }
        // The clock was set back: what it showed before says nothing of what is due.
        known.iter_mut().for_each(|known| known.since = known.since.min(now.unix_seconds));
        let due = |(at, rule): (usize, &WarmRule)| {
            let known = known.iter().find(|known| known.rule == *rule)?;
            Some((due_at(known, timetables.get(at).and_then(Option::as_deref), now)?, at))
        };
        match rules.iter().enumerate().filter_map(due).min() {
            Some((due, at)) if due <= now.moment => ScheduleLook::Due(at),
            Some((due, _)) => ScheduleLook::In(due.since(now.moment)),
            None => ScheduleLook::Never,
        }
    }

    /// A rule begins now.
    pub(crate) fn begin(&self, rule: &WarmRule, now: ScheduleTime) {
        let mut known = self.known();
        known.retain(|known| known.rule != *rule);
        known.push(KnownRule { rule: rule.clone(), begun: Some(now.moment), since: now.unix_seconds });
    }

    fn known(&self) -> MutexGuard<'_, Vec<KnownRule>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a rule is due; `None`: never.
fn due_at(known: &KnownRule, timetable: Option<&dyn Timetable>, now: ScheduleTime) -> Option<Moment> {
    if let Some(every) = known.rule.every {
        return Some(known.begun.map_or(Moment::default(), |begun| begun.after(every.0)));
    }
    let due = timetable?.next_after(known.since)?;
    let apart = Duration::from_secs(due.abs_diff(now.unix_seconds));
    let moment = now.moment;
    Some(if due <= now.unix_seconds { Moment(moment.0.saturating_sub(apart)) } else { moment.after(apart) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    const NONE: &Timetables = &[None, None];

    fn rule(image: &str, every: Option<u64>) -> WarmRule {
        WarmRule {
            images: vec![image.to_owned()],
            every: every.map(Span::seconds),
            at: every.is_none().then(|| "0 * * * *".to_owned()),
            time_zone: None,
            platforms: vec![],
            newest: 3,
            keep: false,
        }
    }

    /// By both clocks: the process began at 10,000 seconds since 1970.
    fn at(seconds: u64) -> ScheduleTime {
        ScheduleTime { moment: Moment(Duration::from_secs(seconds)), unix_seconds: 10_000 + seconds }
    }

    /// Due at these seconds since 1970.
    struct At(&'static [u64]);

    impl Timetable for At {
        fn next_after(&self, unix_seconds: u64) -> Option<u64> {
            self.0.iter().copied().find(|due| *due > unix_seconds)
        }
    }

    #[test]
    fn each_rule_is_due_at_the_start_and_then_after_its_time() {
        let (rules, schedule) = ([rule("a", Some(100)), rule("b", Some(300))], WarmSchedule::default());
        assert_eq!(schedule.look(&[], &[], at(0)), ScheduleLook::Never);
        assert_eq!(schedule.look(&rules, NONE, at(0)), ScheduleLook::Due(0));
        schedule.begin(&rules[0], at(0));
        assert_eq!(schedule.look(&rules, NONE, at(1)), ScheduleLook::Due(1));
        schedule.begin(&rules[1], at(1));
        assert_eq!(schedule.look(&rules, NONE, at(60)), ScheduleLook::In(Duration::from_secs(40)));
        assert_eq!(schedule.look(&rules, NONE, at(100)), ScheduleLook::Due(0));
        // Both are due, and the second one has waited longer.
        schedule.begin(&rules[0], at(250));
        assert_eq!(schedule.look(&rules, NONE, at(400)), ScheduleLook::Due(1));
    }

    #[test]
    fn a_rule_that_was_changed_is_due_at_once_and_one_that_is_gone_is_forgotten() {
        let (old, new, schedule) = (rule("a", Some(100)), rule("a", Some(50)), WarmSchedule::default());
        schedule.begin(&old, at(0));
        assert_eq!(schedule.look(std::slice::from_ref(&new), NONE, at(0)), ScheduleLook::Due(0));
        assert_eq!(schedule.known().len(), 1);
    }

    #[test]
    fn a_rule_of_the_calendar_waits_for_its_next_time_and_not_for_those_before_the_start() {
        let rules = [rule("a", None)];
        let timetable: [Option<Arc<dyn Timetable>>; 1] = [Some(Arc::new(At(&[9_000, 10_050, 10_100, 10_150])))];
        let schedule = WarmSchedule::default();
        let left = |seconds| ScheduleLook::In(Duration::from_secs(seconds));
        assert_eq!(schedule.look(&rules, &timetable, at(0)), left(50));
        assert_eq!(schedule.look(&rules, &timetable, at(49)), left(1));
        assert_eq!(schedule.look(&rules, &timetable, at(50)), ScheduleLook::Due(0));
        schedule.begin(&rules[0], at(50));
        assert_eq!(schedule.look(&rules, &timetable, at(50)), left(50));
        // Others were fetched meanwhile, or the machine slept: two times have passed, and are made up for by one.
        assert_eq!(schedule.look(&rules, &timetable, at(160)), ScheduleLook::Due(0));
        schedule.begin(&rules[0], at(160));
        assert_eq!(schedule.look(&rules, &timetable, at(160)), ScheduleLook::Never);
    }

    #[test]
    fn of_rules_that_are_due_the_one_that_waits_the_longest_begins() {
        let rules = [rule("a", Some(100)), rule("b", None)];
        let timetables: [Option<Arc<dyn Timetable>>; 2] = [None, Some(Arc::new(At(&[10_150, 10_250])))];
        let schedule = WarmSchedule::default();
        schedule.look(&rules, &timetables, at(0));
        schedule.begin(&rules[0], at(60));
        // At 160 and 150.
        assert_eq!(schedule.look(&rules, &timetables, at(155)), ScheduleLook::Due(1));
        assert_eq!(schedule.look(&rules, &timetables, at(170)), ScheduleLook::Due(1));
        schedule.begin(&rules[1], at(170));
        assert_eq!(schedule.look(&rules, &timetables, at(170)), ScheduleLook::Due(0));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_a_rule_from_its_next_time() {
        let rules = [rule("a", None)];
        let timetable: [Option<Arc<dyn Timetable>>; 1] = [Some(Arc::new(At(&[5_100, 10_100])))];
        let schedule = WarmSchedule::default();
        schedule.begin(&rules[0], at(50));
        let back = |seconds: u64| ScheduleTime { unix_seconds: 5_000 + seconds, ..at(100 + seconds) };
        assert_eq!(schedule.look(&rules, &timetable, back(0)), ScheduleLook::In(Duration::from_secs(100)));
        assert_eq!(schedule.look(&rules, &timetable, back(100)), ScheduleLook::Due(0));
    }

    #[test]
    fn a_rule_whose_timetable_this_platform_has_not_is_never_due() {
        assert_eq!(WarmSchedule::default().look(&[rule("a", None)], &[], at(0)), ScheduleLook::Never);
    }
}
