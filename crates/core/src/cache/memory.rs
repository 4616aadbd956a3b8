//! Content in memory, until the process ends.

mod contents;
mod pieces;
mod upload;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use url::Url;

use self::contents::{MemoryContents, MemoryItem};
use self::pieces::{DraftPieces, range};
use self::upload::{Manner, MemoryUpload};
use super::Key;
use crate::body::Body;
use crate::platform::{
    Clock, Draft, Entry, Found, Part, Precondition, Stat, Store, StoreCapabilities, StoreError, Swept, Upload,
};

/// Bytes of one part of an upload, as with object stores.
const PART_BYTES: usize = 8 << 20;

/// A bounded store: when it is full, it says so, and whoever writes decides what goes.
pub struct MemoryStore {
    contents: Arc<MemoryContents>,
    clock: Arc<dyn Clock>,
    is_shared: bool,
    manner: Manner,
    links: Option<Url>,
}

impl MemoryStore {
    /// Room for so many bytes.
    pub fn new(capacity: u64, clock: Arc<dyn Clock>) -> Self {
        let contents = Arc::new(MemoryContents { capacity, state: Mutex::default() });
        let manner = Manner { part_bytes: PART_BYTES, takes: Duration::ZERO };
        Self { contents, clock, is_shared: false, manner, links: None }
    }
}

/// What tests want of it.
#[cfg(any(test, feature = "testing"))]
impl MemoryStore {
    /// As if other processes had it, too.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }

    /// Another process on the same content.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            contents: Arc::clone(&self.contents),
            clock: Arc::clone(&self.clock),
            is_shared: self.is_shared,
            manner: self.manner,
            links: self.links.clone(),
        }
    }

    /// Uploads in parts of so many bytes, a multiple of 64.
    #[must_use]
    pub fn in_parts_of(self, part_bytes: usize) -> Self {
        Self { manner: Manner { part_bytes, ..self.manner }, ..self }
    }

    /// Takes so long for each part.
    #[must_use]
    pub fn taking(self, takes: Duration) -> Self {
        Self { manner: Manner { takes, ..self.manner }, ..self }
    }

    /// Gives links below an address, as an object store does.
    #[must_use]
    pub fn linking(self, base: Url) -> Self {
        Self { links: Some(base), ..self }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn capabilities(&self) -> StoreCapabilities {
        // With links it stands for a bucket.
        let is_bucket = self.links.is_some();
        StoreCapabilities {
            links: is_bucket,
            uploads: true,
            stages_locally: is_bucket,
            verifies: false,
            reads_back: is_bucket,
            is_shared: self.is_shared,
        }
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(self.contents.state().items.get(key).map(|item| item.bytes.clone()))
    }

    async fn write(&self, key: &Key, value: Bytes, precondition: Precondition) -> Result<bool, StoreError> {
        let now = self.clock.unix_seconds();
        let length = value.len() as u64;
        let mut state = self.contents.state();
        let before = state.items.get(key).map(|item| item.bytes.len() as u64);
        if precondition == Precondition::Absent && before.is_some() {
            return Ok(false);
        }
        let others = state.taken.saturating_sub(before.unwrap_or(0));
        if length > self.contents.capacity.saturating_sub(others) {
            return Err(StoreError::Full);
        }
        state.taken += length;
        state.put(key.clone(), value, now);
        Ok(true)
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        let mut state = self.contents.state();
        if let Some(item) = state.items.remove(key) {
            state.taken = state.taken.saturating_sub(item.bytes.len() as u64);
        }
        Ok(())
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        Ok(self.contents.state().items.get(key).map(MemoryItem::stat))
    }

    async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        let state = self.contents.state();
        let Some(item) = state.items.get(key) else { return Ok(None) };
        let bytes = match part {
            None => item.bytes.clone(),
            Some(part) => slice(&item.bytes, part.first, part.end),
        };
        Ok(Some(Found { stat: item.stat(), body: Body::from(bytes) }))
    }

    async fn draft(&self, key: &Key, length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        let promised = length.unwrap_or(0);
        self.contents.take(promised)?;
        let content = Mutex::new(DraftContent { written: DraftState::Open(DraftPieces::default()), promised });
        Ok(Arc::new(MemoryDraft {
            contents: Arc::clone(&self.contents),
            clock: Arc::clone(&self.clock),
            key: key.clone(),
            content,
        }))
    }

    async fn upload(&self, key: &Key) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(MemoryUpload::begin(&self.contents, &self.clock, key, self.manner)?))
    }

    async fn resume_upload(&self, key: &Key, parked: &str) -> Result<Option<Box<dyn Upload>>, StoreError> {
        let upload = MemoryUpload::resume(&self.contents, &self.clock, key, self.manner, parked);
        Ok(upload.map(|upload| Box::new(upload) as Box<dyn Upload>))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, StoreError>> {
        let state = self.contents.state();
        let found = state.items.iter().filter(|(key, _)| key.as_str().starts_with(prefix));
        let entries = found.map(|(key, item)| {
            let size = item.bytes.len() as u64;
            Ok(Entry { key: key.clone(), size, taken: size, used: item.used })
        });
        stream::iter(entries.collect::<Vec<_>>()).boxed()
    }

    fn used(&self, key: &Key) {
        let now = self.clock.unix_seconds();
        if let Some(item) = self.contents.state().items.get_mut(key) {
            item.used = now;
        }
    }

    async fn link(&self, key: &Key, life: Duration) -> Result<Url, StoreError> {
        let base = self.links.as_ref().ok_or_else(|| StoreError::failed("no links were asked for"))?;
        let expires = self.clock.unix_seconds().saturating_add(life.as_secs());
        let mut link = base.join(key.as_str()).map_err(StoreError::failed)?;
        link.query_pairs_mut().append_pair("sig", "signed").append_pair("expires", &expires.to_string());
        Ok(link)
    }

    async fn free(&self) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.contents.capacity.saturating_sub(self.contents.state().taken)))
    }

    async fn sweep(&self, age: Duration) -> Result<Swept, StoreError> {
        let now = self.clock.unix_seconds();
        Ok(self.contents.state().sweep(now, age))
    }
}

struct MemoryDraft {
    contents: Arc<MemoryContents>,
    clock: Arc<dyn Clock>,
    key: Key,
    content: Mutex<DraftContent>,
}

struct DraftContent {
    written: DraftState,
    /// Bytes that are promised and not yet there.
    promised: u64,
}

enum DraftState {
    Open(DraftPieces),
    Kept(Bytes),
}

impl MemoryDraft {
    fn content(&self) -> MutexGuard<'_, DraftContent> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Draft for MemoryDraft {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
        let mut content = self.content();
        let DraftContent { written, promised } = &mut *content;
        let DraftState::Open(pieces) = written else {
            return Err(StoreError::failed("it is committed already"));
        };
        let length = pieces.length() + bytes.len() as u64;
        if length > *promised {
            self.contents.take(length - *promised)?;
            *promised = length;
        }
        pieces.write(offset, &bytes)
    }

    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        let content = self.content();
        let end = offset.saturating_add(most as u64);
        let bytes = match &content.written {
            DraftState::Kept(bytes) => slice(bytes, offset, end),
            DraftState::Open(pieces) => pieces.read(offset, most),
        };
        if bytes.is_empty() { Err(StoreError::failed("nothing is written there")) } else { Ok(bytes) }
    }

    async fn commit(&self, length: u64) -> Result<(), StoreError> {
        let now = self.clock.unix_seconds();
        let mut content = self.content();
        let DraftState::Open(pieces) = &mut content.written else {
            return Err(StoreError::failed("it is committed already"));
        };
        if !pieces.are_whole(length) {
            let what = format!("{} bytes were written, and {length} in one piece promised", pieces.length());
            return Err(StoreError::failed(what));
        }
        let bytes = Bytes::from(pieces.join()?);
        content.written = DraftState::Kept(bytes.clone());
        let surplus = std::mem::take(&mut content.promised).saturating_sub(length);
        let mut state = self.contents.state();
        state.taken = state.taken.saturating_sub(surplus);
        state.put(self.key.clone(), bytes, now);
        Ok(())
    }
}

impl Drop for MemoryDraft {
    fn drop(&mut self) {
        let promised = self.content().promised;
        self.contents.give_back(promised);
    }
}

fn slice(bytes: &Bytes, first: u64, end: u64) -> Bytes {
    bytes.slice(range(bytes.len(), first, end))
}
