//! Content in an object store, behind `OpenDAL` and our own HTTP client.
//!
//! A draft is written to a scratch directory on this machine and uploaded when it is committed: an object appears
//! whole, or not at all. A process that dies in the middle of an upload leaves parts that only the bucket can remove:
//! give it a lifecycle rule that aborts incomplete uploads. When a key was used is known to this process alone; after
//! a restart, and to others, it is when the object was written.

mod client;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body::Frame;
use http_body_util::StreamBody;
use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::options::{ListOptions, ReaderOptions, WriteOptions};
use opendal::services::S3;
use opendal::{ErrorKind, Metadata, OperationContext, Operator};
use registry_proxy_core::body::{Body, BodyError};
use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::{
    Clock as _, Draft, Entry, Found, Mark, Part, Stat, Store, StoreError, Swept, When,
};
use url::Url;

use super::files::FileStore;
use crate::runtime::SystemClock;

/// How long one request may take until its answer begins, and one piece of a body to arrive.
const REQUEST: Duration = Duration::from_secs(10);
/// How long a question may take with all its repetitions.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the upload of a blob may take.
const UPLOAD: Duration = Duration::from_hours(1);
/// How often what failed for the moment is tried again.
const RETRIES: usize = 2;
/// Bytes of one part of an upload. S3 takes ten thousand of them: blobs of up to 156 GiB.
const PART_BYTES: usize = 16 << 20;
/// Keys whose use is remembered at once.
const MAX_KEYS: usize = 1 << 16;

/// A bucket, or what lies below a prefix of it.
pub(crate) struct ObjectStore {
    operator: Operator,
    scratch: FileStore,
    used: Mutex<HashMap<Key, u64>>,
}

impl ObjectStore {
    /// Takes a bucket: `s3://bucket/prefix?region=…&endpoint=…`. Credentials come from the environment, the shared
    /// configuration files or the machine's own role, as with every S3 client.
    pub(crate) fn open(url: &Url, scratch: FileStore) -> Result<Self, StoreError> {
        Self::over(s3(url)?, scratch)
    }

    fn over(service: S3, scratch: FileStore) -> Result<Self, StoreError> {
        let context =
            OperationContext::new().with_http_transport(client::transport().map_err(StoreError::failed)?);
        let operator = Operator::new(service).map_err(why)?.with_context(context);
        let timeout = TimeoutLayer::new().with_timeout(REQUEST).with_io_timeout(REQUEST);
        let retry =
            RetryLayer::new().with_max_times(RETRIES).with_min_delay(Duration::from_millis(200)).with_jitter();
        Ok(Self { operator: operator.layer(timeout).layer(retry), scratch, used: Mutex::default() })
    }
}

/// What the address says. What nobody can mean is refused.
fn s3(url: &Url) -> Result<S3, StoreError> {
    let bucket = url.host_str().unwrap_or_default();
    let mut service = S3::default().bucket(bucket).root(url.path());
    let mut has_region = false;
    for (name, value) in url.query_pairs() {
        service = match &*name {
            "region" => {
                has_region = true;
                service.region(&value)
            }
            "endpoint" => service.endpoint(&value),
            other => return Err(StoreError::failed(format!("{other}: expected region or endpoint"))),
        };
    }
    // Servers other than Amazon's take any.
    Ok(if has_region { service } else { service.region("us-east-1") })
}

/// Waits, but not for ever.
async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, opendal::Error>>,
) -> Result<Result<T, opendal::Error>, StoreError> {
    tokio::time::timeout(patience, work).await.map_err(|_| StoreError::TimedOut)
}

fn absent_as_none<T>(done: Result<T, opendal::Error>) -> Result<Option<T>, StoreError> {
    match done {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(why(error)),
    }
}

fn why(error: opendal::Error) -> StoreError {
    if error.kind() == ErrorKind::PermissionDenied {
        StoreError::Denied(error.into())
    } else {
        StoreError::failed(error)
    }
}

fn stat(found: &Metadata) -> Stat {
    let changed = || found.last_modified().map(|time| time.to_string()).unwrap_or_default();
    let mark = found.etag().map_or_else(changed, str::to_owned);
    Stat { length: found.content_length(), mark: Mark(mark.into()) }
}

#[async_trait]
impl Store for ObjectStore {
    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let found = absent_as_none(within(PATIENCE, self.operator.read(key.as_str())).await?)?;
        Ok(found.map(|buffer| buffer.to_bytes()))
    }

    async fn write(&self, key: &Key, value: Bytes, when: When) -> Result<bool, StoreError> {
        let options = WriteOptions { if_not_exists: when == When::Absent, ..WriteOptions::default() };
        match within(PATIENCE, self.operator.write_options(key.as_str(), value, options)).await? {
            Ok(_) => Ok(true),
            Err(error)
                if when == When::Absent
                    && matches!(error.kind(), ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists) =>
            {
                Ok(false)
            }
            Err(error) => Err(why(error)),
        }
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        absent_as_none(within(PATIENCE, self.operator.delete(key.as_str())).await?).map(|_| ())
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        let found = absent_as_none(within(PATIENCE, self.operator.stat(key.as_str())).await?)?;
        Ok(found.map(|found| stat(&found)))
    }

    async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        let Some(stat) = self.stat(key).await? else { return Ok(None) };
        let part = part.unwrap_or(Part { first: 0, end: stat.length });
        let end = part.end.min(stat.length);
        let length = end.saturating_sub(part.first);
        if length == 0 {
            return Ok(Some(Found { stat, body: Body::Empty }));
        }
        let begin = async {
            let reader = self.operator.reader_options(key.as_str(), ReaderOptions::default()).await?;
            let mut stream = reader.into_bytes_stream(part.first..end).await?;
            // An answer is begun when its first bytes are here.
            let first = stream.try_next().await.map_err(from_io)?;
            Ok((first.unwrap_or_default(), stream))
        };
        let Some((first, rest)) = absent_as_none(within(PATIENCE, begin).await?)? else { return Ok(None) };
        let missing = length.saturating_sub(first.len() as u64);
        let rest = rest.map_err(|error| BodyError::Broken(error.into()));
        let body = Body::stream(StreamBody::new(whole(rest, missing).map_ok(Frame::data)), Some(length));
        Ok(Some(Found { stat, body: if first.is_empty() { body } else { body.preceded_by(first) } }))
    }

    async fn draft(&self, key: &Key, length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        let scratch = self.scratch.draft(key, length).await?;
        let (operator, key) = (self.operator.clone(), key.clone());
        Ok(Arc::new(ObjectDraft { operator, key, scratch, written: AtomicU64::new(0), state: Mutex::default() }))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, StoreError>> {
        let prefix = prefix.to_owned();
        let list = async move {
            let options = ListOptions { recursive: true, ..ListOptions::default() };
            within(PATIENCE, self.operator.lister_options(&prefix, options)).await?.map_err(why)
        };
        let entries = futures_util::stream::once(list).map_ok(|found| found.map_err(why)).try_flatten();
        let ours = entries.try_filter_map(move |entry| async move {
            let Some(key) = Key::parse(entry.path()) else { return Ok(None) };
            let metadata = entry.metadata();
            let written = metadata.last_modified().map_or(0, |time| time.into_inner().as_second());
            let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied().unwrap_or(0);
            let used = used.max(u64::try_from(written).unwrap_or(0));
            Ok(Some(Entry { key, size: metadata.content_length(), used }))
        });
        ours.boxed()
    }

    fn used(&self, key: &Key) {
        let now = SystemClock::new().unix_seconds();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(time) = used.get_mut(key) {
            *time = now;
            return;
        }
        if used.len() >= MAX_KEYS {
            used.clear();
        }
        used.insert(key.clone(), now);
    }

    async fn link(&self, key: &Key, life: Duration) -> Result<Option<Url>, StoreError> {
        let signed = within(PATIENCE, self.operator.presign_read(key.as_str(), life)).await?.map_err(why)?;
        Url::parse(&signed.uri().to_string()).map(Some).map_err(StoreError::failed)
    }

    /// What is there was committed with its digest, whole or not at all, and the store checks what it keeps. To read
    /// gigabytes again at the first use of each process would cost more than it could find: clients verify.
    fn vouches(&self) -> bool {
        true
    }

    fn gives_links(&self) -> bool {
        true
    }

    async fn free(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    async fn sweep(&self, age: Duration) -> Result<Swept, StoreError> {
        self.scratch.sweep(age).await
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// The same pieces, with an error where they end too early.
fn whole<S>(pieces: S, missing: u64) -> impl futures_util::Stream<Item = Result<Bytes, BodyError>> + Send
where
    S: futures_util::Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
{
    futures_util::stream::unfold((pieces, missing), |(mut pieces, missing)| async move {
        match tokio::time::timeout(PATIENCE, pieces.next()).await {
            Err(_) => Some((Err(BodyError::Stalled), (pieces, 0))),
            Ok(None) if missing == 0 => None,
            Ok(None) => Some((Err(BodyError::Short { missing_bytes: missing }), (pieces, 0))),
            Ok(Some(Err(error))) => Some((Err(error), (pieces, 0))),
            Ok(Some(Ok(piece))) => {
                let missing = missing.saturating_sub(piece.len() as u64);
                Some((Ok(piece), (pieces, missing)))
            }
        }
    })
}

fn from_io(error: std::io::Error) -> opendal::Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unexpected,
    };
    opendal::Error::new(kind, "a blob was not read").set_source(error)
}

/// A blob that is arriving on this machine's disk.
struct ObjectDraft {
    operator: Operator,
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
    /// Sends all of it; the object appears when the last part is confirmed.
    async fn upload(&self, length: u64) -> Result<(), StoreError> {
        let options = WriteOptions { chunk: Some(PART_BYTES), ..WriteOptions::default() };
        let mut writer = self.operator.writer_options(self.key.as_str(), options).await.map_err(why)?;
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
