//! What a [`MemoryStore`](super::MemoryStore) holds: items, parts of uploads, and how many bytes they take.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::cache::Key;
use crate::platform::{Stat, StoreError, Swept, Validator};

pub(super) struct MemoryContents {
    pub(super) capacity: u64,
    pub(super) state: Mutex<MemoryState>,
}

#[derive(Default)]
pub(super) struct MemoryState {
    pub(super) items: BTreeMap<Key, MemoryItem>,
    /// What has come in parts so far.
    pub(super) uploads: BTreeMap<u64, MemoryParts>,
    /// Bytes of all items and parts, and of what drafts have been promised.
    pub(super) taken: u64,
    /// How many items, uploads and parts there ever were.
    pub(super) count: u64,
}

pub(super) struct MemoryItem {
    pub(super) bytes: Bytes,
    pub(super) number: u64,
    pub(super) used: u64,
}

impl MemoryContents {
    pub(super) fn state(&self) -> MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Promises so many bytes, where there is room for them.
    pub(super) fn take(&self, bytes: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        if bytes > self.capacity.saturating_sub(state.taken) {
            return Err(StoreError::Full);
        }
        state.taken += bytes;
        Ok(())
    }

    pub(super) fn give_back(&self, bytes: u64) {
        let mut state = self.state();
        state.taken = state.taken.saturating_sub(bytes);
    }
}

impl MemoryState {
    /// Puts in what room was taken for.
    pub(super) fn put(&mut self, key: Key, bytes: Bytes, now: u64) {
        self.count += 1;
        let item = MemoryItem { bytes, number: self.count, used: now };
        if let Some(before) = self.items.insert(key, item) {
            self.taken = self.taken.saturating_sub(before.bytes.len() as u64);
        }
    }
}

impl MemoryItem {
    pub(super) fn stat(&self) -> Stat {
        Stat { length: self.bytes.len() as u64, validator: Validator(self.number.to_string().into()) }
    }
}

/// What is there of an upload, whoever is at it.
pub(super) struct MemoryParts {
    pub(super) key: Key,
    /// By their place; one that is sent again takes the place of the first.
    pub(super) sent: BTreeMap<usize, PartSent>,
    /// Who is at it now.
    pub(super) handles: usize,
    pub(super) touched: u64,
}

pub(super) struct PartSent {
    pub(super) number: u64,
    pub(super) bytes: Bytes,
}

impl MemoryParts {
    /// Bytes of these parts; `None`: they are not all there any more.
    pub(super) fn length_of(&self, sent: &[u64]) -> Option<u64> {
        let mut length = 0;
        for (place, number) in sent.iter().enumerate() {
            length += self.sent.get(&place).filter(|part| part.number == *number)?.bytes.len() as u64;
        }
        Some(length)
    }

    /// Bytes of all parts.
    pub(super) fn taken(&self) -> u64 {
        self.sent.values().map(|part| part.bytes.len() as u64).sum()
    }
}

impl MemoryState {
    /// Takes an upload back, and says how many bytes it had.
    pub(super) fn forget(&mut self, id: u64) -> u64 {
        let bytes = self.uploads.remove(&id).map_or(0, |upload| upload.taken());
        self.taken = self.taken.saturating_sub(bytes);
        bytes
    }

    /// Takes back what nobody is at and nobody has touched for so long.
    pub(super) fn sweep(&mut self, now: u64, age: Duration) -> Swept {
        let is_litter =
            |upload: &MemoryParts| upload.handles == 0 && now.saturating_sub(upload.touched) >= age.as_secs();
        let litter: Vec<u64> =
            self.uploads.iter().filter(|(_, upload)| is_litter(upload)).map(|(id, _)| *id).collect();
        let bytes = litter.iter().map(|id| self.forget(*id)).sum();
        Swept { count: litter.len() as u64, bytes }
    }
}
