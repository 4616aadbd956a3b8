//! Which bytes of a blob are present: a set of spans, pure.

use std::collections::BTreeMap;

/// Spans that neither overlap nor touch, from each beginning to its exclusive end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spans(BTreeMap<u64, u64>);

impl Spans {
    /// Adds a span, merging it with what it overlaps or touches.
    pub(crate) fn add(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let (mut first, mut end) = (first, end);
        while let Some((&start, &stop)) = self.0.range(..=end).next_back().filter(|(_, stop)| **stop >= first) {
            first = first.min(start);
            end = end.max(stop);
            self.0.remove(&start);
        }
        self.0.insert(first, end);
    }

    /// The end of the gapless bytes from `position`; `position` itself if that byte is missing.
    pub(crate) fn end_from(&self, position: u64) -> u64 {
        self.0.range(..=position).next_back().map_or(position, |(_, end)| position.max(*end))
    }

    /// The first gap at or behind `position`, of at most `most` bytes, before `limit`.
    pub(crate) fn gap(&self, position: u64, limit: u64, most: u64) -> Option<(u64, u64)> {
        let first = self.end_from(position);
        let next = self.0.range(first..).next().map_or(limit, |(start, _)| *start);
        let end = next.min(limit).min(first.saturating_add(most));
        (first < end).then_some((first, end))
    }

    /// The parts that overlap a span.
    pub(crate) fn clone_within(&self, first: u64, end: u64) -> Self {
        let before = self.0.range(..first).next_back();
        Self(before.into_iter().chain(self.0.range(first..end)).map(|(first, end)| (*first, *end)).collect())
    }

    /// Bytes in all.
    pub(crate) fn length(&self) -> u64 {
        self.0.iter().map(|(first, end)| end - first).sum()
    }

    /// Whether all bytes up to `total` are present.
    pub(crate) fn is_whole(&self, total: u64) -> bool {
        self.end_from(0) >= total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gaps_are_found_in_order() {
        let mut spans = Spans::default();
        spans.add(10, 20);
        spans.add(30, 40);
        assert_eq!(spans.gap(0, 50, 100), Some((0, 10)));
        assert_eq!(spans.gap(0, 50, 4), Some((0, 4)));
        assert_eq!(spans.gap(10, 50, 100), Some((20, 30)));
        assert_eq!(spans.gap(35, 50, 100), Some((40, 50)));
        assert_eq!(spans.gap(35, 40, 100), None);
        spans.add(20, 30);
        assert_eq!(spans, Spans([(10, 40)].into()));
    }

    proptest! {
        /// Against the simplest thing that can be right: one flag a byte.
        #[test]
        fn spans_are_what_a_list_of_bytes_is(adds in prop::collection::vec((0..60_u64, 0..60_u64), 0..20), at in 0..70_u64, most in 1..20_u64) {
            let mut spans = Spans::default();
            let mut bytes = [false; 64];
            for (first, end) in adds {
                spans.add(first, end);
                for at in first..end { bytes[usize::try_from(at).unwrap()] = true; }
            }
            let here = |at: u64| bytes.get(usize::try_from(at).unwrap()).copied().unwrap_or(false);
            let end = (at..70).find(|at| !here(*at)).unwrap();
            prop_assert_eq!(spans.end_from(at), end);
            let gap = (at..64).find(|at| !here(*at)).map(|first| {
                (first, (first..64).take(usize::try_from(most).unwrap()).take_while(|at| !here(*at)).last().unwrap() + 1)
            });
            prop_assert_eq!(spans.gap(at, 64, most), gap);
            prop_assert_eq!(spans.is_whole(64), bytes.iter().all(|here| *here));
        }
    }
}
