//! Uploads in parts, and the links that lead to what they brought: what platforms need whose answers are small.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::{Cache, Key};
use crate::digest::Digest;
use crate::evidence::Provenance;
use crate::platform::{Precondition, StoreCapabilities, StoreError, UPLOAD_DEADLINE, Upload, within};

/// How long a record may take that is as large as a part.
const PART: Duration = Duration::from_mins(2);

impl Cache {
    /// What the store can do.
    pub(crate) fn store_capabilities(&self) -> StoreCapabilities {
        self.store.capabilities()
    }

    /// An address that gives a blob to whoever has it, for a while; `None`: there is none, or the store failed.
    pub(crate) async fn link(&self, digest: &Digest, life: Duration) -> Option<Url> {
        // What a store cannot do is no reason to leave it alone for a while.
        if !self.store_capabilities().links {
            return None;
        }
        let key = Key::blob(digest);
        let link = self.ask("link", self.store.link(&key, life)).await?;
        self.store.used(&key);
        Some(link)
    }

    /// How far an upload has come, as it was written down.
    pub(crate) async fn parked(&self, digest: &Digest) -> Option<Bytes> {
        self.ask("read", self.store.read(&Key::ingest(digest))).await?
    }

    /// What came behind the last part that was sent; `None`: it is not there as it was written down.
    pub(crate) async fn parked_tail(&self, digest: &Digest, bytes: u64) -> Option<Bytes> {
        if bytes == 0 {
            return Some(Bytes::new());
        }
        let tail = self.ask_slowly("read", PART, self.store.read(&Key::ingest_tail(digest))).await??;
        (tail.len() as u64 == bytes).then_some(tail)
    }

    /// Writes down how far an upload has come; first what the record speaks of. Whether it is written.
    pub(crate) async fn park(&self, digest: &Digest, record: Bytes, tail: Bytes) -> bool {
        if !tail.is_empty() {
            let key = Key::ingest_tail(digest);
            if self.ask_slowly("write", PART, self.store.write(&key, tail, Precondition::Always)).await.is_none() {
                return false;
            }
        }
        self.ask("write", self.store.write(&Key::ingest(digest), record, Precondition::Always)).await.is_some()
    }

    /// Begins an upload.
    pub(crate) async fn upload(&self, digest: &Digest) -> Option<Box<dyn Upload>> {
        if !self.store_capabilities().uploads {
            return None;
        }
        self.ask("upload", self.store.upload(&Key::blob(digest))).await
    }

    /// Goes on with one that was parked; `None`: it takes a new beginning.
    pub(crate) async fn resume_upload(&self, digest: &Digest, parked: &str) -> Option<Box<dyn Upload>> {
        if !self.store_capabilities().uploads {
            return None;
        }
        self.ask("upload", self.store.resume_upload(&Key::blob(digest), parked)).await?
    }

    /// Sends a part; whether the store has it.
    pub(crate) async fn send_part(&self, upload: &mut dyn Upload, part: Bytes) -> bool {
        self.ask_slowly("upload", UPLOAD_DEADLINE, upload.part(part)).await.is_some()
    }

    /// Makes a verified upload visible; whether it is.
    pub(crate) async fn commit_upload(
        self: &Arc<Self>,
        provenance: &Provenance,
        digest: &Digest,
        length: u64,
        upload: Box<dyn Upload>,
    ) -> bool {
        let is_there = self.ask_slowly("commit", UPLOAD_DEADLINE, upload.commit()).await.is_some();
        if is_there {
            self.committed(provenance, digest, length).await;
            self.forget_parked(digest).await;
        }
        // Otherwise the record stays: nothing else leads to its parts, if those are still there.
        is_there
    }

    /// Takes back an upload.
    pub(crate) async fn abort_upload(&self, digest: &Digest, upload: Box<dyn Upload>) {
        self.ask_slowly("abort", PART, upload.abort()).await;
        self.forget_parked(digest).await;
    }

    async fn forget_parked(&self, digest: &Digest) {
        for key in [Key::ingest(digest), Key::ingest_tail(digest)] {
            self.ask("remove", self.store.remove(&key)).await;
        }
    }

    /// Asks the store for what takes as long as the bytes take.
    async fn ask_slowly<T>(
        &self,
        what: &'static str,
        deadline: Duration,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        let answer = within(&*self.clock, deadline, answer).await.unwrap_or(Err(StoreError::TimedOut));
        answer.map_err(|error| self.failed(what, &error)).ok()
    }
}
