//! How many bytes are read from an upstream at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes read from an upstream at once. Fewer, larger reads take less CPU (of one transfer, compared to nginx: 512 KiB at a time
/// 1.45, 1 MiB 1.35, 2 MiB 1.17, 4 MiB 1.0), but a transfer holds two or three of them in memory. So a single transfer reads
/// widest, a few read wide, and many read narrow.
const NARROW_BYTES: usize = 64 << 10;
const WIDE_BYTES: usize = 768 << 10;
const WIDEST_BYTES: usize = 4 << 20;
/// Most transfers that read wide at once, including the widest.
const WIDE_TRANSFERS: usize = 8;
/// Most memory of wide reads, with three reads each and the slowest clients: with 64 clients the whole process stays under
/// 48 MiB.
const MOST_WIDE_BYTES: usize = 28 << 20;
const _: () = assert!(3 * (WIDEST_BYTES + (WIDE_TRANSFERS - 1) * WIDE_BYTES) <= MOST_WIDE_BYTES);

/// What a connection reads at once. It is fixed when the connection is made, so a transfer takes one of its own width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadWidth {
    Narrow,
    Wide,
    Widest,
}

impl ReadWidth {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Narrow => NARROW_BYTES,
            Self::Wide => WIDE_BYTES,
            Self::Widest => WIDEST_BYTES,
        }
    }
}

/// Permission to read wide.
pub(super) struct WidePermit {
    counter: Arc<AtomicUsize>,
    /// No other transfer read wide when it began: only one such exists at a time.
    is_alone: bool,
}

impl WidePermit {
    /// A permit, if there is one left; `counter`: how many are taken.
    pub(super) fn take(counter: &Arc<AtomicUsize>) -> Option<Self> {
        let others = counter.fetch_add(1, Ordering::Relaxed);
        let permit = Self { counter: Arc::clone(counter), is_alone: others == 0 };
        (others < WIDE_TRANSFERS).then_some(permit)
    }

    pub(super) fn width(&self) -> ReadWidth {
        if self.is_alone { ReadWidth::Widest } else { ReadWidth::Wide }
    }
}

impl Drop for WidePermit {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}
