//! A draft of which nobody knows how much will come: ranges that clients ask for. It takes room bit by bit, and says so,
//! and where the store takes no more of it, that is said as well: nobody else would.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Cache, Key};
use crate::digest::Digest;
use crate::platform::{Draft, StoreError};

impl Cache {
    /// Room for some of a blob: nothing is promised for the rest, which perhaps nobody wants.
    pub(crate) async fn sparse_draft(self: &Arc<Self>, digest: &Digest, length: u64) -> Option<Arc<dyn Draft>> {
        if self.is_too_long(length) {
            return None;
        }
        let inner = self.ask("draft", self.store.draft(&Key::blob(digest), None)).await?;
        Some(Arc::new(Sparse { inner, cache: Arc::clone(self), written: AtomicU64::new(0) }))
    }
}

struct Sparse {
    inner: Arc<dyn Draft>,
    cache: Arc<Cache>,
    /// Bytes so far.
    written: AtomicU64,
}

#[async_trait]
impl Draft for Sparse {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
        let length = bytes.len() as u64;
        let written = if self.cache.try_admit(length) {
            self.inner.write_at(offset, bytes).await
        } else {
            Err(StoreError::Full)
        };
        match &written {
            Ok(()) => drop(self.written.fetch_add(length, Ordering::Relaxed)),
            Err(error) => {
                // All of it is wanted again, and what is here is not kept.
                if matches!(error, StoreError::Full) {
                    self.cache.pressure.report_full(self.written.load(Ordering::Relaxed).saturating_add(length));
                }
                self.cache.failed("keep", error);
            }
        }
        written
    }

    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        self.inner.read_at(offset, most).await
    }

    async fn commit(&self, length: u64) -> Result<(), StoreError> {
        self.inner.commit(length).await
    }
}
