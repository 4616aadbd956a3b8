//! Counts the writes that are pending and that no client waits for, so that a process can end, or a platform freeze it,
//! after them. They are bounded: whoever fetches something new waits while too many are pending, since a store that is slower
//! than its registries would otherwise get all of memory as its queue, and miss its deadlines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_listener::{Event, IntoNotification as _};

/// Most writes that are pending before a fetch has to wait. A disk that takes 10 ms for each record writes eight at once, and so
/// these, of three records each, within a second.
const MAX_PENDING: usize = 256;

/// How many writes are pending, and who waits for them.
#[derive(Default)]
pub(super) struct PendingWrites {
    count: AtomicUsize,
    /// How many wait for room, first come, first served.
    waiting: AtomicUsize,
    has_room: Event,
    ended: Event,
}

/// A write that is pending until this is dropped.
pub(crate) struct PendingGuard(Arc<PendingWrites>);

/// Counts one that waits for room.
struct Waiting<'a>(&'a PendingWrites);

impl<'a> Waiting<'a> {
    fn begin(writes: &'a PendingWrites) -> Self {
        writes.waiting.fetch_add(1, Ordering::SeqCst);
        Self(writes)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl PendingWrites {
    pub(super) fn begin(self: &Arc<Self>) -> PendingGuard {
        self.count.fetch_add(1, Ordering::SeqCst);
        PendingGuard(Arc::clone(self))
    }

    /// A pending write, once there is room for it.
    pub(super) async fn room(self: &Arc<Self>) -> PendingGuard {
        if self.waiting.load(Ordering::SeqCst) == 0
            && let Some(room) = self.take_room()
        {
            return room;
        }
        let _waiting = Waiting::begin(self);
        loop {
            let listener = self.has_room.listen();
            // The last write may have ended in between, and then nobody wakes this one.
            if self.count.load(Ordering::SeqCst) == 0
                && let Some(room) = self.take_room()
            {
                return room;
            }
            listener.await;
            if let Some(room) = self.take_room() {
                return room;
            }
        }
    }

    fn take_room(self: &Arc<Self>) -> Option<PendingGuard> {
        let next = |count: usize| (count < MAX_PENDING).then_some(count + 1);
        let taken = self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok();
        taken.then(|| PendingGuard(Arc::clone(self)))
    }

    /// Waits until none is pending.
    pub(super) async fn flushed(&self) {
        loop {
            let listener = self.ended.listen();
            if self.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            listener.await;
        }
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        let before = self.0.count.fetch_sub(1, Ordering::SeqCst);
        if before == 1 {
            self.0.ended.notify(usize::MAX);
        }
        if before <= MAX_PENDING {
            self.0.has_room.notify(1.additional());
        }
    }
}
