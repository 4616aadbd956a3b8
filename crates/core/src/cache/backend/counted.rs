//! Bytes in memory that fills have read and the store does not have yet, of all fills together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One party's bytes. They leave the sum when this is dropped.
pub(crate) struct CountedBytes {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl CountedBytes {
    /// No bytes yet.
    pub(crate) fn new(all: &Arc<AtomicUsize>) -> Self {
        Self { all: Arc::clone(all), own: 0 }
    }

    /// Counts more bytes.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.own += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Hands its bytes on to another count.
    pub(crate) fn take(&mut self) -> Self {
        Self { all: Arc::clone(&self.all), own: std::mem::take(&mut self.own) }
    }

    /// Its own bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.own
    }

    /// Those of all parties.
    pub(crate) fn of_all(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_until_whoever_has_them_lets_go() {
        let all = Arc::default();
        let (mut one, mut other) = (CountedBytes::new(&all), CountedBytes::new(&all));
        one.add(10);
        other.add(5);
        assert_eq!((one.bytes(), one.of_all()), (10, 15));
        let taken = one.take();
        assert_eq!((one.bytes(), taken.bytes(), taken.of_all()), (0, 10, 15));
        drop(one);
        assert_eq!(other.of_all(), 15, "they are the taker's now");
        drop(taken);
        assert_eq!(other.of_all(), 5);
        drop(other);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
