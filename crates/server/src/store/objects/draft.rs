//! A blob that arrives in a scratch directory and goes to the bucket when it is committed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opendal::options::WriteOptions;
use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::{Draft, StoreError};

use super::bucket::{Bucket, why};
use super::multipart::{MAX_PARTS, PART_BYTES};

/// How long the upload of a blob may take, and how long it may wait for its turn.
const UPLOAD: Duration = Duration::from_hours(1);
/// Blobs that are uploaded at once. Each has up to three parts in memory: one that is being read, one that `OpenDAL`
/// holds, and a copy of that on its way.
pub(super) const TURNS: usize = 2;

/// A blob that is arriving on this machine's disk.
pub(super) struct ObjectDraft {
    bucket: Arc<Bucket>,
    key: Key,
    scratch: Arc<dyn Draft>,
    /// Offset behind the last byte.
    written: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default, PartialEq)]
enum State {
    #[default]
    Open,
    Committed,
}

impl ObjectDraft {
    pub(super) fn new(bucket: Arc<Bucket>, key: Key, scratch: Arc<dyn Draft>) -> Self {
        Self { bucket, key, scratch, written: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Sends all of it when it is its turn; the object appears when the last part is confirmed.
    async fn upload(&self, length: u64) -> Result<(), StoreError> {
        let turn = tokio::time::timeout(UPLOAD, self.bucket.turns.acquire()).await;
        let _turn = turn.map_err(|_| StoreError::TimedOut)?.map_err(StoreError::failed)?;
        let options = WriteOptions { chunk: Some(part_bytes(length)), ..WriteOptions::default() };
        let mut writer = self.bucket.operator.writer_options(self.key.as_str(), options).await.map_err(why)?;
        let sent = tokio::time::timeout(UPLOAD, self.send(&mut writer, length)).await;
        let sent = sent.unwrap_or(Err(StoreError::TimedOut));
        if sent.is_err() {
            // What cannot be taken back now is left to the bucket.
            let _ = writer.abort().await;
        }
        sent
    }

    async fn send(&self, writer: &mut opendal::Writer, length: u64) -> Result<(), StoreError> {
        let mut offset = 0;
        while offset < length {
            let most = usize::try_from(length - offset).map_or(PART_BYTES, |left| left.min(PART_BYTES));
            let piece = self.scratch.read_at(offset, most).await?;
            offset += piece.len() as u64;
            writer.write(piece).await.map_err(why)?;
        }
        writer.close().await.map(|_| ()).map_err(why)
    }
}

/// Bytes of each part of a blob of this length: more than usual where it would have too many.
fn part_bytes(length: u64) -> usize {
    usize::try_from(length.div_ceil(MAX_PARTS as u64)).map_or(usize::MAX, |least| least.max(PART_BYTES))
}

#[async_trait]
impl Draft for ObjectDraft {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
        let end = offset.saturating_add(bytes.len() as u64);
        self.scratch.write_at(offset, bytes).await?;
        self.written.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        self.scratch.read_at(offset, most).await
    }

    async fn commit(&self, length: u64) -> Result<(), StoreError> {
        let written = self.written.load(Ordering::Acquire);
        if written != length {
            return Err(StoreError::failed(format!("{written} bytes were written, and {length} promised")));
        }
        if *self.state.lock().unwrap_or_else(PoisonError::into_inner) == State::Committed {
            return Err(StoreError::failed("it is committed already"));
        }
        self.upload(length).await?;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Committed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_blob_has_more_parts_than_a_store_takes() {
        for length in [0, 1, 8 << 20, 80_000 << 20, (80_000 << 20) + 1, 5 << 40] {
            let part = part_bytes(length) as u64;
            assert!(part >= 8 << 20 && length.div_ceil(part) <= 10_000, "{length}: parts of {part}");
        }
        assert_eq!(part_bytes(80_000 << 20), PART_BYTES);
    }
}
