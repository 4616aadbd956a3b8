//! Tokio's clock, which stands still while anything can run and then jumps to the next timer.

use std::time::Duration;

use futures_util::future::BoxFuture;
use registry_proxy_core::platform::{Clock, Moment, Sleep, Tasks};
use tokio::time::Instant;

/// Seconds since 1970 when a test begins.
pub(crate) const EPOCH: u64 = 1_700_000_000;

pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        Moment(self.0.elapsed())
    }

    fn unix_seconds(&self) -> u64 {
        EPOCH + self.0.elapsed().as_secs()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Tasks of tokio's.
pub(crate) struct TokioTasks;

impl Tasks for TokioTasks {
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        tokio::spawn(work);
    }
}
