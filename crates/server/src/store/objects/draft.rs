//! A draft: a blob that is written to the scratch directory, and uploaded to the bucket when it is committed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use opendal::options::WriteOptions;
use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::{Draft, StoreError};

use super::bucket::{Bucket, store_error};
use super::multipart::{MAX_PARTS, Multipart, PART_BYTES, Refusal};

/// How long an upload may wait for its turn.
const TURN: Duration = Duration::from_hours(1);
/// Slowest accepted upload in bytes a second, after an allowance of [`TURN`].
const LEAST_RATE: u64 = 32 << 10;
/// A blob that is being written to the local disk.
pub(super) struct ObjectDraft {
    bucket: Arc<Bucket>,
    key: Key,
    scratch: Arc<dyn Draft>,
    /// Offset after the last byte.
    written: AtomicU64,
    state: Mutex<DraftState>,
}

#[derive(Default, PartialEq)]
enum DraftState {
    #[default]
    Open,
    Committed,
}

impl ObjectDraft {
    pub(super) fn new(bucket: Arc<Bucket>, key: Key, scratch: Arc<dyn Draft>) -> Self {
        Self { bucket, key, scratch, written: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Uploads the blob when it is its turn. The object appears when the last part is confirmed.
    async fn upload(&self, length: u64) -> Result<(), StoreError> {
        let turn = tokio::time::timeout(TURN, self.bucket.turns.acquire()).await;
        let _turn = turn.map_err(|_| StoreError::TimedOut)?.map_err(StoreError::failed)?;
        if length <= PART_BYTES as u64 {
            let bytes = if length == 0 { Bytes::new() } else { self.piece(0, length).await? };
            let written = self.bucket.operator.write(self.key.as_str(), bytes).await;
            return match written {
                Ok(_) => self.bucket.verify_length(&self.key, length).await,
                Err(error) => Err(store_error(error)),
            };
        }
        // Where we sign ourselves, use our own multipart upload, which can finish or abort an upload reliably.
        if self.bucket.signing.is_some() {
            self.send_in_parts(length).await
        } else {
            self.send_through(length).await
        }
    }

    async fn send_in_parts(&self, length: u64) -> Result<(), StoreError> {
        let multipart = Multipart { bucket: &self.bucket, key: &self.key };
        let id = multipart.create().await?;
        let sent = tokio::time::timeout(allowance(length), self.send_parts(multipart, &id, length)).await;
        let done = match sent.unwrap_or(Err(StoreError::TimedOut)) {
            Ok(tags) => multipart.finish(&id, &tags, length).await,
            Err(error) => Err(Refusal::Never(error)),
        };
        if let Err(Refusal::Never(_)) = &done {
            // If this fails, a sweep aborts the upload. It is not aborted where the result is unknown: the store may still be
            // completing it.
            let _ = multipart.abort(&id).await;
        }
        done.map_err(Refusal::into_error)
    }

    async fn send_parts(
        &self,
        multipart: Multipart<'_>,
        id: &str,
        length: u64,
    ) -> Result<Vec<String>, StoreError> {
        let (mut offset, mut tags) = (0, Vec::new());
        let part = part_bytes(length) as u64;
        while offset < length {
            let piece = self.piece(offset, part.min(length - offset)).await?;
            offset += piece.len() as u64;
            tags.push(multipart.part(id, tags.len() + 1, piece).await?);
        }
        Ok(tags)
    }

    /// Uploads through `OpenDAL`, where it signs.
    async fn send_through(&self, length: u64) -> Result<(), StoreError> {
        let options = WriteOptions { chunk: Some(part_bytes(length)), ..WriteOptions::default() };
        let mut writer =
            self.bucket.operator.writer_options(self.key.as_str(), options).await.map_err(store_error)?;
        let writing = async {
            let mut offset = 0;
            while offset < length {
                let piece = self.piece(offset, (PART_BYTES as u64).min(length - offset)).await?;
                offset += piece.len() as u64;
                writer.write(piece).await.map_err(store_error)?;
            }
            Ok(())
        };
        let sent = tokio::time::timeout(allowance(length), writing).await;
        if let Err(error) = sent.unwrap_or(Err(StoreError::TimedOut)) {
            let _ = writer.abort().await;
            return Err(error);
        }
        let closed = writer.close().await.map_err(store_error);
        match (closed, self.bucket.verify_length(&self.key, length).await) {
            (_, Ok(())) => Ok(()),
            (Ok(_), Err(error)) | (Err(error), Err(_)) => Err(error),
        }
    }

    /// Reads this many bytes from an offset.
    async fn piece(&self, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let length = usize::try_from(length).map_err(StoreError::failed)?;
        let mut piece = self.scratch.read_at(offset, length).await?;
        if piece.len() < length {
            let mut whole = BytesMut::with_capacity(length);
            while piece.len() < length - whole.len() {
                whole.extend_from_slice(&piece);
                piece = self.scratch.read_at(offset + whole.len() as u64, length - whole.len()).await?;
            }
            whole.extend_from_slice(&piece);
            piece = whole.freeze();
        }
        Ok(piece)
    }
}

/// Time limit for uploading all parts of a blob of this length.
fn allowance(length: u64) -> Duration {
    TURN + Duration::from_secs(length / LEAST_RATE)
}

/// Part size for a blob of this length: larger than usual if there would be too many parts.
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
        if *self.state.lock().unwrap_or_else(PoisonError::into_inner) == DraftState::Committed {
            return Err(StoreError::failed("it is committed already"));
        }
        self.upload(length).await?;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = DraftState::Committed;
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
