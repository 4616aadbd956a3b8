//! A store in an R2 bucket, through its binding. R2 checks the digest of each blob when it is put, so blobs with a checksum are
//! correct. Blobs without one were stored in another way, and are treated as absent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use js_sys::futures::JsFuture;
use js_sys::{Array, Promise, Uint8Array};
use registry_proxy_core::Body;
use registry_proxy_core::cache::{Key, Kind};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{
    CopyOutcome, Draft, Entry, Found, Part, Passing, Precondition, Stat, Store, StoreCapabilities, StoreError,
    Swept, Validator,
};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast as _, JsValue};

use crate::body;
use crate::native::{self, Readable};

/// Largest object that R2 accepts in one request: less than 5 GiB.
const MOST_BYTES: u64 = (5 << 30) - 1;

/// A bucket.
pub(crate) struct Bucket {
    binding: SendWrapper<JsValue>,
    /// How long an upstream may be silent before its blob is given up.
    idle: Duration,
}

impl Bucket {
    pub(crate) fn new(binding: JsValue, idle: Duration) -> Self {
        Self { binding: SendWrapper::new(binding), idle }
    }
}

async fn answer(promise: Promise) -> Result<JsValue, StoreError> {
    SendWrapper::new(JsFuture::from(promise)).await.map_err(|error| StoreError::failed(native::said(&error)))
}

/// R2's metadata of an object; `None`: a blob that R2 did not check against its digest.
fn stat_of(key: &Key, facts: &Array) -> Option<Stat> {
    let (length, etag) = (native::integer(&facts.get(0))?, facts.get(1).as_string()?);
    if let Some(Kind::Blob(digest)) = key.kind() {
        let sum = match digest.algorithm() {
            "sha256" => facts.get(2),
            "sha512" => facts.get(3),
            _ => JsValue::UNDEFINED,
        };
        if sum.as_string().as_deref() != Some(digest.encoded()) {
            return None;
        }
    }
    Some(Stat { length, validator: Validator(etag.into()) })
}

#[async_trait]
impl Store for Bucket {
    fn capabilities(&self) -> StoreCapabilities {
        // R2 checked the digest, and an object changes only when it is put again.
        StoreCapabilities { verifies: true, is_shared: true, ..StoreCapabilities::default() }
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let bytes = SendWrapper::new(answer(native::bucket_read(&self.binding, key.as_str()))).await?;
        Ok((!bytes.is_undefined()).then(|| Bytes::from(bytes.unchecked_into::<Uint8Array>().to_vec())))
    }

    async fn write(&self, key: &Key, value: Bytes, precondition: Precondition) -> Result<bool, StoreError> {
        let value = Uint8Array::from(&*value).into();
        let written =
            native::bucket_write(&self.binding, key.as_str(), value, precondition == Precondition::Absent);
        Ok(SendWrapper::new(answer(written)).await?.is_truthy())
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        SendWrapper::new(answer(native::bucket_delete(&self.binding, key.as_str()))).await.map(drop)
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        let facts = SendWrapper::new(answer(native::bucket_head(&self.binding, key.as_str()))).await?;
        Ok(facts.dyn_ref::<Array>().and_then(|facts| stat_of(key, facts)))
    }

    #[expect(clippy::cast_precision_loss, reason = "lengths are below 2^53")]
    async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        let (offset, length) = match part {
            Some(part) => (Some(part.first as f64), Some(part.end.saturating_sub(part.first) as f64)),
            None => (None, None),
        };
        let got = native::bucket_get(&self.binding, key.as_str(), offset, length);
        let facts = SendWrapper::new(answer(got)).await?;
        let Some(facts) = facts.dyn_ref::<Array>() else { return Ok(None) };
        let stream: Readable = facts.get(4).unchecked_into();
        let Some(stat) = stat_of(key, facts) else {
            native::end(&stream);
            return Ok(None);
        };
        let end = part.map_or(stat.length, |part| part.end.min(stat.length));
        let length = end.saturating_sub(part.map_or(0, |part| part.first));
        Ok(Some(Found { body: body::from_native(stream, Some(length)), stat }))
    }

    async fn draft(&self, _key: &Key, _length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        Err(StoreError::failed("a Worker cannot store incomplete content"))
    }

    #[expect(clippy::cast_precision_loss, reason = "lengths are below 2^53")]
    fn keep_passing(&self, digest: &Digest, length: u64, body: Body) -> Result<Passing, Body> {
        if length > MOST_BYTES || !matches!(digest.algorithm(), "sha256" | "sha512") {
            return Err(body);
        }
        let source = body::stream_of(body)?;
        let passing = native::keep_passing(
            &self.binding,
            Key::blob(digest).as_str(),
            digest.algorithm(),
            digest.encoded(),
            length as f64,
            source.into(),
            self.idle.as_millis() as f64,
        );
        let kept: Promise = passing.get(1).unchecked_into();
        let kept = SendWrapper::new(async move {
            match answer(kept).await?.as_string().as_deref() {
                Some("kept") => Ok(CopyOutcome::Whole),
                Some("wrong") => Ok(CopyOutcome::OtherDigest),
                Some("short") => Ok(CopyOutcome::Short),
                why => Err(StoreError::failed(why.unwrap_or("no answer from the bucket").to_owned())),
            }
        });
        let body = body::from_native(passing.get(0).unchecked_into(), Some(length));
        Ok(Passing { body, kept: Box::pin(kept) })
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, StoreError>> {
        let prefix = prefix.to_owned();
        let pages = stream::try_unfold(Some(JsValue::UNDEFINED), move |cursor| {
            let prefix = prefix.clone();
            async move {
                let Some(cursor) = cursor else { return Ok::<_, StoreError>(None) };
                let page: Array =
                    answer(native::bucket_list(&self.binding, &prefix, cursor)).await?.unchecked_into();
                let facts: Vec<JsValue> = page.iter().skip(1).collect();
                let entries: Vec<Result<Entry, StoreError>> = facts
                    .chunks_exact(3)
                    .filter_map(|fact| {
                        let key = Key::parse(&fact[0].as_string()?)?;
                        let (size, uploaded) = (native::integer(&fact[1])?, native::integer(&fact[2])?);
                        // R2 does not record when an object was read.
                        Some(Ok(Entry { key, size, taken: size, used: uploaded / 1000 }))
                    })
                    .collect();
                let next = page.get(0);
                let next = (!next.is_undefined()).then_some(next);
                Ok(Some((entries, next)))
            }
        });
        let entries = pages.map(|page| match page {
            Ok(entries) => stream::iter(entries),
            Err(error) => stream::iter(vec![Err(error)]),
        });
        SendWrapper::new(entries.flatten()).boxed()
    }

    /// R2's lifecycle rules go by when an object was put.
    fn used(&self, _key: &Key) {}

    async fn free(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    async fn sweep(&self, _age: Duration) -> Result<Swept, StoreError> {
        Ok(Swept::default())
    }
}
