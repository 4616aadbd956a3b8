//! Time, tasks and randomness, on tokio and the operating system.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use registry_proxy_core::platform::{Clock, Entropy, Moment, Sleep, Tasks};

/// Origin of all moments. It outlives reloads, since a new proxy takes over moments from the old one.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The machine's clocks.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment(START.elapsed())
    }

    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The operating system's randomness.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        let provider = rustls::crypto::ring::default_provider();
        // Without randomness there are no keys, so the process must not continue.
        assert!(provider.secure_random.fill(buffer).is_ok(), "the operating system gives no randomness");
    }
}

/// Tasks on the runtime that runs the request: a fill lives on the thread of the client that began it.
pub(crate) struct TokioTasks;

impl Tasks for TokioTasks {
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        tokio::spawn(work);
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        // Work that panicked has left no result, which the caller sees.
        Box::pin(tokio::task::spawn_blocking(work).map(drop))
    }
}
