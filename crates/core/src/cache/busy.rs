//! What is on its way into the store and no client waits for, so that a process can end, or a platform freeze, behind it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Cache;
use crate::platform::within;

/// Something on its way into the store.
pub(crate) struct Busy(Arc<Cache>);

impl Cache {
    /// Held while something is on its way into the store that no client waits for.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.0.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Waits until what is on its way into the store is there, or for `limit`; whether it is.
    pub(crate) async fn settle(&self, limit: Duration) -> bool {
        let settled = async {
            loop {
                let listener = self.busy.1.listen();
                if self.busy.0.load(Ordering::Relaxed) == 0 {
                    return;
                }
                listener.await;
            }
        };
        // What takes longer is fetched again.
        within(&*self.clock, limit, settled).await.is_ok()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.0.fetch_sub(1, Ordering::Relaxed);
        self.0.busy.1.notify(usize::MAX);
    }
}
