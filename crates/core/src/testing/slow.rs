//! A store whose drafts take their time, as disks and networks do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::cache::Key;
use crate::platform::{Abilities, Draft, Entry, Found, Part, Stat, Store, StoreError, Swept, When};

/// What a write waits for, before and after it is done.
pub type Pause = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Another store, with a pause around each write of a blob.
pub struct SlowStore {
    inner: Arc<dyn Store>,
    pause: Pause,
}

impl SlowStore {
    /// Slows another down.
    pub fn new(inner: Arc<dyn Store>, pause: Pause) -> Self {
        Self { inner, pause }
    }
}

struct SlowDraft {
    inner: Arc<dyn Draft>,
    pause: Pause,
}

#[async_trait]
impl Draft for SlowDraft {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
        (self.pause)().await;
        let written = self.inner.write_at(offset, bytes).await;
        (self.pause)().await;
        written
    }

    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        self.inner.read_at(offset, most).await
    }

    async fn commit(&self, length: u64) -> Result<(), StoreError> {
        (self.pause)().await;
        self.inner.commit(length).await
    }
}

#[async_trait]
impl Store for SlowStore {
    fn abilities(&self) -> Abilities {
        Abilities { is_shared: self.inner.abilities().is_shared, ..Abilities::default() }
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.inner.read(key).await
    }

    async fn write(&self, key: &Key, value: Bytes, when: When) -> Result<bool, StoreError> {
        self.inner.write(key, value, when).await
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.remove(key).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.inner.stat(key).await
    }

    async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        self.inner.open(key, part).await
    }

    async fn draft(&self, key: &Key, length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        let inner = self.inner.draft(key, length).await?;
        Ok(Arc::new(SlowDraft { inner, pause: Arc::clone(&self.pause) }))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, StoreError>> {
        self.inner.list(prefix)
    }

    fn used(&self, key: &Key) {
        self.inner.used(key);
    }

    async fn free(&self) -> Result<Option<u64>, StoreError> {
        self.inner.free().await
    }

    async fn sweep(&self, age: Duration) -> Result<Swept, StoreError> {
        self.inner.sweep(age).await
    }
}
