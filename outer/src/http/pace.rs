//! A rate at which bytes pass, shared by all who take turns at it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much of what could have passed before may be made up for.
const MOST_LATE: Duration = Duration::from_millis(50);

/// The rate.
pub struct Pace {
    bytes_per_second: u64,
    next: Mutex<Instant>,
}

impl Pace {
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, next: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes may pass.
    pub async fn turn(&self, bytes: u64) {
        tokio::time::sleep_until(self.when(bytes).into()).await;
    }

    fn when(&self, bytes: u64) -> Instant {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(now.checked_sub(MOST_LATE).unwrap_or(now));
        *next = turn + Duration::from_micros(bytes * 1_000_000 / self.bytes_per_second);
        turn
    }
}
