//! How long a client may send no request, and how long it may take no bytes of a response.
//!
//! On HTTP/1.1 a client that takes nothing blocks the socket. On HTTP/2 it can answer pings and never open its window; only the
//! stream shows that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use registry_proxy_core::body::{Held, InFlight};
use tokio::time::{Instant, sleep};

use crate::connection_limits::{HEALTH, SlotStatus};

/// Stall timeout while memory is scarce, for clients that hold some of it.
const SCARCE: Duration = Duration::from_secs(10);
/// A client that takes this many bytes within [`SCARCE`] is not stalled.
pub(super) const PACE_BYTES: usize = 64 << 10;

/// Timeouts of one connection.
pub(super) struct IdleTimeouts {
    /// `timeouts.client_stall`
    stall: Duration,
    in_flight: Arc<InFlight>,
    slot_status: Arc<SlotStatus>,
    activity: Arc<Activity>,
    /// Chunks in memory for this client.
    pieces: AtomicUsize,
    /// A write waits for the disk.
    waits_for_disk: AtomicBool,
}

/// How long a write has been waiting for its client.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitTime {
    /// Since the client last took a byte.
    nothing: Duration,
    /// Waiting time since the client last took [`PACE_BYTES`].
    behind: Duration,
    holds: Holds,
}

/// What is in memory for a client while a write waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing.
    Nothing,
    /// Bytes that count (`limits.in_flight`).
    Bytes,
}

impl IdleTimeouts {
    pub(super) fn new(stall: Duration, in_flight: &Arc<InFlight>, slot_status: Arc<SlotStatus>) -> Arc<Self> {
        Arc::new(Self {
            stall,
            in_flight: Arc::clone(in_flight),
            slot_status,
            activity: Activity::new(),
            pieces: AtomicUsize::new(0),
            waits_for_disk: AtomicBool::new(false),
        })
    }

    pub(super) fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Counts a chunk that was read for this client.
    pub(super) fn count(self: &Arc<Self>, bytes: u64) -> Counted {
        Counted::new(self, Some(self.in_flight.count(bytes)))
    }

    /// A chunk whose memory was counted where it was read.
    pub(super) fn already_counted(self: &Arc<Self>) -> Counted {
        Counted::new(self, None)
    }

    /// Whether anything is in memory for the connection.
    pub(super) fn holds(&self) -> Holds {
        match self.pieces.load(Ordering::Relaxed) {
            0 => Holds::Nothing,
            _ => Holds::Bytes,
        }
    }

    pub(super) fn set_waits_for_disk(&self, waits: bool) {
        self.waits_for_disk.store(waits, Ordering::Relaxed);
    }

    /// Whether a write waits for the disk, and not for the client.
    pub(super) fn waits_for_disk(&self) -> bool {
        self.waits_for_disk.load(Ordering::Relaxed)
    }

    fn stall(&self) -> Duration {
        if self.slot_status.is_ordinary() { self.stall } else { self.stall.min(HEALTH) }
    }

    /// Whether a client has stalled for too long. The shorter timeout applies only to clients that hold memory.
    pub(super) fn has_stalled(&self, waited: WaitTime) -> bool {
        let is_in_the_way = waited.holds == Holds::Bytes && waited.behind >= SCARCE;
        waited.nothing >= self.stall() || (is_in_the_way && self.in_flight.is_scarce())
    }

    /// When to check again, if it has not.
    pub(super) fn next_check(&self, waited: WaitTime) -> Duration {
        let scarce = Some(SCARCE.saturating_sub(waited.behind)).filter(|left| !left.is_zero()).unwrap_or(SCARCE);
        self.stall().saturating_sub(waited.nothing).min(scarce)
    }

    #[cfg(test)]
    pub(super) fn of_test() -> Arc<Self> {
        Self::new(Duration::from_mins(1), &InFlight::new(1 << 20, true), SlotStatus::ordinary())
    }
}

impl WaitTime {
    pub(super) fn new(nothing: Duration, behind: Duration, holds: Holds) -> Self {
        Self { nothing, behind, holds }
    }
}

/// Counts a chunk in memory until it is dropped.
pub(super) struct Counted {
    timeouts: Arc<IdleTimeouts>,
    _held: Option<Held>,
}

impl Counted {
    fn new(timeouts: &Arc<IdleTimeouts>, held: Option<Held>) -> Self {
        timeouts.pieces.fetch_add(1, Ordering::Relaxed);
        Self { timeouts: Arc::clone(timeouts), _held: held }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.timeouts.pieces.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts the active requests of a connection, and notes when the last one ended.
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

    /// Marks the connection active until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> ActivityGuard {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        ActivityGuard(Arc::clone(self))
    }

    /// Returns when the connection has been idle for the limit, counted from this call at the earliest. The limit is read again
    /// each time, since the connection may get an ordinary slot.
    pub(super) async fn idle(&self, limit: impl Fn() -> Duration) {
        let mut wait = limit();
        while !wait.is_zero() {
            sleep(wait).await;
            wait = match self.under_way.load(Ordering::Relaxed) {
                0 => limit().saturating_sub(self.ended.age().unwrap_or_default()),
                _ => limit(),
            };
        }
    }
}

/// An active request, from its head to the end of its response; or a write that waits for the client.
pub(super) struct ActivityGuard(Arc<Activity>);

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        self.0.ended.set();
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A moment that several tasks may set, clear and read.
struct Stamp {
    origin: Instant,
    /// Milliseconds since `origin` plus one; 0: not set.
    millis: AtomicU64,
}

impl Stamp {
    fn new() -> Self {
        Self { origin: Instant::now(), millis: AtomicU64::new(0) }
    }

    fn set(&self) {
        let millis = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.millis.store(millis + 1, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.millis.store(0, Ordering::Relaxed);
    }

    /// The time since the moment, if it is set.
    fn age(&self) -> Option<Duration> {
        let millis = self.millis.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.origin.elapsed().saturating_sub(Duration::from_millis(millis)))
    }
}

/// Since when a stream has been waiting for its client, if it is, and whether it holds memory.
pub(super) struct StreamWait {
    since: Stamp,
    holds_bytes: AtomicBool,
}

impl StreamWait {
    pub(super) fn new() -> Self {
        Self { since: Stamp::new(), holds_bytes: AtomicBool::new(false) }
    }

    /// Starts the wait, or starts it again.
    pub(super) fn begin(&self, holds: Holds) {
        self.holds_bytes.store(holds == Holds::Bytes, Ordering::Relaxed);
        self.since.set();
    }

    pub(super) fn end(&self) {
        self.since.clear();
    }

    /// Returns when the wait has exceeded its timeout.
    pub(super) async fn stalled(&self, timeouts: &IdleTimeouts) {
        let mut waited = WaitTime::new(Duration::ZERO, Duration::ZERO, Holds::Nothing);
        loop {
            sleep(timeouts.next_check(waited)).await;
            let age = self.since.age();
            let holds = if self.holds_bytes.load(Ordering::Relaxed) { Holds::Bytes } else { Holds::Nothing };
            waited = WaitTime::new(age.unwrap_or_default(), age.unwrap_or_default(), holds);
            if age.is_some() && timeouts.has_stalled(waited) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const STALL: Duration = Duration::from_mins(1);
    const PIECE_BYTES: u64 = 64 << 10;

    fn timeouts() -> Arc<IdleTimeouts> {
        IdleTimeouts::new(STALL, &InFlight::new(PIECE_BYTES, true), SlotStatus::ordinary())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_stalled_when_its_client_takes_nothing_and_not_when_nothing_comes() {
        let (waiting, timeouts) = (StreamWait::new(), timeouts());
        assert!(timeout(STALL * 5, waiting.stalled(&timeouts)).await.is_err(), "nothing waits for the client");
        let begun = Instant::now();
        let later = async {
            sleep(Duration::from_secs(7)).await;
            waiting.begin(Holds::Nothing);
        };
        tokio::join!(waiting.stalled(&timeouts), later);
        assert_eq!(begun.elapsed().as_secs(), 67, "from when the piece was there");
    }

    #[tokio::test(start_paused = true)]
    async fn while_memory_is_scarce_a_client_that_takes_nothing_is_dropped_sooner() {
        let (waiting, timeouts) = (StreamWait::new(), timeouts());
        let held = timeouts.in_flight().count(2 * PIECE_BYTES);
        let begun = Instant::now();
        waiting.begin(Holds::Bytes);
        waiting.stalled(&timeouts).await;
        assert_eq!(begun.elapsed().as_secs(), 10);
        let begun = Instant::now();
        waiting.begin(Holds::Nothing);
        waiting.stalled(&timeouts).await;
        assert_eq!(begun.elapsed().as_secs(), 60, "it has nothing that others could have");
        drop(held);
        let begun = Instant::now();
        waiting.begin(Holds::Bytes);
        waiting.stalled(&timeouts).await;
        assert_eq!(begun.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_the_end_of_its_last_request() {
        const IDLE: Duration = Duration::from_secs(10);
        let activity = Activity::new();
        let request = activity.begin();
        assert!(timeout(IDLE * 5, activity.idle(|| IDLE)).await.is_err(), "one is under way");
        drop(request);
        let begun = Instant::now();
        let later = async {
            sleep(Duration::from_secs(9)).await;
            drop(activity.begin());
        };
        tokio::join!(activity.idle(|| IDLE), later);
        assert_eq!(begun.elapsed().as_secs(), 19);
    }
}
