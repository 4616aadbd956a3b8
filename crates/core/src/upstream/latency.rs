//! How quickly an upstream answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The newest response counts for one part in so many.
const WEIGHT: u64 = 8;

/// A moving average of the time until responses begin. Two responses at once may count as one.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// In microseconds; 0: there was no response.
    average: AtomicU64,
}

impl Latency {
    pub(super) fn note(&self, after: Duration) {
        let new = u64::try_from(after.as_micros()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX));
        let average = match self.average.load(Ordering::Relaxed) {
            0 => new,
            before => (before * (WEIGHT - 1) + new) / WEIGHT,
        };
        self.average.store(average.max(1), Ordering::Relaxed);
    }

    /// `None`: there was no response.
    pub(super) fn average(&self) -> Option<Duration> {
        Some(self.average.load(Ordering::Relaxed)).filter(|average| *average > 0).map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_follows_the_latest_responses() {
        let latency = Latency::default();
        assert_eq!(latency.average(), None);
        latency.note(Duration::from_millis(80));
        assert_eq!(latency.average(), Some(Duration::from_millis(80)));
        latency.note(Duration::from_millis(160));
        assert_eq!(latency.average(), Some(Duration::from_millis(90)));
        for _ in 0..100 {
            latency.note(Duration::MAX);
        }
        assert!(latency.average().is_some_and(|average| average > Duration::from_secs(4000)));
    }
}
