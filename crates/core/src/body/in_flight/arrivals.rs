//! Which of the answers that are arriving may grow: a decision from numbers alone.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Up to this length a whole answer may use what is kept free for the small ones, so that it waits for no large one.
pub(crate) const SMALL_BYTES: u64 = 64 << 10;

/// The answers that are arriving and could not have all their room at once, in the order in which they asked for more: each with
/// its upstream and its bytes so far.
#[derive(Default)]
pub(super) struct Arrivals {
    begun: u64,
    pub(super) all: BTreeMap<u64, (Arc<str>, u64)>,
}

/// The state of the account when an answer is to grow. All numbers are bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// The size that the answer is to have.
    own: u64,
    /// How much it grows to that size.
    more: u64,
    /// Bytes that the account holds.
    held: u64,
    /// Of these, bytes of answers that are still arriving.
    arriving: u64,
    /// Of these, bytes from this upstream.
    of_upstream: u64,
    /// Whether it is the first of all answers that are arriving.
    is_first: bool,
    /// Whether it is the first of its upstream.
    is_upstreams_first: bool,
}

/// Whether an answer may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MayGrow {
    Yes,
    /// There is no room.
    NoRoom,
    /// Its upstream has used up its share.
    NoShare,
}

impl Growth {
    /// The first answer may grow beside the other arrivals, and waits only for bytes that clients have not taken: if all
    /// answers waited for each other, none would ever be whole.
    pub(super) fn may(self, most: u64, share: u64) -> MayGrow {
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

impl Arrivals {
    /// One more, with these bytes so far. Returns its number.
    pub(super) fn begin(&mut self, upstream: &Arc<str>, bytes: u64) -> u64 {
        let number = self.begun;
        self.begun += 1;
        self.all.insert(number, (Arc::clone(upstream), bytes));
        number
    }

    pub(super) fn grow(&mut self, number: u64, more: u64) {
        if let Some((_, bytes)) = self.all.get_mut(&number) {
            *bytes += more;
        }
    }

    pub(super) fn end(&mut self, number: u64) {
        self.all.remove(&number);
    }

    pub(super) fn growth(&self, number: u64, own: u64, more: u64, held: u64) -> Growth {
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

/// How many bytes the account may hold together with an answer of so many bytes, if its limit is `most`.
pub(super) fn room_for(bytes: u64, most: u64) -> u64 {
    if bytes <= SMALL_BYTES { most.saturating_add(most / 2) } else { most }
}

#[cfg(test)]
mod tests {
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
}
