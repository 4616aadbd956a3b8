//! Runs the same work once for all callers that ask for it at the same time: the first one works, the others get its result.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, OnceLock, PoisonError};

use crate::sync::{Event, Mutex, MutexGuard};

/// Work in progress, by key.
pub(crate) struct SingleFlight<K: Eq + Hash, V> {
    under_way: Mutex<HashMap<K, Arc<Flight<V>>>>,
    shares_io: bool,
}

struct Flight<V> {
    landed: Event,
    value: OnceLock<V>,
}

impl<K: Eq + Hash + Clone, V: Clone> SingleFlight<K, V> {
    /// Without `shares_io` requests may not wait for each other, and each caller works for itself.
    pub(crate) fn new(shares_io: bool) -> Self {
        Self { under_way: Mutex::default(), shares_io }
    }

    /// Returns the result of `work`, or of the same work that another caller began. If that caller is dropped, one of those who
    /// wait takes over.
    pub(crate) async fn join<F>(&self, key: &K, work: impl Fn() -> F) -> V
    where
        F: Future<Output = V>,
    {
        if !self.shares_io {
            return work().await;
        }
        loop {
            let (flight, leads) = match self.under_way().entry(key.clone()) {
                Entry::Occupied(entry) => (Arc::clone(entry.get()), false),
                Entry::Vacant(entry) => {
                    let flight = Arc::new(Flight { landed: Event::new(), value: OnceLock::new() });
                    (Arc::clone(entry.insert(flight)), true)
                }
            };
            if leads {
                let lead = Leader { flights: self, key, flight };
                let value = work().await;
                let _ = lead.flight.value.set(value.clone());
                return value;
            }
            let listener = flight.landed.listen();
            // The work may have ended before this caller listened.
            if self.under_way().get(key).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
                listener.await;
            }
            if let Some(value) = flight.value.get() {
                return value.clone();
            }
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<K, Arc<Flight<V>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the caller that works. Dropping it wakes the others, whatever happened.
struct Leader<'a, K: Eq + Hash + Clone, V: Clone> {
    flights: &'a SingleFlight<K, V>,
    key: &'a K,
    flight: Arc<Flight<V>>,
}

impl<K: Eq + Hash + Clone, V: Clone> Drop for Leader<'_, K, V> {
    fn drop(&mut self) {
        self.flights.under_way().remove(self.key);
        self.flight.landed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use futures_util::future::{join_all, pending};

    use super::*;

    #[tokio::test]
    async fn the_same_work_is_done_once() {
        let (flights, count) = (SingleFlight::new(true), AtomicUsize::new(0));
        let work = || async {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            7
        };
        let values = join_all((0..50).map(|_| flights.join(&"key", work))).await;
        assert_eq!((values, count.load(Ordering::Relaxed)), (vec![7; 50], 1));
        assert_eq!(flights.join(&"key", work).await, 7);
        assert_eq!(count.load(Ordering::Relaxed), 2, "what is over is not remembered");
    }

    #[tokio::test]
    async fn one_who_goes_away_is_replaced() {
        let flights: SingleFlight<&str, u8> = SingleFlight::new(true);
        let mut first = Box::pin(flights.join(&"key", pending));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(flights.join(&"key", || async { 2 }));
        assert!(second.as_mut().now_or_never().is_none(), "it waits for the first");
        drop(first);
        assert_eq!(second.await, 2);
    }

    #[tokio::test]
    async fn where_requests_may_not_wait_each_works() {
        let (flights, count) = (SingleFlight::new(false), AtomicUsize::new(0));
        let work = || async { count.fetch_add(1, Ordering::Relaxed) };
        join_all((0..3).map(|_| flights.join(&"key", work))).await;
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }
}
