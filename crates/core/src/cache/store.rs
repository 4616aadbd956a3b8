//! Asking the store: within a deadline, and not at all for a while where it fails.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Cache, DEADLINE, millis};
use crate::platform::{StoreError, within};
use crate::telemetry;

/// How long a store that failed is left alone.
const REST: Duration = Duration::from_secs(5);

impl Cache {
    /// Says that the store failed, and leaves it alone for a while.
    pub(crate) fn failed(&self, what: &'static str, error: &StoreError) {
        telemetry::store_failed(what, error.why());
        if matches!(error, StoreError::Full) {
            self.room.lacks(1);
        }
        // What lacks is room, or a right: reading goes on.
        if matches!(error, StoreError::TimedOut | StoreError::Failed(_)) {
            self.rests_until.store(millis(self.clock.now().after(REST)), Ordering::Relaxed);
        }
        tracing::warn!(
            what,
            error = std::error::Error::source(error).map(tracing::field::display),
            "{error}; going on without it"
        );
    }

    /// Asks the store, within a deadline. `None`: it failed, or failed a moment ago.
    pub(super) async fn ask<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        if self.rests() {
            return None;
        }
        let answer = within(&*self.clock, DEADLINE, answer).await.unwrap_or(Err(StoreError::TimedOut));
        answer.map_err(|error| self.failed(what, &error)).ok()
    }

    /// Asks for what is only a help: where it fails, the store is asked for everything else all the same. `None`: it
    /// failed at something else a moment ago.
    pub(super) async fn ask_quietly<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Option<T>, StoreError> {
        if self.rests() {
            return Ok(None);
        }
        let answer = within(&*self.clock, DEADLINE, answer).await.unwrap_or(Err(StoreError::TimedOut));
        answer.map(Some).inspect_err(|error| telemetry::store_failed(what, error.why()))
    }

    fn rests(&self) -> bool {
        millis(self.clock.now()) < self.rests_until.load(Ordering::Relaxed)
    }
}
