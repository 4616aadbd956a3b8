//! Drafts of blobs that arrive: whole, or in ranges of which nobody knows how many will come.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::Blobs;
use crate::cache::Key;
use crate::cache::backend::CacheBackend;
use crate::digest::Digest;
use crate::platform::{Draft, Part, StoreError};

impl Blobs {
    /// A draft for a blob that arrives; `None`: there is no room, and it is not stored.
    pub(crate) async fn draft(&self, digest: &Digest, length: u64) -> Option<Arc<dyn Draft>> {
        if self.is_too_long(length) || !self.backend.admit(length).await {
            return None;
        }
        let key = Key::blob(digest);
        let draft = self.backend.ask("draft", async {
            let draft = self.backend.store.draft(&key, Some(length)).await;
            draft.inspect_err(|error| {
                if matches!(error, StoreError::Full) {
                    self.backend.pressure.report_full(length);
                }
            })
        });
        let draft = draft.await;
        if draft.is_none() {
            self.backend.pressure.subtract(length);
        }
        draft
    }

    /// A draft for ranges of a blob: no room is promised for the rest, which nobody may ask for.
    pub(crate) async fn sparse_draft(&self, digest: &Digest, length: u64) -> Option<Arc<dyn Draft>> {
        if self.is_too_long(length) {
            return None;
        }
        let backend = Arc::clone(&self.backend);
        let inner = backend.ask("draft", backend.store.draft(&Key::blob(digest), None)).await?;
        Some(Arc::new(SparseDraft { inner, backend, written: AtomicU64::new(0) }))
    }

    /// Whether the store may hold so many bytes, once everything else is evicted.
    pub(crate) fn may_hold(&self, length: u64) -> bool {
        length <= self.max_bytes.store
    }

    /// Whether it is too long for the store, or for the local disk on its way into a bucket.
    fn is_too_long(&self, length: u64) -> bool {
        !self.may_hold(length) || length > self.max_bytes.scratch && self.backend.capabilities().stages_locally
    }
}

/// A draft that grows range by range. It asks for room with each write, and reports a refused write: nobody else would.
struct SparseDraft {
    inner: Arc<dyn Draft>,
    backend: Arc<CacheBackend>,
    /// Bytes so far.
    written: AtomicU64,
}

#[async_trait]
impl Draft for SparseDraft {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
        let length = bytes.len() as u64;
        let written = if self.backend.try_admit(length) {
            self.inner.write_at(offset, bytes).await
        } else {
            Err(StoreError::Full)
        };
        match &written {
            Ok(()) => drop(self.written.fetch_add(length, Ordering::Relaxed)),
            Err(error) => {
                // The draft is not kept, so all its bytes are wanted again.
                if matches!(error, StoreError::Full) {
                    self.backend.pressure.report_full(self.written.load(Ordering::Relaxed).saturating_add(length));
                }
                self.backend.failed("keep", error);
            }
        }
        written
    }

    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        self.inner.read_at(offset, most).await
    }

    fn handle_of(&self, part: Part) -> Option<Box<dyn Any + Send>> {
        self.inner.handle_of(part)
    }

    async fn commit(&self, length: u64) -> Result<(), StoreError> {
        self.inner.commit(length).await
    }
}
