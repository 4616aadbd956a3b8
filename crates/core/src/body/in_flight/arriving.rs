//! A whole answer as it comes from its upstream. Room for it is taken as it comes, so that one that drips, or is announced
//! and never comes, holds no more than what is here.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Held, InFlight, RoomQueue, SMALL_BYTES, room_for};

/// Answers that are arriving, in the order in which they began: each with its upstream, and how much of it is here.
#[derive(Default)]
pub(super) struct Arrivals {
    begun: u64,
    all: BTreeMap<u64, (Arc<str>, u64)>,
}

/// What is known when an answer is to grow. All in bytes.
#[derive(Debug, Clone, Copy)]
struct Growth {
    /// How much of it there is to be.
    own: u64,
    /// How much more that is.
    more: u64,
    /// What the account holds.
    held: u64,
    /// Of that, what is still arriving.
    arriving: u64,
    /// Of that, what this upstream sends.
    of_upstream: u64,
    /// Whether it is the first of all that are arriving.
    is_first: bool,
    /// Whether it is the first of its upstream.
    is_upstreams_first: bool,
}

/// Whether it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MayGrow {
    Yes,
    /// There is no room.
    NoRoom,
    /// Its upstream has its share.
    NoShare,
}

impl Growth {
    /// The first may go on beside whatever else is arriving, and waits only for what clients have not taken: if all of them
    /// waited for each other none would ever be whole.
    fn may(self, most: u64, share: u64) -> MayGrow {
        let is_small = self.own <= SMALL_BYTES;
        let settled = self.held.saturating_sub(self.arriving);
        let has_room = self.held.saturating_add(self.more) <= room_for(self.own, most)
            || (self.is_first && (settled == 0 || settled.saturating_add(self.own) <= most));
        let has_share = is_small || self.is_upstreams_first || self.of_upstream.saturating_add(self.more) <= share;
        match (has_room, has_share) {
            (true, true) => MayGrow::Yes,
            (_, false) => MayGrow::NoShare,
            (false, true) => MayGrow::NoRoom,
        }
    }
}

/// One answer that is arriving.
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
    /// Waits until so many bytes of it, in all, may be here. The caller has a deadline.
    pub(crate) async fn reach(&mut self, bytes: u64) {
        let account = Arc::clone(&self.account);
        let mut waiting = None;
        loop {
            let freed = account.freed.listen();
            match self.try_reach(bytes) {
                MayGrow::Yes => return,
                MayGrow::NoRoom => {
                    waiting.get_or_insert_with(|| RoomQueue::begin(&account));
                }
                // That is its upstream's own affair: nobody makes way for it.
                MayGrow::NoShare => waiting = None,
            }
            freed.await;
        }
    }

    /// So many bytes of it, in all, are here, whatever else there is.
    pub(crate) fn has(&mut self, bytes: u64) {
        let more = bytes.saturating_sub(self.held.bytes);
        if more > 0 {
            let account = Arc::clone(&self.account);
            self.grow(&mut account.parties().arrivals, more);
        }
    }

    /// It is whole, and these are its bytes: counted as long as any of them is in use.
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
        // As nearly all are: nobody has to look through what else is arriving.
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

impl Arrivals {
    fn growth(&self, number: u64, own: u64, more: u64, held: u64) -> Growth {
        let upstream = self.all.get(&number).map(|(upstream, _)| upstream);
        let of_upstream = || self.all.iter().filter(|(_, (of, _))| Some(of) == upstream);
        let sum = |bytes: &mut dyn Iterator<Item = u64>| bytes.fold(0, u64::saturating_add);
        Growth {
            own,
            more,
            held,
            arriving: sum(&mut self.all.values().map(|(_, bytes)| *bytes)),
            of_upstream: sum(&mut of_upstream().map(|(_, (_, bytes))| *bytes)),
            is_first: self.all.keys().next() == Some(&number),
            is_upstreams_first: of_upstream().map(|(first, _)| first).next() == Some(&number),
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.account.parties().arrivals.all.remove(&self.number);
        // Another one is the first now.
        self.account.freed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;
    /// Of an account of 64 MiB.
    const MOST: u64 = 64 * MIB;
    const SHARE: u64 = 16 * MIB;

    #[test]
    fn an_answer_grows_where_there_is_room_and_its_upstream_has_not_had_its_share() {
        use MayGrow::{NoRoom, NoShare, Yes};
        let usual = Growth {
            own: 4 * MIB,
            more: MIB,
            held: 20 * MIB,
            arriving: 10 * MIB,
            of_upstream: 8 * MIB,
            is_first: false,
            is_upstreams_first: false,
        };
        for (what, growth, expected) in [
            ("as usual", usual, Yes),
            ("its upstream has its share", Growth { of_upstream: SHARE, ..usual }, NoShare),
            ("the first there", Growth { of_upstream: SHARE, is_upstreams_first: true, ..usual }, Yes),
            ("a small one", Growth { of_upstream: SHARE, own: SMALL_BYTES, more: 100, ..usual }, Yes),
            ("no room", Growth { held: MOST, ..usual }, NoRoom),
            ("no room for a small one", Growth { held: MOST / 2 * 3, own: 100, more: 100, ..usual }, NoRoom),
            ("some for a small one", Growth { held: MOST, own: 100, more: 100, ..usual }, Yes),
            (
                "the first of all beside what is arriving",
                Growth { held: MOST, arriving: 50 * MIB, is_first: true, ..usual },
                Yes,
            ),
            (
                "and not beside what clients have not taken",
                Growth { held: MOST, arriving: 3 * MIB, is_first: true, ..usual },
                NoRoom,
            ),
            (
                "larger than all the room, with nothing else",
                Growth {
                    own: 80 * MIB,
                    held: 79 * MIB,
                    arriving: 79 * MIB,
                    is_first: true,
                    is_upstreams_first: true,
                    ..usual
                },
                Yes,
            ),
        ] {
            assert_eq!(growth.may(MOST, SHARE), expected, "{what}");
        }
    }

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
