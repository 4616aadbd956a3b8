//! The hash of a blob while it arrives: each piece is hashed beside its write, if it is the next one.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use crate::digest::{Digest, Hasher};
use crate::platform::Tasks;
use crate::sync::{Event, Mutex, MutexGuard};

/// Pieces of this length and more are hashed on a thread of their own, where the platform has one: handing over a smaller
/// one takes about as long as hashing it.
const LONG_BYTES: usize = if cfg!(all(test, feature = "shuttle")) { 8 << 10 } else { 256 << 10 };

/// The hash of the bytes so far.
pub(crate) struct Hashing {
    state: Mutex<HashState>,
    /// A piece has been hashed.
    pub(super) moved: Event,
    tasks: Arc<dyn Tasks>,
}

struct HashState {
    hasher: HasherPlace,
    /// Bytes from the beginning that are hashed.
    hashed: u64,
}

/// What the hasher does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HashStage {
    /// It is free, and has hashed so many bytes.
    Free(u64),
    /// It is hashing the next bytes.
    Busy,
    /// Whoever had it did not bring it back.
    Lost,
}

enum HasherPlace {
    Here(Hasher),
    AtWork,
    Lost,
}

impl Hashing {
    /// `None`: an algorithm that we cannot compute.
    pub(crate) fn new(digest: &Digest, tasks: Arc<dyn Tasks>) -> Option<Self> {
        let state = HashState { hasher: HasherPlace::Here(Hasher::new(digest)?), hashed: 0 };
        Some(Self { state: Mutex::new(state), moved: Event::new(), tasks })
    }

    /// Hashes the bytes at `offset` if they are the next ones, and nobody is hashing others. Dropped half-way, it loses the
    /// hash, and the fill fails.
    pub(super) async fn take(&self, offset: u64, bytes: &Bytes) {
        let Some(hasher) = self.borrow(offset) else { return };
        let mut borrowed = Borrowed { hashing: self, hasher: None };
        borrowed.hasher = self.hashed(hasher, bytes.clone()).await;
        if borrowed.hasher.is_some() {
            self.state().hashed += bytes.len() as u64;
        }
    }

    async fn hashed(&self, mut hasher: Hasher, bytes: Bytes) -> Option<Hasher> {
        if bytes.len() < LONG_BYTES {
            hasher.update(&bytes);
            return Some(hasher);
        }
        let done = Arc::new(Mutex::new(None));
        let place = Arc::clone(&done);
        let work = move || {
            hasher.update(&bytes);
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(hasher);
        };
        self.tasks.compute(Box::new(work)).await;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.take()
    }

    /// The hasher, if it is free and the next bytes are those at `offset`.
    fn borrow(&self, offset: u64) -> Option<Hasher> {
        let mut state = self.state();
        if state.hashed != offset {
            return None;
        }
        match std::mem::replace(&mut state.hasher, HasherPlace::AtWork) {
            HasherPlace::Here(hasher) => Some(hasher),
            HasherPlace::AtWork => None,
            HasherPlace::Lost => {
                state.hasher = HasherPlace::Lost;
                None
            }
        }
    }

    /// Whether the bytes that were hashed have this digest.
    pub(crate) fn is(self, digest: &Digest) -> bool {
        match self.state.into_inner().unwrap_or_else(PoisonError::into_inner).hasher {
            HasherPlace::Here(hasher) => hasher.is(digest),
            HasherPlace::AtWork | HasherPlace::Lost => false,
        }
    }

    /// What the hasher does just now.
    pub(super) fn stage(&self) -> HashStage {
        let state = self.state();
        match state.hasher {
            HasherPlace::Here(_) => HashStage::Free(state.hashed),
            HasherPlace::AtWork => HashStage::Busy,
            HasherPlace::Lost => HashStage::Lost,
        }
    }

    fn state(&self) -> MutexGuard<'_, HashState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings the hasher back.
struct Borrowed<'a> {
    hashing: &'a Hashing,
    /// `None`: it is lost.
    hasher: Option<Hasher>,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let place = self.hasher.take().map_or(HasherPlace::Lost, HasherPlace::Here);
        self.hashing.state().hasher = place;
        self.hashing.moved.notify(usize::MAX);
    }
}
