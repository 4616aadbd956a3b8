//! A whole answer while it arrives from its upstream. It takes room as its bytes arrive, so that a slow answer, or one that is
//! announced and never comes, holds no more room than it has bytes.
//!
//! Nearly all answers are small, and there is room for all of one at once: such an answer waits for nobody, so it takes no place
//! among those that do, for which there is one lock.

use std::sync::Arc;

use bytes::Bytes;

use super::arrivals::{Arrivals, MayGrow, SMALL_BYTES, room_for};
use super::{Held, InFlight, RoomQueue};

/// An answer that is arriving.
pub(crate) struct Arriving<'a> {
    upstream: &'a Arc<str>,
    /// `None`: there was room for it at once.
    place: Option<ArrivalPlace>,
    held: Held,
}

/// A place among the answers that may have to wait, until it is dropped.
struct ArrivalPlace {
    account: Arc<InFlight>,
    number: u64,
}

impl InFlight {
    /// An answer of this upstream begins.
    pub(crate) fn arriving<'a>(self: &Arc<Self>, upstream: &'a Arc<str>) -> Arriving<'a> {
        Arriving { upstream, place: None, held: self.nothing() }
    }
}

impl Arriving<'_> {
    /// Waits until it may have so many bytes in all. The caller has a deadline.
    pub(crate) async fn reach(&mut self, bytes: u64) {
        // Usually there is room, and then it costs more to listen than to look.
        if self.try_reach(bytes) == MayGrow::Yes {
            return;
        }
        let account = Arc::clone(&self.held.account);
        let mut waiting = None;
        loop {
            let freed = account.freed.listen();
            match self.try_reach(bytes) {
                MayGrow::Yes => return,
                MayGrow::NoRoom => {
                    waiting.get_or_insert_with(|| RoomQueue::begin(&account));
                }
                // The upstream uses up its own share: no client has to make way.
                MayGrow::NoShare => waiting = None,
            }
            freed.await;
        }
    }

    /// Counts so many bytes of it in all, whether there is room or not.
    pub(crate) fn has(&mut self, bytes: u64) {
        let more = bytes.saturating_sub(self.held.bytes);
        if more == 0 {
            return;
        }
        self.held.grow(more);
        if let Some(place) = &self.place {
            place.account.parties().arrivals.grow(place.number, more);
        }
    }

    /// The answer is whole: its bytes are counted as long as any of them is in use.
    pub(crate) fn hold(mut self, bytes: Bytes) -> Bytes {
        self.has(bytes.len() as u64);
        let Self { held, place, .. } = self;
        drop(place);
        held.hold(bytes)
    }

    fn try_reach(&mut self, bytes: u64) -> MayGrow {
        let more = bytes.saturating_sub(self.held.bytes);
        let (waits, room) = (self.held.account.waits, room_for(bytes, self.held.account.most_bytes));
        if more == 0 {
            return MayGrow::Yes;
        }
        if !waits {
            self.held.grow(more);
            return MayGrow::Yes;
        }
        if self.place.is_none() && bytes <= SMALL_BYTES && self.held.try_grow(more, room) {
            return MayGrow::Yes;
        }
        let account = Arc::clone(&self.held.account);
        let arrivals = &mut account.parties().arrivals;
        let number = self.place.get_or_insert_with(|| self.held.place(arrivals, self.upstream)).number;
        let may = arrivals
            .growth(number, bytes, more, account.held_bytes())
            .may(account.most_bytes, account.share_bytes());
        if may == MayGrow::Yes {
            self.held.grow(more);
            arrivals.grow(number, more);
        }
        may
    }
}

impl Held {
    /// A place for the answer of these bytes.
    fn place(&self, arrivals: &mut Arrivals, upstream: &Arc<str>) -> ArrivalPlace {
        if self.bytes > 0 {
            // The first of those who wait does not wait for these bytes any more.
            self.account.freed.notify(usize::MAX);
        }
        ArrivalPlace { account: Arc::clone(&self.account), number: arrivals.begin(upstream, self.bytes) }
    }
}

impl Drop for ArrivalPlace {
    fn drop(&mut self) {
        self.account.parties().arrivals.end(self.number);
        // Another answer is the first now.
        self.account.freed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn those_who_wait_for_each_other_become_whole_one_after_the_other() {
        let account = InFlight::new(16 * MIB, true);
        let upstream: Arc<str> = "a.test".into();
        let mut all: Vec<Arriving> = (0..8).map(|_| account.arriving(&upstream)).collect();
        for arriving in &mut all {
            arriving.reach(MIB / 2).now_or_never().expect("the share of its upstream is 4 MiB");
        }
        assert!(all[7].reach(2 * MIB).now_or_never().is_none());
        assert!(!account.is_scarce(), "nobody has to make way for that");
        let mut whole = Vec::new();
        for mut arriving in all {
            arriving.reach(2 * MIB).now_or_never().expect("it is the first now");
            whole.push(arriving.hold(vec![0; 2 << 20].into()));
            if whole.len() == 4 {
                whole.clear();
            }
        }
        drop(whole);
        assert_eq!((account.held_bytes(), account.parties().arrivals.all.len()), (0, 0));
    }

    /// Small answers have no place among those who wait as long as there is room for them.
    #[test]
    fn small_answers_that_turn_out_large_wait_for_the_first_of_them_and_not_for_each_other() {
        let account = InFlight::new(4 * MIB, true);
        let upstream: Arc<str> = "a.test".into();
        let mut all: Vec<Arriving> = (0..96).map(|_| account.arriving(&upstream)).collect();
        for arriving in &mut all {
            arriving.reach(SMALL_BYTES).now_or_never().expect("there is half as much again for small ones");
        }
        assert_eq!((account.held_bytes(), account.parties().arrivals.all.len()), (6 * MIB, 0));
        assert!(account.arriving(&upstream).reach(1).now_or_never().is_none(), "and no more");
        let mut first = all.remove(0);
        let mut waiting = Box::pin(first.reach(MIB));
        assert!(waiting.as_mut().now_or_never().is_none(), "the others may be about to go to their clients");
        for arriving in &mut all {
            assert!(arriving.reach(MIB).now_or_never().is_none(), "it is not the first");
        }
        assert!(waiting.now_or_never().is_some(), "all of them are still arriving");
        drop((first, all));
        assert_eq!((account.held_bytes(), account.parties().arrivals.all.len()), (0, 0));
    }

    #[test]
    fn what_is_announced_and_does_not_come_holds_nothing() {
        let account = InFlight::new(16 * MIB, true);
        let (slow, honest): (Arc<str>, Arc<str>) = ("slow.test".into(), "honest.test".into());
        let mut dripping: Vec<Arriving> = (0..100).map(|_| account.arriving(&slow)).collect();
        for arriving in &mut dripping {
            assert!(arriving.reach(SMALL_BYTES).now_or_never().is_some());
        }
        let mut other = account.arriving(&honest);
        assert!(other.reach(4 * MIB).now_or_never().is_some());
        assert_eq!(account.held_bytes(), 100 * SMALL_BYTES + 4 * MIB);
    }
}
