//! Uploads in parts, as an object store has them: parts lie there until they are committed, taken back or swept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::contents::{MemoryContents, MemoryParts, MemoryState, PartSent};
use crate::cache::Key;
use crate::platform::{Clock, StoreError, Upload};

/// Uploads at once.
const MAX_UPLOADS: usize = 1024;
/// Parts of one upload, as with S3.
const MAX_PARTS: usize = 10_000;
/// First word of what is parked: its form.
const FORM: &str = "memory-1";

/// How parts are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Bytes of every part but the last.
    pub(super) part_bytes: usize,
    /// How long each takes.
    pub(super) takes: Duration,
}

/// One process at an upload.
pub(super) struct MemoryUpload {
    contents: Arc<MemoryContents>,
    clock: Arc<dyn Clock>,
    id: u64,
    manner: Manner,
    /// The parts that this process knows of.
    sent: Vec<u64>,
    bytes: u64,
}

impl MemoryUpload {
    pub(super) fn begin(
        contents: &Arc<MemoryContents>,
        clock: &Arc<dyn Clock>,
        key: &Key,
        manner: Manner,
    ) -> Result<Self, StoreError> {
        let mut state = contents.state();
        if state.uploads.len() >= MAX_UPLOADS {
            return Err(StoreError::Full);
        }
        state.count += 1;
        let id = state.count;
        let touched = clock.unix_seconds();
        state.uploads.insert(id, MemoryParts { key: key.clone(), sent: BTreeMap::new(), handles: 1, touched });
        drop(state);
        let (contents, clock) = (Arc::clone(contents), Arc::clone(clock));
        Ok(Self { contents, clock, id, manner, sent: Vec::new(), bytes: 0 })
    }

    /// Goes on where somebody parked; `None`: that is not there, or not of this key.
    pub(super) fn resume(
        contents: &Arc<MemoryContents>,
        clock: &Arc<dyn Clock>,
        key: &Key,
        manner: Manner,
        parked: &str,
    ) -> Option<Self> {
        let (id, bytes, sent) = parse(parked)?;
        let mut state = contents.state();
        let found = state.uploads.get_mut(&id).filter(|found| found.key == *key)?;
        let length = found.length_of(&sent)?;
        if length != bytes {
            return None;
        }
        found.handles += 1;
        found.touched = clock.unix_seconds();
        drop(state);
        Some(Self { contents: Arc::clone(contents), clock: Arc::clone(clock), id, manner, sent, bytes })
    }

    /// Whether the next part would lie behind one that was shorter than it may be.
    fn has_ended(&self) -> bool {
        self.bytes < (self.sent.len() as u64).saturating_mul(self.manner.part_bytes as u64)
    }
}

fn parse(parked: &str) -> Option<(u64, u64, Vec<u64>)> {
    let mut words = parked.split(' ');
    if words.next() != Some(FORM) {
        return None;
    }
    let id = words.next()?.parse().ok()?;
    let bytes = words.next()?.parse().ok()?;
    let sent: Vec<u64> = words.take(MAX_PARTS + 1).map(|word| word.parse().ok()).collect::<Option<_>>()?;
    (sent.len() <= MAX_PARTS).then_some((id, bytes, sent))
}

fn gone() -> StoreError {
    StoreError::failed("the upload is not there any more")
}

#[async_trait]
impl Upload for MemoryUpload {
    fn part_bytes(&self) -> usize {
        self.manner.part_bytes
    }

    async fn part(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.is_empty()
            || bytes.len() > self.manner.part_bytes
            || self.has_ended()
            || self.sent.len() >= MAX_PARTS
        {
            let what = format!("a part of {} bytes behind {}", bytes.len(), self.bytes);
            return Err(StoreError::failed(what));
        }
        if !self.manner.takes.is_zero() {
            self.clock.sleep(self.manner.takes).await;
        }
        let length = bytes.len() as u64;
        let now = self.clock.unix_seconds();
        let mut state = self.contents.state();
        let MemoryState { taken, count, uploads, .. } = &mut *state;
        let upload = uploads.get_mut(&self.id).ok_or_else(gone)?;
        if length > self.contents.capacity.saturating_sub(*taken) {
            return Err(StoreError::Full);
        }
        *count += 1;
        let part = PartSent { number: *count, bytes };
        let before = upload.sent.insert(self.sent.len(), part);
        *taken = (*taken + length).saturating_sub(before.map_or(0, |part| part.bytes.len() as u64));
        upload.touched = now;
        self.sent.push(*count);
        self.bytes += length;
        Ok(())
    }

    fn park(&self) -> String {
        let mut text = format!("{FORM} {} {}", self.id, self.bytes);
        for number in &self.sent {
            text.push(' ');
            text.push_str(&number.to_string());
        }
        text
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let now = self.clock.unix_seconds();
        let mut state = self.contents.state();
        let upload = state.uploads.get(&self.id).ok_or_else(gone)?;
        if upload.length_of(&self.sent) != Some(self.bytes) {
            return Err(StoreError::failed("a part was sent again by another process"));
        }
        let mut whole = Vec::new();
        whole
            .try_reserve_exact(usize::try_from(self.bytes).map_err(|_| StoreError::Full)?)
            .map_err(|_| StoreError::Full)?;
        for part in upload.sent.values().take(self.sent.len()) {
            whole.extend_from_slice(&part.bytes);
        }
        let (key, surplus) = (upload.key.clone(), upload.taken().saturating_sub(self.bytes));
        state.uploads.remove(&self.id);
        state.taken = state.taken.saturating_sub(surplus);
        state.put(key, whole.into(), now);
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.contents.state().forget(self.id);
        Ok(())
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        if let Some(upload) = self.contents.state().uploads.get_mut(&self.id) {
            upload.handles = upload.handles.saturating_sub(1);
        }
    }
}
