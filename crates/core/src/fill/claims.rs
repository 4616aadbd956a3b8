//! Which connection fetches which bytes of a blob, pure: streams that end where another connection begins, and parts
//! beside them.
//!
//! A connection is cut off where another begins only once the upstream has given a part: until then nothing says that
//! the upstream gives parts.

use super::spans::Spans;
use crate::platform::Moment;

/// A range this close ahead of a connection waits for it, however slow it is (P-105).
const NEAR_BYTES: u64 = 8 << 20;
/// Most gaps that one range claims, each of them a request to the upstream.
const MAX_GAPS: usize = 64;

/// All claims on a blob.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each was learned by itself")]
pub(super) struct Claims {
    last: u64,
    fetches: Vec<Fetch>,
    /// Whether the upstream has given a part.
    gives_parts: bool,
    /// Whether no more parts are to be tried beside others.
    is_closed: bool,
    /// Whether the upstream has given the whole where a part was asked for.
    lacks_parts: bool,
    /// Whether one connection is to bring it all, as the upstream's parts were wrong.
    is_single: bool,
}

/// The bytes that one connection fetches, as the claims know them.
struct Fetch {
    number: u64,
    /// The next byte that it will fetch.
    at: u64,
    end: u64,
    /// The byte at which another connection begins.
    cut: Option<u64>,
    /// When it was asked for, and from which byte on; `None`: not yet.
    begun: Option<(Moment, u64)>,
}

/// The range of one claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) number: u64,
    pub(super) first: u64,
    pub(super) end: u64,
}

/// Whether a range waits for another connection that will reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangePatience {
    /// It waits for a connection that will reach it soon.
    Waits,
    /// It has waited, and does not wait again.
    IsOver,
}

impl Fetch {
    /// Where it ends if the upstream gives parts.
    fn cut_end(&self) -> u64 {
        self.cut.unwrap_or(self.end)
    }

    /// Whether a range that begins at `first` waits for this connection to get there.
    fn suffices(&self, first: u64, now: Moment, patience: RangePatience) -> bool {
        let Some((since, from)) = self.begun else { return false };
        let distance = first.saturating_sub(self.at);
        match patience {
            // A connection at this very byte is not taken over: each range that waits would take it from the last.
            RangePatience::IsOver => distance == 0,
            RangePatience::Waits if distance <= NEAR_BYTES => true,
            RangePatience::Waits => {
                // Within a second, at the rate so far.
                let millis = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX).max(1);
                self.at.saturating_sub(from).saturating_mul(1000) / millis >= distance
            }
        }
    }
}

impl Claims {
    /// For one connection that brings it all, and none beside it.
    pub(super) fn single() -> Self {
        Self { is_single: true, is_closed: true, ..Self::default() }
    }

    /// Somebody sets out to fetch the whole: parts may be tried again.
    pub(super) fn reopen(&mut self) {
        self.is_closed = self.is_single;
    }

    /// A stream up to the first byte that is present or claimed.
    pub(super) fn stream(&mut self, have: &Spans, total: u64, now: Moment) -> Taken {
        let end = self.free(have, 0, total, u64::MAX).filter(|(first, _)| *first == 0).map_or(0, |(_, end)| end);
        let taken = self.take(0, total, now);
        if end < total {
            self.cut(taken.number, end);
        }
        taken
    }

    /// Claims all of these bytes, also those that others claimed.
    pub(super) fn take(&mut self, first: u64, end: u64, now: Moment) -> Taken {
        self.add(first, end, Some((now, first)))
    }

    /// The next part that is neither here nor claimed, of at most `most` bytes.
    pub(super) fn next(&mut self, have: &Spans, total: u64, most: u64, now: Moment) -> Option<Taken> {
        let (first, end) = self.free(have, 0, total, most)?;
        Some(self.take(first, end, now))
    }

    /// Makes room for parts of so many bytes: cuts the longest claim after `bytes` more. A connection that began when there were
    /// few has a longer part than those that begin now, and would end last.
    pub(super) fn split(&mut self, bytes: u64) {
        let left = |fetch: &Fetch| fetch.cut_end().saturating_sub(fetch.at);
        let longest =
            self.fetches.iter_mut().filter(|fetch| fetch.begun.is_some()).max_by_key(|fetch| left(fetch));
        if let Some(fetch) = longest.filter(|fetch| left(fetch) > bytes) {
            fetch.cut = Some(fetch.at.saturating_add(bytes));
        }
    }

    /// Claims what a client's range needs and nobody else brings, in order. If it begins far ahead of a connection, it
    /// takes over all that this one would bring from there.
    pub(super) fn range(
        &mut self,
        have: &Spans,
        (first, end): (u64, u64),
        now: Moment,
        patience: RangePatience,
    ) -> Vec<Taken> {
        let (mut position, mut end) = (first, end);
        let mut taken = Vec::new();
        while let Some((gap, until)) = have.gap(position, end, u64::MAX).filter(|_| taken.len() < MAX_GAPS) {
            // Claims are asked for in order: only the first is now.
            let begun = taken.is_empty().then_some((now, gap));
            if let Some(fetch) = self.fetches.iter_mut().find(|fetch| (fetch.at..fetch.cut_end()).contains(&gap)) {
                let fetch_end = fetch.cut_end();
                let is_alone = self.is_single || self.is_closed && !self.gives_parts;
                if is_alone || fetch.suffices(gap, now, patience) {
                    position = fetch_end;
                    continue;
                }
                fetch.cut = Some(gap);
                end = end.max(fetch_end);
            }
            if self.is_single {
                break;
            }
            let others = self.fetches.iter().map(|fetch| fetch.at).filter(|at| *at > gap);
            let limit = have.gap(gap, end, u64::MAX).map_or(until, |(_, until)| until);
            let stop = others.fold(limit, u64::min);
            taken.push(self.add(gap, stop, begun));
            position = stop;
        }
        taken
    }

    /// The connection asks for its bytes now.
    pub(super) fn begin(&mut self, number: u64, now: Moment) {
        if let Some(fetch) = self.fetches.iter_mut().find(|fetch| fetch.number == number) {
            fetch.begun = Some((now, fetch.at));
        }
    }

    /// Records how far it got; returns its end, without what another has taken over.
    pub(super) fn reach(&mut self, number: u64, position: u64) -> u64 {
        let gives_parts = self.gives_parts;
        let fetch = self.fetches.iter_mut().find(|fetch| fetch.number == number);
        fetch.map_or(0, |fetch| {
            fetch.at = fetch.at.max(position);
            if gives_parts { fetch.cut_end() } else { fetch.end }
        })
    }

    /// Releases a claim: its bytes have arrived, or others may claim them.
    pub(super) fn give_back(&mut self, number: u64) {
        self.fetches.retain(|fetch| fetch.number != number);
    }

    /// Releases claims that have taken too long.
    pub(super) fn give_back_all(&mut self) {
        self.fetches.clear();
    }

    /// Whether a claim covers this byte.
    pub(super) fn covers(&self, position: u64) -> bool {
        let end = |fetch: &Fetch| if self.gives_parts { fetch.cut_end() } else { fetch.end };
        self.fetches.iter().any(|fetch| (fetch.at..end(fetch)).contains(&position))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fetches.is_empty()
    }

    /// A part has come: the upstream gives parts.
    pub(super) fn prove(&mut self) {
        self.gives_parts = true;
    }

    pub(super) fn are_proved(&self) -> bool {
        self.gives_parts
    }

    /// A part did not come: no more are tried beside others. Where none ever came, each goes on to its end.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        if !self.gives_parts {
            self.fetches.iter_mut().for_each(|fetch| fetch.cut = None);
        }
    }

    /// The whole came where a part was asked for: nobody need ask for parts.
    pub(super) fn lack(&mut self) {
        self.lacks_parts = true;
        self.close();
    }

    pub(super) fn lacks_parts(&self) -> bool {
        self.lacks_parts
    }

    /// Whether no more parts are to be tried beside others.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn cut(&mut self, number: u64, at: u64) {
        if let Some(fetch) = self.fetches.iter_mut().find(|fetch| fetch.number == number) {
            fetch.cut = Some(at);
        }
    }

    fn add(&mut self, first: u64, end: u64, begun: Option<(Moment, u64)>) -> Taken {
        self.last += 1;
        self.fetches.push(Fetch { number: self.last, at: first, end, cut: None, begun });
        Taken { number: self.last, first, end }
    }

    /// The first bytes at or behind `from` that are neither present nor claimed.
    fn free(&self, have: &Spans, from: u64, total: u64, most: u64) -> Option<(u64, u64)> {
        let mut position = from;
        loop {
            let (first, end) = have.gap(position, total, most)?;
            let taken = self.fetches.iter().find(|fetch| (fetch.at..fetch.cut_end()).contains(&first));
            let Some(taken) = taken else {
                let others = self.fetches.iter().map(|fetch| fetch.at).filter(|at| *at > first);
                return Some((first, others.fold(end, u64::min)));
            };
            position = taken.cut_end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MB: u64 = 1 << 20;
    const TOTAL: u64 = 1000 * MB;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn spans(taken: &[Taken]) -> Vec<(u64, u64)> {
        taken.iter().map(|taken| (taken.first / MB, taken.end / MB)).collect()
    }

    #[test]
    fn a_range_takes_what_nobody_brings_soon() {
        use RangePatience::{IsOver, Waits};
        // A stream of the whole that has brought so many MB after a second; parts are given.
        for (got, range, patience, expected, why) in [
            (1, (5, 6), Waits, &[][..], "near"),
            (1, (100, 101), Waits, &[(100, 1000)], "far: it takes over all that lies behind"),
            (50, (100, 101), Waits, &[], "far, and the stream is there within a second"),
            (50, (101, 102), Waits, &[(101, 1000)], "and here it is not"),
            (1, (5, 6), IsOver, &[(5, 1000)], "near, and it has waited"),
            (5, (5, 6), IsOver, &[], "the stream is there already"),
            (0, (100, 101), Waits, &[(100, 1000)], "nothing has come yet"),
        ] {
            let (mut claims, mut have) = (Claims::default(), Spans::default());
            claims.prove();
            let stream = claims.stream(&have, TOTAL, at(0));
            have.add(0, got * MB);
            claims.reach(stream.number, got * MB);
            let taken = claims.range(&have, (range.0 * MB, range.1 * MB), at(1000), patience);
            assert_eq!(spans(&taken), expected, "{why}");
            let end = taken.first().map_or(TOTAL, |taken| taken.first);
            assert_eq!(claims.reach(stream.number, 0), end, "{why}");
        }
    }

    #[test]
    fn ranges_share_what_they_have_in_common() {
        let (mut claims, mut have) = (Claims::default(), Spans::default());
        let mut want = |have: &Spans, first: u64, end: u64| {
            spans(&claims.range(have, (first * MB, end * MB), at(0), RangePatience::Waits))
        };
        assert_eq!(want(&have, 10, 14), [(10, 14)]);
        assert_eq!(want(&have, 10, 14), [], "the same");
        assert_eq!(want(&have, 8, 12), [(8, 10)], "what lies before it");
        assert_eq!(want(&have, 12, 16), [(14, 16)], "what lies behind it");
        have.add(20 * MB, 22 * MB);
        assert_eq!(want(&have, 18, 24), [(18, 20), (22, 24)], "what is here is left out");
    }

    #[test]
    fn the_longest_claims_are_cut_where_more_connections_share_what_is_missing() {
        let (mut claims, have) = (Claims::default(), Spans::default());
        claims.prove();
        let stream = claims.stream(&have, TOTAL, at(0));
        claims.split(100 * MB);
        let part = claims.next(&have, TOTAL, 100 * MB, at(0)).unwrap();
        assert_eq!(spans(&[part]), [(100, 200)]);
        for _ in 0..3 {
            claims.split(60 * MB);
        }
        assert_eq!(claims.reach(stream.number, 0), 60 * MB);
        assert_eq!(claims.reach(part.number, 0), 160 * MB);
        let mut next = || spans(claims.next(&have, TOTAL, 60 * MB, at(0)).as_slice());
        assert_eq!([next(), next(), next()], [[(60, 100)], [(160, 220)], [(220, 280)]]);
    }

    #[test]
    fn what_has_not_been_asked_for_yet_is_taken_over() {
        let (mut claims, mut have) = (Claims::default(), Spans::default());
        have.add(10 * MB, 20 * MB);
        let taken = claims.range(&have, (0, 30 * MB), at(0), RangePatience::Waits);
        assert_eq!(spans(&taken), [(0, 10), (20, 30)]);
        claims.prove();
        assert_eq!(spans(&claims.range(&have, (20 * MB, 21 * MB), at(0), RangePatience::Waits)), [(20, 30)]);
        assert_eq!(claims.reach(taken[1].number, 20 * MB), 20 * MB, "nothing is left of it");
    }

    #[test]
    fn a_stream_goes_on_where_the_upstream_gives_no_parts() {
        let (mut claims, have) = (Claims::default(), Spans::default());
        let stream = claims.stream(&have, TOTAL, at(0));
        let far = claims.range(&have, (500 * MB, 501 * MB), at(1000), RangePatience::Waits);
        assert_eq!(spans(&far), [(500, 1000)]);
        assert_eq!(claims.reach(stream.number, MB), TOTAL, "no part has come yet");
        claims.give_back(far[0].number);
        claims.close();
        assert!(claims.range(&have, (500 * MB, 501 * MB), at(1000), RangePatience::Waits).is_empty());
        claims.prove();
        assert_eq!(claims.reach(stream.number, MB), TOTAL);
    }

    #[test]
    fn where_parts_were_wrong_one_connection_brings_it_all() {
        let (mut claims, have) = (Claims::single(), Spans::default());
        claims.stream(&have, TOTAL, at(0));
        claims.reopen();
        assert!(claims.is_closed());
        for patience in [RangePatience::Waits, RangePatience::IsOver] {
            assert!(claims.range(&have, (500 * MB, 501 * MB), at(1000), patience).is_empty());
        }
    }

    proptest! {
        /// Whatever is asked for, in whatever order: no byte is fetched by two, and each that was asked for by one.
        #[test]
        fn no_byte_is_fetched_twice(ranges in prop::collection::vec((0..100_u64, 1..100_u64, any::<bool>()), 1..12)) {
            let (mut claims, mut have) = (Claims::default(), Spans::default());
            claims.prove();
            let mut wanted = Spans::default();
            for (first, length, comes) in ranges {
                let range = (first * MB, (first + length) * MB);
                wanted.add(range.0, range.1);
                let taken = claims.range(&have, range, at(0), RangePatience::Waits);
                if let Some(taken) = taken.first().filter(|_| comes) {
                    // It brings the first half of what it is to bring.
                    let end = claims.reach(taken.number, taken.first);
                    let half = taken.first + (end - taken.first) / 2;
                    have.add(taken.first, half);
                    claims.reach(taken.number, half);
                }
            }
            let mut fetched = have.clone();
            for fetch in &claims.fetches {
                let end = fetch.cut_end().max(fetch.at);
                prop_assert!(fetch.at == end || fetched.gap(fetch.at, end, u64::MAX) == Some((fetch.at, end)), "twice");
                fetched.add(fetch.at, end);
            }
            prop_assert_eq!(fetched, wanted);
        }
    }
}
