//! Whether something is said again: not while the same thing was said a moment ago, and not when too many of a kind were
//! said within an hour.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;

use super::kind::{EventKind, HOUR};

/// Things that are remembered as said.
const MAX_REMEMBERED: usize = 1024;

/// What was said lately.
pub(super) struct Repeats {
    /// When each was said, on the clock that never goes back.
    said: Cache<u64, Duration>,
    /// Of each kind: the beginning of its hour, and how many were said in it.
    hours: Mutex<[(Duration, u32); EventKind::ALL.len()]>,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { said: Cache::new(MAX_REMEMBERED), hours: Mutex::default() }
    }
}

impl Repeats {
    /// Whether it is said now; then it counts as said.
    pub(super) fn is_new(&self, kind: EventKind, identity: &str, now: Duration) -> bool {
        let mut hasher = DefaultHasher::new();
        (kind, identity).hash(&mut hasher);
        let key = hasher.finish();
        // Under the lock, so that of several at once one is said.
        let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
        let is_repeated = self.said.get(&key).is_some_and(|said| now < said.saturating_add(kind.pause()));
        let Some((began, count)) = hours.get_mut(kind as usize) else { return false };
        if *count == 0 || now >= began.saturating_add(HOUR) {
            (*began, *count) = (now, 0);
        }
        if is_repeated || *count >= kind.most_an_hour() {
            return false;
        }
        *count += 1;
        self.said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_same_thing_is_said_once_for_a_while() {
        let repeats = Repeats::default();
        assert!(repeats.is_new(EventKind::TagMoved, "a:1", at(0)));
        assert!(!repeats.is_new(EventKind::TagMoved, "a:1", at(59)));
        assert!(repeats.is_new(EventKind::TagMoved, "b:1", at(59)), "another thing");
        assert!(repeats.is_new(EventKind::Corrupt, "a:1", at(59)), "another kind");
        assert!(repeats.is_new(EventKind::TagMoved, "a:1", at(60)));
        for second in 61..63 {
            assert!(repeats.is_new(EventKind::UpstreamDown, "docker.io", at(second)), "told apart elsewhere");
        }
    }

    #[test]
    fn what_clients_can_cause_is_said_a_hundred_times_an_hour_at_most() {
        let repeats = Repeats::default();
        let say = |first: u32, now| {
            (first..first + 150).filter(|n| repeats.is_new(EventKind::Refused, &format!("a/{n}"), now)).count()
        };
        assert_eq!(say(0, at(5)), 100);
        assert_eq!(say(1000, at(3604)), 0);
        assert!(repeats.is_new(EventKind::TagMoved, "a:1", at(10)), "other kinds are still said");
        assert_eq!(say(2000, at(3605)), 100, "and in the next hour");
    }

    #[test]
    fn each_kind_has_its_own_place() {
        for (at, kind) in EventKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at, "{kind:?}");
        }
    }
}
