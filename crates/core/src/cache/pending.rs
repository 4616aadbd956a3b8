//! What is on its way into the store and no client waits for, so that a process can end, or a platform freeze, behind it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Cache;
use crate::platform::within;

/// Something on its way into the store.
pub(crate) struct PendingGuard(Arc<Cache>);

impl Cache {
    /// Held while something is on its way into the store that no client waits for.
    pub(crate) fn begin_write(self: &Arc<Self>) -> PendingGuard {
        self.pending_writes.0.fetch_add(1, Ordering::Relaxed);
        PendingGuard(Arc::clone(self))
    }

    /// Waits until what is on its way into the store is there, or for `limit`; whether it is.
    pub(crate) async fn flush(&self, limit: Duration) -> bool {
        let settled = async {
            loop {
                let listener = self.pending_writes.1.listen();
                if self.pending_writes.0.load(Ordering::Relaxed) == 0 {
                    return;
                }
                listener.await;
            }
        };
        // What takes longer is fetched again.
        within(&*self.clock, limit, settled).await.is_ok()
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.0.pending_writes.0.fetch_sub(1, Ordering::Relaxed);
        self.0.pending_writes.1.notify(usize::MAX);
    }
}
