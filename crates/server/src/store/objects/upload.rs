//! An upload that sends a blob to the bucket part by part, without a file on this machine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::{StoreError, Upload};

use super::bucket::{Bucket, store_error, with_timeout};
use super::client::REQUEST_TIMEOUT;
use super::multipart::{MAX_PARTS, Multipart, PART_BYTES, Refusal, UnfinishedUpload, is_word};
use super::parked;

/// Age after which an unfinished upload counts as abandoned.
const FORGOTTEN: Duration = Duration::from_hours(24);
/// First word of the saved state: its format.
const FORM: &str = "object-1";

pub(super) struct ObjectUpload {
    bucket: Arc<Bucket>,
    key: Key,
    id: String,
    /// Entity tags of the uploaded parts.
    tags: Vec<String>,
    /// Bytes of the uploaded parts.
    bytes: u64,
}

impl ObjectUpload {
    pub(super) async fn begin(bucket: &Arc<Bucket>, key: &Key) -> Result<Self, StoreError> {
        let id = Multipart { bucket, key }.create().await?;
        Ok(Self { bucket: Arc::clone(bucket), key: key.clone(), id, tags: Vec::new(), bytes: 0 })
    }

    /// Resumes a saved upload; `None`: the bucket does not have it.
    pub(super) async fn resume(bucket: &Arc<Bucket>, key: &Key, parked: &str) -> Result<Option<Self>, StoreError> {
        let Some((id, bytes, tags)) = parse(key, parked) else { return Ok(None) };
        if !(Multipart { bucket, key }).is_there(&id).await? {
            return Ok(None);
        }
        Ok(Some(Self { bucket: Arc::clone(bucket), key: key.clone(), id, tags, bytes }))
    }

    fn multipart(&self) -> Multipart<'_> {
        Multipart { bucket: &self.bucket, key: &self.key }
    }

    async fn complete(&self) -> Result<(), Refusal> {
        if self.tags.is_empty() {
            // An upload without parts cannot be completed: write an empty object.
            let written =
                with_timeout(REQUEST_TIMEOUT, self.bucket.operator.write(self.key.as_str(), Bytes::new())).await;
            let _ = self.multipart().abort(&self.id).await;
            return written.and_then(|written| written.map(drop).map_err(store_error)).map_err(Refusal::NotNow);
        }
        self.multipart().finish(&self.id, &self.tags, self.bytes).await
    }
}

fn parse(key: &Key, parked: &str) -> Option<(String, u64, Vec<String>)> {
    let mut words = parked::open(key, parked)?.split(' ');
    let (form, id, bytes) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
    let tags: Vec<String> = words.take(MAX_PARTS + 1).map(str::to_owned).collect();
    let is_right = form == FORM && is_word(id) && tags.len() <= MAX_PARTS && tags.iter().all(|tag| is_word(tag));
    is_right.then(|| (id.to_owned(), bytes, tags))
}

#[async_trait]
impl Upload for ObjectUpload {
    fn part_bytes(&self) -> usize {
        PART_BYTES
    }

    async fn part(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let length = bytes.len();
        let has_ended = self.bytes != (self.tags.len() * PART_BYTES) as u64;
        if length == 0 || length > PART_BYTES || has_ended || self.tags.len() >= MAX_PARTS {
            return Err(StoreError::failed(format!("a part of {length} bytes behind {}", self.bytes)));
        }
        let tag = self.multipart().part(&self.id, self.tags.len() + 1, bytes).await?;
        self.tags.push(tag);
        self.bytes += length as u64;
        Ok(())
    }

    fn park(&self) -> String {
        let mut line = format!("{FORM} {} {}", self.id, self.bytes);
        for tag in &self.tags {
            line.push(' ');
            line.push_str(tag);
        }
        parked::seal(&self.key, &line)
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let done = self.complete().await;
        if let Err(Refusal::Never(_)) = done {
            // These parts can never become an object. After other failures the upload stays, so that it can be resumed.
            let _ = self.multipart().abort(&self.id).await;
        }
        done.map_err(Refusal::into_error)
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.multipart().abort(&self.id).await
    }
}

/// Aborts uploads that ended processes left behind; returns how many. Without permission to list them, this is left to the
/// bucket's lifecycle rules.
pub(super) async fn abort_forgotten(bucket: &Bucket, now: u64) -> u64 {
    let begun = match bucket.unfinished_uploads().await {
        Ok(begun) => begun,
        Err(error) => {
            let source = std::error::Error::source(&error).map(tracing::field::display);
            tracing::debug!(error = source, "unfinished uploads cannot be listed: {error}");
            return 0;
        }
    };
    let mut count = 0;
    for UnfinishedUpload { key, id, .. } in
        begun.iter().filter(|begun| now.saturating_sub(begun.at) > FORGOTTEN.as_secs())
    {
        count += u64::from(Multipart { bucket, key }.abort(id).await.is_ok());
    }
    count
}
