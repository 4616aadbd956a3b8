//! A whole answer while it arrives from its upstream. It takes room as its bytes arrive, so that a slow answer, or one that is
//! announced and never comes, holds no more room than it has bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::arrivals::{Arrivals, MayGrow, SMALL_BYTES, room_for};
use super::{Held, InFlight, RoomQueue};

/// An answer that is arriving.
pub(crate) struct Arriving {
    account: Arc<InFlight>,
    number: u64,
    held: Held,
}

impl InFlight {
    /// An answer of this upstream begins.
    pub(crate) fn arriving(self: &Arc<Self>, upstream: &Arc<str>) -> Arriving {
        let arrivals = &mut self.parties().arrivals;
        let number = arrivals.begun;
        arrivals.begun += 1;
        arrivals.all.insert(number, (Arc::clone(upstream), 0));
        Arriving { account: Arc::clone(self), number, held: self.count(0) }
    }
}

impl Arriving {
    /// Waits until it may have so many bytes in all. The caller has a deadline.
    pub(crate) async fn reach(&mut self, bytes: u64) {
        // Usually there is room, and then it costs more to listen than to look.
        if self.try_reach(bytes) == MayGrow::Yes {
            return;
        }
        let account = Arc::clone(&self.account);
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
        if more > 0 {
            let account = Arc::clone(&self.account);
            self.grow(&mut account.parties().arrivals, more);
        }
    }

    /// The answer is whole: its bytes are counted as long as any of them is in use.
    pub(crate) fn hold(mut self, bytes: Bytes) -> Bytes {
        self.has(bytes.len() as u64);
        let held = std::mem::replace(&mut self.held, self.account.count(0));
        drop(self);
        held.hold(bytes)
    }

    fn grow(&mut self, arrivals: &mut Arrivals, more: u64) {
        self.held.grow(more);
        if let Some((_, bytes)) = arrivals.all.get_mut(&self.number) {
            *bytes += more;
        }
    }

    fn try_reach(&mut self, bytes: u64) -> MayGrow {
        let more = bytes.saturating_sub(self.held.bytes);
        if more == 0 {
            return MayGrow::Yes;
        }
        let account = Arc::clone(&self.account);
        let (most, held) = (account.most_bytes, account.held_bytes());
        let arrivals = &mut account.parties().arrivals;
        // True of nearly all answers: then the other arrivals need not be looked through.
        let is_small = bytes <= SMALL_BYTES && held.saturating_add(more) <= room_for(bytes, most);
        let may = if is_small || !account.waits {
            MayGrow::Yes
        } else {
            arrivals.growth(self.number, bytes, more, held).may(most, account.share_bytes())
        };
        if may == MayGrow::Yes {
            self.grow(arrivals, more);
        }
        may
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.account.parties().arrivals.all.remove(&self.number);
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
