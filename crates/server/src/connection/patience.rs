//! How long a client may ask nothing, and how long it may take nothing of what is there for it.
//!
//! On HTTP/1.1 a client that takes nothing stops the socket. On HTTP/2 it can go on answering pings and never open its
//! window: then only the stream shows that nothing is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use registry_proxy_core::body::InFlight;
use tokio::time::{Instant, sleep};

/// How long a client may take nothing while memory is scarce, as others wait for what it holds.
const SCARCE: Duration = Duration::from_secs(10);

/// How long clients may take nothing.
pub(super) struct Patience {
    /// `timeouts.client_stall`
    stall: Duration,
    in_flight: Arc<InFlight>,
}

impl Patience {
    pub(super) fn new(stall: Duration, in_flight: &Arc<InFlight>) -> Arc<Self> {
        Arc::new(Self { stall, in_flight: Arc::clone(in_flight) })
    }

    pub(super) fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    /// Whether it has an end for who has taken nothing for so long.
    pub(super) fn is_over(&self, waited: Duration) -> bool {
        waited >= self.stall || (waited >= SCARCE && self.in_flight.is_scarce())
    }

    /// When to look again, if it has none yet.
    pub(super) fn look_after(&self, waited: Duration) -> Duration {
        match SCARCE.checked_sub(waited) {
            Some(left) if !left.is_zero() => left.min(self.stall),
            _ => self.stall.saturating_sub(waited).min(SCARCE),
        }
    }
}

/// The requests under way on a connection, and when the last one ended.
pub(super) struct Activity {
    under_way: AtomicUsize,
    ended: Stamp,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let ended = Stamp::new();
        ended.set();
        Arc::new(Self { under_way: AtomicUsize::new(0), ended })
    }

    /// A request begins; it ends when this is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Returns once nothing has been under way for so long, and not sooner than after so long.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut wait = limit;
        while !wait.is_zero() {
            sleep(wait).await;
            wait = match self.under_way.load(Ordering::Relaxed) {
                0 => limit.saturating_sub(self.ended.age().unwrap_or_default()),
                _ => limit,
            };
        }
    }
}

/// A request, from its head to the end of its answer.
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.ended.set();
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A point in time that several may set and read, or none.
pub(super) struct Stamp {
    origin: Instant,
    /// Milliseconds since then, and one more; 0 for none.
    millis: AtomicU64,
}

impl Stamp {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), millis: AtomicU64::new(0) }
    }

    pub(super) fn set(&self) {
        let millis = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.millis.store(millis + 1, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.millis.store(0, Ordering::Relaxed);
    }

    /// How long ago it was.
    fn age(&self) -> Option<Duration> {
        let millis = self.millis.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.origin.elapsed().saturating_sub(Duration::from_millis(millis)))
    }

    /// Returns once it is older than patience allows.
    pub(super) async fn stalled(&self, patience: &Patience) {
        let mut look = patience.look_after(Duration::ZERO);
        loop {
            sleep(look).await;
            look = match self.age() {
                Some(age) if patience.is_over(age) => return,
                age => patience.look_after(age.unwrap_or_default()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const STALL: Duration = Duration::from_mins(1);
    const PIECE_BYTES: u64 = 64 << 10;

    fn patience() -> Arc<Patience> {
        Patience::new(STALL, &InFlight::new(PIECE_BYTES, true))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_stalled_when_its_client_takes_nothing_and_not_when_nothing_comes() {
        let (stamp, patience) = (Stamp::new(), patience());
        assert!(timeout(STALL * 5, stamp.stalled(&patience)).await.is_err(), "nothing waits for the client");
        let begun = Instant::now();
        let later = async {
            sleep(Duration::from_secs(7)).await;
            stamp.set();
        };
        tokio::join!(stamp.stalled(&patience), later);
        assert_eq!(begun.elapsed().as_secs(), 67, "from when the piece was there");
    }

    #[tokio::test(start_paused = true)]
    async fn while_memory_is_scarce_a_client_that_takes_nothing_is_dropped_sooner() {
        let (stamp, patience) = (Stamp::new(), patience());
        stamp.set();
        let begun = Instant::now();
        let held = patience.in_flight().count(2 * PIECE_BYTES);
        stamp.stalled(&patience).await;
        assert_eq!(begun.elapsed().as_secs(), 10);
        drop(held);
        stamp.stalled(&patience).await;
        assert_eq!(begun.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_the_end_of_its_last_request() {
        const IDLE: Duration = Duration::from_secs(10);
        let activity = Activity::new();
        let request = activity.begin();
        assert!(timeout(IDLE * 5, activity.idle(IDLE)).await.is_err(), "one is under way");
        drop(request);
        let begun = Instant::now();
        let later = async {
            sleep(Duration::from_secs(9)).await;
            drop(activity.begin());
        };
        tokio::join!(activity.idle(IDLE), later);
        assert_eq!(begun.elapsed().as_secs(), 19);
    }
}
