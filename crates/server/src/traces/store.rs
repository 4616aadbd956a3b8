//! The store, with a span for each operation. The bytes of blobs move outside of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{
    Draft, Entry, Found, Key, Part, Passing, Precondition, Stat, Store, StoreCapabilities, StoreError, Swept,
    Upload,
};
use registry_proxy_core::{Body, spans};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use url::Url;

/// A store with spans.
pub(super) struct TracedStore(pub(super) Arc<dyn Store>);

/// The answer of an operation, within its span.
async fn traced<T>(
    operation: &'static str,
    key: Option<&Key>,
    answer: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    // What nobody asked for, as the janitor's work, is in no trace.
    if Span::current().is_disabled() && !Context::current().has_active_span() {
        return answer.await;
    }
    let span = tracing::trace_span!(
        target: spans::TARGET,
        "store",
        otel.name = operation,
        otel.status_code = Empty,
        registry_proxy.key = key.map(tracing::field::display),
        "error.type" = Empty
    );
    let answer = answer.instrument(span.clone()).await;
    if let Err(error) = &answer {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", error.why());
    }
    answer
}

#[async_trait]
impl Store for TracedStore {
    fn capabilities(&self) -> StoreCapabilities {
        self.0.capabilities()
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        traced("store read", Some(key), self.0.read(key)).await
    }

    async fn write(&self, key: &Key, value: Bytes, precondition: Precondition) -> Result<bool, StoreError> {
        traced("store write", Some(key), self.0.write(key, value, precondition)).await
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        traced("store remove", Some(key), self.0.remove(key)).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        traced("store stat", Some(key), self.0.stat(key)).await
    }

    async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        traced("store open", Some(key), self.0.open(key, part)).await
    }

    async fn draft(&self, key: &Key, length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        traced("store draft", Some(key), self.0.draft(key, length)).await
    }

    async fn upload(&self, key: &Key) -> Result<Box<dyn Upload>, StoreError> {
        traced("store upload", Some(key), self.0.upload(key)).await
    }

    async fn resume_upload(&self, key: &Key, parked: &str) -> Result<Option<Box<dyn Upload>>, StoreError> {
        traced("store resume upload", Some(key), self.0.resume_upload(key, parked)).await
    }

    fn keep_passing(&self, digest: &Digest, length: u64, body: Body) -> Result<Passing, Body> {
        self.0.keep_passing(digest, length, body)
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, StoreError>> {
        self.0.list(prefix)
    }

    fn used(&self, key: &Key) {
        self.0.used(key);
    }

    async fn link(&self, key: &Key, life: Duration) -> Result<Url, StoreError> {
        traced("store link", Some(key), self.0.link(key, life)).await
    }

    async fn free(&self) -> Result<Option<u64>, StoreError> {
        self.0.free().await
    }

    async fn sweep(&self, age: Duration) -> Result<Swept, StoreError> {
        traced("store sweep", None, self.0.sweep(age)).await
    }
}
