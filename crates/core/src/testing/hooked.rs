//! A store where a test has its say at each step: it may wait there, as for disks and networks, count, or fail.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use url::Url;

use crate::body::Body;
use crate::cache::Key;
use crate::digest::Digest;
use crate::platform::{
    Draft, Entry, Found, Part, Passing, Precondition, Stat, Store, StoreCapabilities, StoreError, Swept, Upload,
};

/// What a store is about to do, or has just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read a record.
    Read,
    /// Write a record.
    Write,
    /// It has written a record, or failed to.
    Written,
    /// Remove something.
    Remove,
    /// Look at a blob.
    Stat,
    /// Open a whole blob.
    OpenWhole,
    /// Open a part of one.
    OpenPart,
    /// Begin a draft.
    Draft,
    /// Write into a draft.
    DraftWrite,
    /// It has written into a draft, or failed to.
    DraftWritten,
    /// Commit a draft.
    Commit,
    /// Begin an upload in parts, or go on with one.
    Upload,
    /// List what is below a prefix, which stands in the key's place.
    List,
    /// Give a link.
    Link,
    /// Say how much room there is; of no key.
    Free,
    /// Sweep; of no key.
    Sweep,
}

/// What a test does at the steps of a store.
pub trait Hook: Send + Sync {
    /// The step goes on when this has ended, unless it fails; then the step fails in its stead.
    fn at(&self, step: Step, key: &str) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What is read in place of what was opened.
    fn opened(&self, _step: Step, _key: &str, body: Body) -> Body {
        body
    }
}

/// Another store, with a hook.
pub struct HookedStore<H> {
    /// The store itself, for what no hook is to see.
    pub inner: Arc<dyn Store>,
    /// The test's own.
    pub hook: Arc<H>,
}

impl<H: Hook> HookedStore<H> {
    /// Before this store.
    pub fn new(inner: Arc<dyn Store>, hook: H) -> Self {
        Self { inner, hook: Arc::new(hook) }
    }
}

/// What takes time.
pub type Pause = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Takes its time before and after each write of a blob, and before its commit.
pub struct Pauses(pub Pause);

impl Hook for Pauses {
    fn at(&self, step: Step, _key: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        if matches!(step, Step::DraftWrite | Step::DraftWritten | Step::Commit) {
            (self.0)().map(Ok).boxed()
        } else {
            ready(Ok(())).boxed()
        }
    }
}

#[async_trait]
impl<H: Hook + 'static> Store for HookedStore<H> {
    fn capabilities(&self) -> StoreCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.hook.at(Step::Read, key.as_str()).await?;
        self.inner.read(key).await
    }

    async fn write(&self, key: &Key, value: Bytes, precondition: Precondition) -> Result<bool, StoreError> {
        self.hook.at(Step::Write, key.as_str()).await?;
        let written = self.inner.write(key, value, precondition).await;
        self.hook.at(Step::Written, key.as_str()).await?;
        written
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.hook.at(Step::Remove, key.as_str()).await?;
        self.inner.remove(key).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.hook.at(Step::Stat, key.as_str()).await?;
        self.inner.stat(key).await
    }

    async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        let step = if part.is_none() { Step::OpenWhole } else { Step::OpenPart };
        self.hook.at(step, key.as_str()).await?;
        let found = self.inner.open(key, part).await?;
        Ok(found.map(|found| Found { body: self.hook.opened(step, key.as_str(), found.body), ..found }))
    }

    async fn draft(&self, key: &Key, length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        self.hook.at(Step::Draft, key.as_str()).await?;
        let inner = self.inner.draft(key, length).await?;
        Ok(Arc::new(HookedDraft { inner, key: key.clone(), hook: Arc::clone(&self.hook) }))
    }

    async fn upload(&self, key: &Key) -> Result<Box<dyn Upload>, StoreError> {
        self.hook.at(Step::Upload, key.as_str()).await?;
        self.inner.upload(key).await
    }

    async fn resume_upload(&self, key: &Key, parked: &str) -> Result<Option<Box<dyn Upload>>, StoreError> {
        self.hook.at(Step::Upload, key.as_str()).await?;
        self.inner.resume_upload(key, parked).await
    }

    fn keep_passing(&self, digest: &Digest, length: u64, body: Body) -> Result<Passing, Body> {
        self.inner.keep_passing(digest, length, body)
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, StoreError>> {
        let prefix = prefix.to_owned();
        let begun = async move {
            self.hook.at(Step::List, &prefix).await?;
            Ok::<_, StoreError>(self.inner.list(&prefix))
        };
        stream::once(begun).try_flatten().boxed()
    }

    fn used(&self, key: &Key) {
        self.inner.used(key);
    }

    async fn link(&self, key: &Key, life: Duration) -> Result<Url, StoreError> {
        self.hook.at(Step::Link, key.as_str()).await?;
        self.inner.link(key, life).await
    }

    async fn free(&self) -> Result<Option<u64>, StoreError> {
        self.hook.at(Step::Free, "").await?;
        self.inner.free().await
    }

    async fn sweep(&self, age: Duration) -> Result<Swept, StoreError> {
        self.hook.at(Step::Sweep, "").await?;
        self.inner.sweep(age).await
    }
}

struct HookedDraft<H> {
    inner: Arc<dyn Draft>,
    key: Key,
    hook: Arc<H>,
}

#[async_trait]
impl<H: Hook + 'static> Draft for HookedDraft<H> {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
        self.hook.at(Step::DraftWrite, self.key.as_str()).await?;
        let written = self.inner.write_at(offset, bytes).await;
        self.hook.at(Step::DraftWritten, self.key.as_str()).await?;
        written
    }

    /// No step: every reader of a fill comes by here, for each piece.
    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        self.inner.read_at(offset, most).await
    }

    fn handle_of(&self, part: Part) -> Option<Box<dyn Any + Send>> {
        self.inner.handle_of(part)
    }

    async fn commit(&self, length: u64) -> Result<(), StoreError> {
        self.hook.at(Step::Commit, self.key.as_str()).await?;
        self.inner.commit(length).await
    }
}
