//! A store in a bucket, through `OpenDAL` and our own HTTP client.
//!
//! A draft is written to a local scratch directory and uploaded when it is committed, so that an object appears whole or
//! not at all. A process that dies during an upload leaves parts. A sweep removes them after a day, if it may list them; a
//! lifecycle rule that aborts incomplete uploads works anywhere. Processes that share a bucket share the times of use
//! ([`access_times`]).

mod access_times;
mod address;
mod bucket;
mod client;
mod credentials;
mod draft;
mod multipart;
mod parked;
mod sign;
#[cfg(test)]
mod tests;
mod upload;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body::Frame;
use http_body_util::StreamBody;
use opendal::options::{ListOptions, ReaderOptions, WriteOptions};
use opendal::{ErrorKind, HttpTransporter, Metadata};
use registry_proxy_core::body::{Body, BodyError};
use registry_proxy_core::cache::{Key, USAGE};
use registry_proxy_core::platform::{
    Clock as _, Draft, Entry, Found, Part, Precondition, Stat, Store, StoreCapabilities, StoreError, Swept,
    Upload, Validator,
};
use url::Url;

use self::access_times::SharedAccessTimes;
use self::address::{BucketAddress, Cloud};
use self::bucket::{Bucket, absent_as_none, store_error, with_timeout};
use self::client::REQUEST_TIMEOUT;
pub(crate) use self::credentials::Credentials;
use self::draft::ObjectDraft;
use self::upload::ObjectUpload;
use super::files::FileStore;
use crate::runtime::SystemClock;

/// Where the cloud of a bucket is asked.
pub(crate) fn asked_at(url: &Url) -> Option<Url> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    BucketAddress::parse(url, variable).ok()?.asked_at()
}

/// A store in a bucket.
pub(crate) struct ObjectStore {
    bucket: Arc<Bucket>,
    scratch: FileStore,
    access_times: Arc<SharedAccessTimes>,
}

impl ObjectStore {
    /// Opens a bucket: `s3://bucket/prefix?region=…&endpoint=…`. Credentials come from the environment, the shared
    /// configuration files or the machine's role, as with every client of that cloud.
    pub(crate) fn open(url: &Url, scratch: FileStore) -> Result<Self, StoreError> {
        let address =
            BucketAddress::parse(url, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
        let transport = client::transport().map_err(StoreError::failed)?;
        // Credentials that Tencent sends with requests are for Tencent's buckets only; a function may use another cloud's.
        let credentials =
            if address.cloud == Cloud::Cos { Credentials::of_this_process() } else { Arc::default() };
        Self::over(address, credentials, transport, scratch)
    }

    fn over(
        address: BucketAddress,
        credentials: Arc<Credentials>,
        transport: HttpTransporter,
        scratch: FileStore,
    ) -> Result<Self, StoreError> {
        let bucket = Arc::new(Bucket::over(address, credentials, transport).map_err(store_error)?);
        Ok(Self { bucket, scratch, access_times: Arc::new(SharedAccessTimes::new()) })
    }
}

/// Checks whether the bucket lets us read, without opening a store.
pub(super) async fn check(url: &Url, key: &Key) -> Result<(), StoreError> {
    let address = BucketAddress::parse(url, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    let transport = client::transport().map_err(StoreError::failed)?;
    let bucket = Bucket::over(address, Arc::default(), transport).map_err(store_error)?;
    let read = bucket.operator.read(key.as_str());
    absent_as_none(with_timeout(REQUEST_TIMEOUT, read).await?).map(drop).map_err(StoreError::of_reading)
}

fn stat(found: &Metadata) -> Stat {
    // Both: the same bytes sent again have the same entity tag, and what was wrong before may be right now.
    let changed = found.last_modified().map(|time| time.to_string()).unwrap_or_default();
    let validator = format!("{changed} {}", found.etag().unwrap_or_default());
    Stat { length: found.content_length(), validator: Validator(validator.into()) }
}

#[async_trait]
impl Store for ObjectStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities {
            links: self.bucket.gives_links(),
            // The others have no uploads in parts of this form.
            uploads: self.bucket.signing.is_some(),
            stages_locally: true,
            // A bucket may return other or fewer bytes than were stored, with the same metadata.
            verifies: false,
            reads_back: true,
            // OBS has no conditional writes, and so it cannot hold leases: there, each process fetches for itself.
            is_shared: self.bucket.address.cloud != Cloud::Obs,
        }
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let found = absent_as_none(with_timeout(REQUEST_TIMEOUT, self.bucket.operator.read(key.as_str())).await?);
        let found = found.map_err(StoreError::of_reading)?;
        Ok(found.map(|buffer| buffer.to_bytes()))
    }

    async fn write(&self, key: &Key, value: Bytes, precondition: Precondition) -> Result<bool, StoreError> {
        if precondition == Precondition::Absent && self.bucket.address.cloud == Cloud::Obs {
            return Err(StoreError::failed("OBS cannot write only where nothing is"));
        }
        let options =
            WriteOptions { if_not_exists: precondition == Precondition::Absent, ..WriteOptions::default() };
        match with_timeout(REQUEST_TIMEOUT, self.bucket.operator.write_options(key.as_str(), value, options))
            .await?
        {
            Ok(_) => Ok(true),
            Err(error)
                if precondition == Precondition::Absent
                    && matches!(error.kind(), ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists) =>
            {
                Ok(false)
            }
            Err(error) => Err(store_error(error)),
        }
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.access_times.forget(key);
        absent_as_none(with_timeout(REQUEST_TIMEOUT, self.bucket.operator.delete(key.as_str())).await?).map(|_| ())
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        let found = absent_as_none(with_timeout(REQUEST_TIMEOUT, self.bucket.operator.stat(key.as_str())).await?);
        Ok(found.map_err(StoreError::of_reading)?.map(|found| stat(&found)))
    }

    async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        let Some(part) = part else { return self.whole(key).await };
        let Some(stat) = self.stat(key).await? else { return Ok(None) };
        let end = part.end.min(stat.length);
        let length = end.saturating_sub(part.first);
        if length == 0 {
            return Ok(Some(Found { stat, body: Body::Empty }));
        }
        let begin = async {
            let reader = self.bucket.operator.reader_options(key.as_str(), ReaderOptions::default()).await?;
            let mut stream = reader.into_bytes_stream(part.first..end).await?;
            // Wait for the first bytes before answering.
            let first = stream.try_next().await.map_err(from_io)?;
            Ok((first.unwrap_or_default(), stream))
        };
        let answer =
            absent_as_none(with_timeout(REQUEST_TIMEOUT, begin).await?).map_err(StoreError::of_reading)?;
        let Some((first, rest)) = answer else { return Ok(None) };
        Ok(Some(Found { stat, body: body(first, rest, length) }))
    }

    async fn draft(&self, key: &Key, length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        let scratch = self.scratch.draft(key, length).await?;
        Ok(Arc::new(ObjectDraft::new(Arc::clone(&self.bucket), key.clone(), scratch)))
    }

    async fn upload(&self, key: &Key) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(ObjectUpload::begin(&self.bucket, key).await?))
    }

    async fn resume_upload(&self, key: &Key, parked: &str) -> Result<Option<Box<dyn Upload>>, StoreError> {
        let upload = ObjectUpload::resume(&self.bucket, key, parked).await?;
        Ok(upload.map(|upload| Box::new(upload) as Box<dyn Upload>))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, StoreError>> {
        let prefix = prefix.to_owned();
        let list = async move {
            // Counts of usage are listed while a request waits, and have no time of use.
            if !prefix.starts_with(USAGE) {
                self.access_times.exchange(&self.bucket).await;
            }
            let options = ListOptions { recursive: true, ..ListOptions::default() };
            with_timeout(REQUEST_TIMEOUT, self.bucket.operator.lister_options(&prefix, options))
                .await?
                .map_err(store_error)
        };
        let entries = futures_util::stream::once(list).map_ok(|found| found.map_err(store_error)).try_flatten();
        let ours = entries.try_filter_map(move |entry| async move {
            let Some(key) = Key::parse(entry.path()) else { return Ok(None) };
            let metadata = entry.metadata();
            let written = metadata.last_modified().map_or(0, |time| time.into_inner().as_second());
            let used = self.access_times.of(&key).max(u64::try_from(written).unwrap_or(0));
            let size = metadata.content_length();
            Ok(Some(Entry { key, size, taken: size, used }))
        });
        ours.map_err(StoreError::of_reading).boxed()
    }

    fn used(&self, key: &Key) {
        self.access_times.note(key);
    }

    async fn link(&self, key: &Key, life: Duration) -> Result<Url, StoreError> {
        self.bucket.link(key, life).await
    }

    async fn free(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    async fn sweep(&self, age: Duration) -> Result<Swept, StoreError> {
        let mut swept = self.scratch.sweep(age).await?;
        if self.bucket.signing.is_some() {
            swept.count += upload::abort_forgotten(&self.bucket, SystemClock.unix_seconds()).await;
        }
        Ok(swept)
    }
}

impl ObjectStore {
    /// Opens all of a blob with one request, whose response tells the length.
    async fn whole(&self, key: &Key) -> Result<Option<Found>, StoreError> {
        let begin = async {
            let reader = self.bucket.operator.reader_options(key.as_str(), ReaderOptions::default()).await?;
            let mut stream = reader.into_bytes_stream(..).await?;
            let stat = stat(&stream.metadata().await?);
            let first = if stat.length == 0 { None } else { stream.try_next().await.map_err(from_io)? };
            Ok((stat, first.unwrap_or_default(), stream))
        };
        let answer =
            absent_as_none(with_timeout(REQUEST_TIMEOUT, begin).await?).map_err(StoreError::of_reading)?;
        let Some((stat, first, rest)) = answer else { return Ok(None) };
        let length = stat.length;
        let body = if length == 0 { Body::Empty } else { body(first, rest, length) };
        Ok(Some(Found { stat, body }))
    }
}

/// The bytes that have arrived, then the rest.
fn body(
    first: Bytes,
    rest: impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Unpin + 'static,
    length: u64,
) -> Body {
    let missing = length.saturating_sub(first.len() as u64);
    let rest = rest.map_err(|error| BodyError::Broken(error.into()));
    let body = Body::stream(StreamBody::new(whole(rest, missing).map_ok(Frame::data)), Some(length));
    if first.is_empty() { body } else { body.preceded_by(first) }
}

/// The same chunks, with an error if they end too early.
fn whole<S>(pieces: S, missing: u64) -> impl futures_util::Stream<Item = Result<Bytes, BodyError>> + Send
where
    S: futures_util::Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
{
    futures_util::stream::unfold((pieces, missing), |(mut pieces, missing)| async move {
        match tokio::time::timeout(REQUEST_TIMEOUT, pieces.next()).await {
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
