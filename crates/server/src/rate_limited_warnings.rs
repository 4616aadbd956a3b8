//! Limits a warning that every connection could cause to one a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two warnings.
const EVERY: Duration = Duration::from_mins(1);

/// Allows one warning a minute.
#[derive(Default)]
pub(crate) struct WarningLimiter(Mutex<Option<Instant>>);

impl WarningLimiter {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether to warn now. If so, this counts as the warning.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_at_once_one_is_due() {
        let warning = WarningLimiter::new();
        assert!(warning.is_due());
        assert!(!warning.is_due() && !warning.is_due());
        let long_ago = Instant::now().checked_sub(EVERY);
        *warning.0.lock().unwrap() = long_ago;
        assert!(long_ago.is_none() || warning.is_due());
    }
}
