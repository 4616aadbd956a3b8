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

/// How long the upload of a blob may take.
const UPLOAD: Duration = Duration::from_hours(1);
/// Bytes of one part of an upload. S3 takes ten thousand of them: blobs of up to 156 GiB.
pub(super) const PART_BYTES: usize = 16 << 20;

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

    /// Sends all of it; the object appears when the last part is confirmed.
    async fn upload(&self, length: u64) -> Result<(), StoreError> {
        let options = WriteOptions { chunk: Some(PART_BYTES), ..WriteOptions::default() };
        let mut writer = self.bucket.operator.writer_options(self.key.as_str(), options).await.map_err(why)?;
        let sent = self.send(&mut writer, length).await;
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
        tokio::time::timeout(UPLOAD, self.upload(length)).await.map_err(|_| StoreError::TimedOut)??;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Committed;
        Ok(())
    }
}
