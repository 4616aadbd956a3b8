//! What an import writes before it is known what it means: blobs, each of which is visible only once it was held against its
//! digest. No manifest or tag leads to them yet ([`adopt`](super::adopt)).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};

use super::CacheAdmin;
use crate::cache::{Key, StoredManifest};
use crate::digest::{Digest, Hasher};
use crate::platform::{Draft, StoreError, UPLOAD_DEADLINE, within};

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// It is in the cache now.
    New,
    /// It was there before, perhaps as a manifest. Its bytes were held against the digest all the same.
    Already,
}

/// Why a blob was not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The bytes have another digest, or are more or fewer than was said.
    #[error("the bytes do not have the digest {0}")]
    Mismatch(Digest),
    /// They did not come to their end.
    #[error("{0}")]
    Source(String),
    /// The running server takes no blob of this length.
    #[error(
        "the cache takes no blob of {0} bytes now: it has no room for it, or its store fails; the server's log says which"
    )]
    NotAdmitted(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The bytes of a blob as they arrive; an error says why no more come.
type BlobPieces<'a> = &'a mut (dyn Stream<Item = Result<Bytes, String>> + Send + Unpin);

impl CacheAdmin {
    /// Keeps a blob, once all its `length` bytes have come and have its digest.
    pub async fn keep_blob(&self, digest: &Digest, length: u64, bytes: BlobPieces<'_>) -> Result<Kept, KeepError> {
        let mismatch = || KeepError::Mismatch(digest.clone());
        let mut hasher = Hasher::new(digest).ok_or_else(mismatch)?;
        let is_manifest = |manifest: StoredManifest| manifest.bytes.len() as u64 == length;
        let is_here = self.blob_bytes(digest).await? == Some(length)
            || self.stored_manifest(digest).await?.is_some_and(is_manifest);
        let draft = if is_here { None } else { Some(self.blob_draft(digest, length).await?) };
        let mut written: u64 = 0;
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(KeepError::Source)?;
            hasher.update(&piece);
            let offset = written;
            written = written.saturating_add(piece.len() as u64);
            if written > length {
                return Err(mismatch());
            }
            if let Some(draft) = &draft {
                self.in_long_time(draft.write_at(offset, piece)).await?;
            }
        }
        if written != length || !hasher.is(digest) {
            return Err(mismatch());
        }
        let Some(draft) = draft else { return Ok(Kept::Already) };
        self.in_long_time(draft.commit(length)).await?;
        if let Some(live) = &self.live {
            // What it knows is of the blob that was there before.
            live.cache.lost(&Key::blob(digest));
        }
        Ok(Kept::New)
    }

    async fn blob_draft(&self, digest: &Digest, length: u64) -> Result<Arc<dyn Draft>, KeepError> {
        match &self.live {
            // It makes room first.
            Some(live) => live.cache.blobs.draft(digest, length).await.ok_or(KeepError::NotAdmitted(length)),
            None => Ok(self.in_time(self.store.draft(&Key::blob(digest), Some(length))).await?),
        }
    }

    /// Takes back blobs that were kept, and that no manifest needs.
    pub async fn discard_blobs(&self, digests: &[Digest]) -> Result<(), StoreError> {
        for digest in digests {
            self.remove(&Key::blob(digest)).await?;
        }
        Ok(())
    }

    /// The store's answer to something that takes as long as its bytes take.
    async fn in_long_time<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        within(&*self.clock, UPLOAD_DEADLINE, answer).await.unwrap_or(Err(StoreError::TimedOut))
    }
}
