//! When the rules of `[[warm]]` are due: at the start, and then again and again. Nothing of it outlives the process, since
//! what is cached costs next to nothing.

use std::sync::PoisonError;
use std::time::Duration;

use crate::config::WarmRule;
use crate::platform::Moment;
use crate::sync::{Mutex, MutexGuard};

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

/// When each rule began last.
#[derive(Default)]
pub(crate) struct WarmSchedule {
    begun: Mutex<Vec<(WarmRule, Moment)>>,
}

impl WarmSchedule {
    /// Which rule is due: of several the one that waits the longest.
    pub(crate) fn look(&self, rules: &[WarmRule], now: Moment) -> ScheduleLook {
        let begun = self.begun();
        let due = |rule: &WarmRule| {
            let begun = begun.iter().find(|(known, _)| known == rule);
            begun.map_or(Moment::default(), |(_, begun)| begun.after(rule.every.0))
        };
        match rules.iter().enumerate().map(|(at, rule)| (due(rule), at)).min() {
            Some((due, at)) if due <= now => ScheduleLook::Due(at),
            Some((due, _)) => ScheduleLook::In(due.since(now)),
            None => ScheduleLook::Never,
        }
    }

    /// A rule begins now. What is not configured any more is forgotten.
    pub(crate) fn begin(&self, rules: &[WarmRule], rule: &WarmRule, now: Moment) {
        let mut begun = self.begun();
        begun.retain(|(known, _)| known != rule && rules.contains(known));
        begun.push((rule.clone(), now));
    }

    fn begun(&self) -> MutexGuard<'_, Vec<(WarmRule, Moment)>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    fn rule(image: &str, seconds: u64) -> WarmRule {
        let images = vec![image.to_owned()];
        WarmRule { images, every: Span::seconds(seconds), platforms: vec![], newest: 3, keep: false }
    }

    #[test]
    fn each_rule_is_due_at_the_start_and_then_after_its_time() {
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let (rules, schedule) = ([rule("a", 100), rule("b", 300)], WarmSchedule::default());
        assert_eq!(schedule.look(&[], at(0)), ScheduleLook::Never);
        assert_eq!(schedule.look(&rules, at(0)), ScheduleLook::Due(0));
        schedule.begin(&rules, &rules[0], at(0));
        assert_eq!(schedule.look(&rules, at(1)), ScheduleLook::Due(1));
        schedule.begin(&rules, &rules[1], at(1));
        assert_eq!(schedule.look(&rules, at(60)), ScheduleLook::In(Duration::from_secs(40)));
        assert_eq!(schedule.look(&rules, at(100)), ScheduleLook::Due(0));
        // Both are due, and the second one has waited longer.
        schedule.begin(&rules, &rules[0], at(250));
        assert_eq!(schedule.look(&rules, at(400)), ScheduleLook::Due(1));
    }

    #[test]
    fn a_rule_that_was_changed_is_due_at_once_and_one_that_is_gone_is_forgotten() {
        let (old, new, schedule) = (rule("a", 100), rule("a", 50), WarmSchedule::default());
        schedule.begin(std::slice::from_ref(&old), &old, Moment::default());
        assert_eq!(schedule.look(std::slice::from_ref(&new), Moment::default()), ScheduleLook::Due(0));
        schedule.begin(std::slice::from_ref(&new), &new, Moment::default());
        assert_eq!(schedule.begun().len(), 1);
    }
}
