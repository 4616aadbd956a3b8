//! Bytes of answers that are in memory until a client has taken them, all clients together: one account with a bound.
//!
//! A whole answer (a manifest, a list) waits for room before it is read. What passes in pieces never waits here: it is
//! counted, and whoever sends pieces reads fewer of them while there are too many.

use std::sync::Arc;

use bytes::Bytes;

use crate::sync::Event;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Up to this length a whole answer may use what is kept free for the small ones, so that it waits for no large one.
const SMALL_BYTES: u64 = 64 << 10;

/// The account.
pub struct InFlight {
    most_bytes: u64,
    /// Whether one request may wait for another.
    waits: bool,
    held_bytes: AtomicU64,
    waiting: AtomicUsize,
    freed: Event,
}

impl InFlight {
    /// An empty one. `most_bytes`: `limits.in_flight`. Where no request may wait for another (`Limits::shares_io`), it only
    /// counts: there the platform bounds a request's memory.
    pub fn new(most_bytes: u64, waits: bool) -> Arc<Self> {
        Arc::new(Self {
            most_bytes,
            waits,
            held_bytes: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            freed: Event::new(),
        })
    }

    /// Bytes held now.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Whether more is held than should be, or an answer waits for room: then whoever takes nothing makes way.
    pub fn is_scarce(&self) -> bool {
        self.held_bytes() > self.most_bytes || self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Counts so many bytes, whatever else there is.
    pub fn count(self: &Arc<Self>, bytes: u64) -> Held {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        Held { account: Arc::clone(self), bytes }
    }

    /// Counts so many bytes once there is room for them. What is larger than all the room there is goes alone. The
    /// caller has a deadline.
    pub async fn take(self: &Arc<Self>, bytes: u64) -> Held {
        if !self.waits {
            return self.count(bytes);
        }
        if let Some(held) = self.try_take(bytes) {
            return held;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(self);
        loop {
            let freed = self.freed.listen();
            if let Some(held) = self.try_take(bytes) {
                return held;
            }
            freed.await;
        }
    }

    fn try_take(self: &Arc<Self>, bytes: u64) -> Option<Held> {
        let room = if bytes <= SMALL_BYTES { self.most_bytes + self.most_bytes / 2 } else { self.most_bytes };
        let fits = |held: u64| (held == 0 || held.saturating_add(bytes) <= room).then_some(held + bytes);
        let taken = self.held_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        taken.ok().map(|_| Held { account: Arc::clone(self), bytes })
    }
}

/// Who waits for room.
struct Waiting<'a>(&'a InFlight);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that are counted until this is dropped.
pub struct Held {
    account: Arc<InFlight>,
    bytes: u64,
}

impl Held {
    /// These bytes, counted as long as any of them is in use.
    pub(crate) fn hold(mut self, bytes: Bytes) -> Bytes {
        let length = bytes.len() as u64;
        if length < self.bytes {
            self.give_back(self.bytes - length);
        }
        Bytes::from_owner(Owned { bytes, _held: self })
    }

    fn give_back(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.account.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.account.freed.notify(usize::MAX);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

struct Owned {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_whole_answer_waits_for_room_and_a_small_one_waits_for_no_large_one() {
        let account = InFlight::new(4 * MIB, true);
        let first = account.take(3 * MIB).now_or_never().expect("there is room");
        let mut second = Box::pin(account.take(2 * MIB));
        assert!(second.as_mut().now_or_never().is_none(), "three and two are more than four");
        assert!(account.is_scarce(), "somebody waits");
        let small = account.take(SMALL_BYTES).now_or_never();
        assert!(small.is_some(), "a small one");
        drop(first);
        let held = second.now_or_never().expect("there is room again");
        assert!(!account.is_scarce());
        drop((held, small));
        assert_eq!(account.held_bytes(), 0);
    }

    #[test]
    fn where_no_request_may_wait_for_another_none_does() {
        let account = InFlight::new(MIB, false);
        let held: Vec<_> = (0..3).map(|_| account.take(MIB).now_or_never().expect("no wait")).collect();
        assert!(account.is_scarce());
        drop(held);
        assert_eq!(account.held_bytes(), 0);
    }

    #[test]
    fn what_is_larger_than_all_the_room_goes_alone() {
        let account = InFlight::new(MIB, true);
        let large = account.take(8 * MIB).now_or_never().expect("nothing else is there");
        assert!(account.take(1).now_or_never().is_none(), "not beside it");
        drop(large);
        assert!(account.take(1).now_or_never().is_some());
    }

    #[test]
    fn bytes_are_counted_until_the_last_of_them_is_dropped_and_only_as_many_as_there_are() {
        let account = InFlight::new(MIB, true);
        let held = account.take(MIB).now_or_never().expect("there is room");
        let bytes = held.hold(Bytes::from_static(b"a manifest"));
        assert_eq!(account.held_bytes(), 10);
        let part = bytes.slice(2..5);
        drop(bytes);
        assert_eq!((account.held_bytes(), &part[..]), (10, &b"man"[..]));
        drop(part);
        assert_eq!(account.held_bytes(), 0);
    }

    #[test]
    fn pieces_never_wait_and_make_it_scarce() {
        let account = InFlight::new(MIB, true);
        let pieces: Vec<Held> = (0..5).map(|_| account.count(MIB / 4)).collect();
        assert!(account.is_scarce());
        drop(pieces);
        assert!(!account.is_scarce());
    }
}
