//! Counts the writes that are pending and that no client waits for, so that a process can end, or a platform freeze it,
//! after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_listener::Event;

/// How many writes are pending, and who waits for them.
#[derive(Default)]
pub(super) struct PendingWrites {
    count: AtomicUsize,
    ended: Event,
}

/// A write that is pending until this is dropped.
pub(crate) struct PendingGuard(Arc<PendingWrites>);

impl PendingWrites {
    pub(super) fn begin(self: &Arc<Self>) -> PendingGuard {
        self.count.fetch_add(1, Ordering::Relaxed);
        PendingGuard(Arc::clone(self))
    }

    /// Waits until none is pending.
    pub(super) async fn flushed(&self) {
        loop {
            let listener = self.ended.listen();
            if self.count.load(Ordering::Relaxed) == 0 {
                return;
            }
            listener.await;
        }
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.ended.notify(usize::MAX);
    }
}
