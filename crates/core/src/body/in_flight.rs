//! Bytes of answers that are in memory until a client has taken them, for all clients together: one account with a limit.
//!
//! A whole answer (a manifest, a list) waits for room while it arrives ([`Arriving`]). Bodies that pass in pieces never wait
//! here: their pieces are counted, and a connection reads fewer of them while there are too many. No upstream has more than
//! a quarter of the account for answers that are arriving, and no client for answers that it has not taken yet
//! ([`share::Share`]), so that there is room for the others. The memory tier has a limit of its own; its bytes are counted
//! here once the tier has dropped them while clients still use them ([`TierHandle`]).

mod arrivals;
mod arriving;
mod share;
mod tier;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

pub(crate) use self::arrivals::SMALL_BYTES;
use self::arrivals::{Arrivals, room_for};
pub(crate) use self::arriving::Arriving;
pub(crate) use self::tier::{SharedBytes, TierHandle};
use crate::client::Client;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Event, Mutex, MutexGuard};

/// One upstream or client may use this fraction of the account: a quarter.
const PARTIES: u64 = 4;
/// The account.
pub struct InFlight {
    most_bytes: u64,
    /// Whether one request may wait for another.
    waits: bool,
    held_bytes: AtomicU64,
    waiting: AtomicUsize,
    freed: Event,
    parties: Mutex<Parties>,
}

/// Who uses how much of the account. Whoever uses nothing is not in here.
#[derive(Default)]
struct Parties {
    arrivals: Arrivals,
    clients: HashMap<Client, u64>,
}

impl InFlight {
    /// An empty account. `most_bytes`: `limits.in_flight`. Where no request may wait for another (`Capabilities::shares_io`), it only
    /// counts: there the platform limits a request's memory.
    pub fn new(most_bytes: u64, waits: bool) -> Arc<Self> {
        Arc::new(Self {
            most_bytes,
            waits,
            held_bytes: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            freed: Event::new(),
            parties: Mutex::default(),
        })
    }

    /// Bytes held now.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Whether the account holds more than its limit, or an answer waits for room: then clients that take nothing are cut off.
    pub fn is_scarce(&self) -> bool {
        self.held_bytes() > self.most_bytes || self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Counts so many bytes, whether there is room or not.
    pub fn count(self: &Arc<Self>, bytes: u64) -> Held {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        Held { account: Arc::clone(self), bytes }
    }

    /// Counts no bytes yet.
    fn nothing(self: &Arc<Self>) -> Held {
        Held { account: Arc::clone(self), bytes: 0 }
    }

    /// Counts so many bytes once there is room for them. An answer larger than the whole account is let in alone. The caller
    /// has a deadline.
    pub async fn take(self: &Arc<Self>, bytes: u64) -> Held {
        if !self.waits {
            return self.count(bytes);
        }
        if let Some(held) = self.try_take(bytes) {
            return held;
        }
        let _waiting = RoomQueue::begin(self);
        loop {
            let freed = self.freed.listen();
            if let Some(held) = self.try_take(bytes) {
                return held;
            }
            freed.await;
        }
    }

    /// The same where there is room now.
    pub(crate) fn try_take(self: &Arc<Self>, bytes: u64) -> Option<Held> {
        let room = room_for(bytes, self.most_bytes);
        let fits = |held: u64| (held == 0 || held.saturating_add(bytes) <= room).then_some(held + bytes);
        let taken = self.held_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        taken.ok().map(|_| Held { account: Arc::clone(self), bytes })
    }
}

impl InFlight {
    fn parties(&self) -> MutexGuard<'_, Parties> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that one upstream or client may use.
    fn share_bytes(&self) -> u64 {
        self.most_bytes / PARTIES
    }
}

/// An answer that waits for room.
struct RoomQueue<'a>(&'a InFlight);

impl<'a> RoomQueue<'a> {
    fn begin(account: &'a InFlight) -> Self {
        account.waiting.fetch_add(1, Ordering::Relaxed);
        Self(account)
    }
}

impl Drop for RoomQueue<'_> {
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
        Bytes::from_owner(Owned { bytes, _hold: self })
    }

    /// Counts so many bytes more, whether there is room or not.
    fn grow(&mut self, bytes: u64) {
        self.account.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.bytes += bytes;
    }

    /// Counts so many bytes more, if the account then has no more than `room`.
    fn try_grow(&mut self, bytes: u64, room: u64) -> bool {
        let fits = |held: u64| held.checked_add(bytes).filter(|all| *all <= room);
        let grown = self.account.held_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok();
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Together with others of the same account.
    pub(crate) fn join(&mut self, mut others: Self) {
        self.bytes += std::mem::take(&mut others.bytes);
    }

    /// How many bytes there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn give_back(&mut self, bytes: u64) {
        if bytes == 0 {
            return;
        }
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

/// Bytes with what is given back once the last of them is dropped.
struct Owned<H> {
    bytes: Bytes,
    _hold: H,
}

impl<H> AsRef<[u8]> for Owned<H> {
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
