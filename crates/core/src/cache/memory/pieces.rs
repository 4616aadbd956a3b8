//! What was written of a draft, wherever it lies, and nothing for the gaps between: pure.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::platform::StoreError;

/// Pieces that do not overlap, by their beginning. One that begins where another ends is written behind it.
#[derive(Default)]
pub(super) struct DraftPieces {
    pieces: BTreeMap<u64, Vec<u8>>,
    length: u64,
}

impl DraftPieces {
    /// Bytes of all of them.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes at an offset, over what is there.
    pub(super) fn write(&mut self, mut offset: u64, mut bytes: &[u8]) -> Result<(), StoreError> {
        offset.checked_add(bytes.len() as u64).ok_or(StoreError::Full)?;
        while !bytes.is_empty() {
            let next = self.pieces.range(offset.saturating_add(1)..).next().map_or(u64::MAX, |(first, _)| *first);
            let (now, later) = bytes.split_at(range(bytes.len(), 0, next.saturating_sub(offset)).end);
            let before = self.pieces.range_mut(..=offset).next_back();
            if let Some((first, piece)) = before.filter(|(first, piece)| offset - **first <= piece.len() as u64) {
                let over = range(piece.len(), offset - first, offset - first + now.len() as u64);
                let (replaced, added) = now.split_at(over.len());
                piece.try_reserve(added.len()).map_err(|_| StoreError::Full)?;
                if let Some(place) = piece.get_mut(over) {
                    place.copy_from_slice(replaced);
                }
                piece.extend_from_slice(added);
                self.length += added.len() as u64;
            } else {
                let mut piece = Vec::new();
                piece.try_reserve(now.len()).map_err(|_| StoreError::Full)?;
                piece.extend_from_slice(now);
                self.pieces.insert(offset, piece);
                self.length += now.len() as u64;
            }
            offset = offset.saturating_add(now.len() as u64);
            bytes = later;
        }
        Ok(())
    }

    /// What lies at an offset, up to the end of its piece.
    pub(super) fn read(&self, offset: u64, most: usize) -> Bytes {
        let Some((first, piece)) = self.pieces.range(..=offset).next_back() else { return Bytes::new() };
        let part = range(piece.len(), offset - first, (offset - first).saturating_add(most as u64));
        Bytes::copy_from_slice(piece.get(part).unwrap_or_default())
    }

    /// Whether they are all of a blob of this length.
    pub(super) fn are_whole(&self, length: u64) -> bool {
        let end = self
            .pieces
            .iter()
            .try_fold(0, |end, (first, piece)| (*first == end).then(|| end + piece.len() as u64));
        end == Some(length)
    }

    /// All of them, one behind the other; each is let go once it is copied.
    pub(super) fn join(&mut self) -> Result<Vec<u8>, StoreError> {
        let length = usize::try_from(self.length()).map_err(|_| StoreError::Full)?;
        if let Some(mut first) = self.pieces.first_entry() {
            let missing = length - first.get().len();
            first.get_mut().try_reserve_exact(missing).map_err(|_| StoreError::Full)?;
        }
        let mut pieces = std::mem::take(&mut self.pieces).into_values();
        let mut all = pieces.next().unwrap_or_default();
        for piece in pieces {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

/// Those bytes of a range that lie within a length.
pub(super) fn range(length: usize, first: u64, end: u64) -> std::ops::Range<usize> {
    let end = usize::try_from(end).map_or(length, |end| end.min(length));
    let first = usize::try_from(first).map_or(end, |first| first.min(end));
    first..end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the simplest thing that can be right: one byte after the other, and a flag for each.
        #[test]
        fn pieces_are_what_was_written(writes in prop::collection::vec((0..60_u64, prop::collection::vec(any::<u8>(), 0..20)), 0..20)) {
            let mut pieces = DraftPieces::default();
            let mut bytes = [None; 80];
            for (first, content) in &writes {
                pieces.write(*first, content).unwrap();
                for (place, byte) in bytes[usize::try_from(*first).unwrap()..].iter_mut().zip(content) {
                    *place = Some(*byte);
                }
            }
            for (at, byte) in bytes.iter().enumerate() {
                prop_assert_eq!(pieces.read(at as u64, 1).first().copied(), *byte);
            }
            let count = bytes.iter().flatten().count();
            prop_assert_eq!(pieces.length(), count as u64);
            prop_assert_eq!(pieces.are_whole(count as u64), bytes[..count].iter().all(Option::is_some));
            let all: Vec<u8> = bytes.into_iter().flatten().collect();
            prop_assert_eq!(pieces.join().unwrap(), all);
        }
    }
}
