//! The locks and events of what requests share: std's and `event_listener`'s. Where interleavings are explored (feature
//! `shuttle`, unit tests only) another task may have its turn wherever one is used.

#[cfg(not(all(test, feature = "shuttle")))]
pub(crate) use event_listener::Event;
#[cfg(not(all(test, feature = "shuttle")))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(all(test, feature = "shuttle"))]
pub(crate) use self::explored::Event;
#[cfg(all(test, feature = "shuttle"))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};

#[cfg(all(test, feature = "shuttle"))]
mod explored {
    use event_listener::EventListener;
    use shuttle::sync::atomic::{AtomicBool, Ordering};

    /// The product's own event. Others have a turn before somebody listens and before somebody is notified; both are
    /// one step, as they promise.
    #[derive(Default)]
    pub(crate) struct Event {
        inner: event_listener::Event,
        turn: AtomicBool,
    }

    impl Event {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn listen(&self) -> EventListener {
            self.turn.load(Ordering::Relaxed);
            self.inner.listen()
        }

        pub(crate) fn notify(&self, count: usize) -> usize {
            self.turn.load(Ordering::Relaxed);
            self.inner.notify(count)
        }
    }
}
