//! What is known of the room between two looks at the store, and the word that somebody should look.

use std::sync::atomic::{AtomicU64, Ordering};

use event_listener::{Event, EventListener};

/// Told by those who write, heard by the janitor.
pub(crate) struct Room {
    /// Bytes that have begun to arrive since the last look.
    arrived: AtomicU64,
    /// How many may, before there must be another.
    allowance: AtomicU64,
    /// The largest that found no room since then; 0: nothing.
    wanted: AtomicU64,
    wake: Event,
}

impl Room {
    /// Nobody has looked yet.
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { arrived: zero(), allowance: AtomicU64::new(u64::MAX), wanted: zero(), wake: Event::new() }
    }

    /// So many bytes are on their way into the store.
    pub(crate) fn takes(&self, bytes: u64) {
        let before = self.arrived.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.allowance.load(Ordering::Relaxed) {
            self.wake.notify(usize::MAX);
        }
    }

    /// So many bytes found no room.
    pub(crate) fn lacks(&self, bytes: u64) {
        self.wanted.fetch_max(bytes.max(1), Ordering::Relaxed);
        self.wake.notify(usize::MAX);
    }

    /// Somebody looks now: what was wanted until here.
    pub(crate) fn look(&self) -> u64 {
        self.arrived.store(0, Ordering::Relaxed);
        self.wanted.swap(0, Ordering::Relaxed)
    }

    /// So many bytes may arrive until somebody looks again.
    pub(crate) fn allow(&self, bytes: u64) {
        self.allowance.store(bytes, Ordering::Relaxed);
    }

    /// Whether it is time to look, and if not, who says when.
    pub(crate) fn due(&self) -> Option<EventListener> {
        let listener = self.wake.listen();
        let is_due = self.wanted.load(Ordering::Relaxed) > 0
            || self.arrived.load(Ordering::Relaxed) > self.allowance.load(Ordering::Relaxed);
        (!is_due).then_some(listener)
    }
}
