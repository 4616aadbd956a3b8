//! Hashes the bytes of a spool that nobody hashed beside their write: what came out of order is read back.

use futures_util::future::select;

use super::hashing::{HashStage, Hashing};
use super::spool::Spool;
use crate::platform::StoreError;

/// Bytes that are read back at once.
const PIECE_BYTES: u64 = 1 << 20;

/// What is left to hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backlog {
    /// Nothing: all is hashed, and written.
    Over,
    /// So many bytes from this offset on.
    Here(u64, u64),
    /// Nothing yet: it takes more bytes, or the hasher is at work.
    Later,
    Lost,
}

impl Backlog {
    /// `arrived_from`: the end of the gapless bytes from an offset.
    fn of(stage: HashStage, total: u64, is_complete: bool, arrived_from: impl Fn(u64) -> u64) -> Self {
        let from = match stage {
            HashStage::Free(from) => from,
            HashStage::Busy => return Self::Later,
            HashStage::Lost => return Self::Lost,
        };
        if from >= total {
            // The hash may be ahead of the writes.
            return if is_complete { Self::Over } else { Self::Later };
        }
        let arrived = arrived_from(from);
        // Wait for a whole piece or the end: bytes that arrive in order are hashed on their way.
        if arrived - from < PIECE_BYTES && arrived < total {
            return Self::Later;
        }
        Self::Here(from, (arrived - from).min(PIECE_BYTES))
    }
}

impl Spool {
    /// Hashes what nobody hashes beside its write, until all is hashed and written.
    pub(crate) async fn hash_along(&self, hashing: &Hashing) -> Result<(), StoreError> {
        loop {
            let (written, moved) = (self.changed.listen(), hashing.moved.listen());
            let stage = hashing.stage();
            match Backlog::of(stage, self.total(), self.is_complete(), |from| self.arrived_from(from)) {
                Backlog::Over => return Ok(()),
                Backlog::Lost => return Err(StoreError::failed("the hash of a blob was lost")),
                Backlog::Later => drop(select(written, moved).await),
                Backlog::Here(from, bytes) => {
                    let piece = self.read_back(from, usize::try_from(bytes).unwrap_or(usize::MAX)).await?;
                    if piece.is_empty() {
                        return Err(StoreError::failed("a draft is shorter than what was written to it"));
                    }
                    hashing.take(from, &piece).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_over_once_all_is_hashed_and_written() {
        const MB: u64 = 1 << 20;
        for (stage, arrived, is_complete, expected, why) in [
            (HashStage::Free(0), 0, false, Backlog::Later, "nothing is here"),
            (HashStage::Free(0), MB - 1, false, Backlog::Later, "the rest of the piece comes soon"),
            (HashStage::Free(0), 5 * MB, false, Backlog::Here(0, MB), "more than a piece"),
            (HashStage::Free(9 * MB), 10 * MB, true, Backlog::Here(9 * MB, MB), "the last one"),
            (HashStage::Free(10 * MB - 1), 10 * MB, true, Backlog::Here(10 * MB - 1, 1), "and if it is short"),
            (HashStage::Free(10 * MB), 10 * MB, false, Backlog::Later, "the last write is under way"),
            (HashStage::Free(10 * MB), 10 * MB, true, Backlog::Over, "all of it"),
            (HashStage::Busy, 10 * MB, true, Backlog::Later, "somebody hashes"),
            (HashStage::Lost, 10 * MB, true, Backlog::Lost, "nobody can go on"),
        ] {
            assert_eq!(Backlog::of(stage, 10 * MB, is_complete, |from| arrived.max(from)), expected, "{why}");
        }
    }
}
