//! Uploads in parts, and signed links to blobs: for platforms whose answers are small.

use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::Blobs;
use crate::cache::Key;
use crate::digest::Digest;
use crate::evidence::Provenance;
use crate::platform::{Precondition, UPLOAD_DEADLINE, Upload};

/// Time limit of a record as large as a part.
const PART: Duration = Duration::from_mins(2);

impl Blobs {
    /// An address that gives a blob to whoever has it, for a while; `None`: there is none, or the store failed.
    pub(crate) async fn link(&self, digest: &Digest, life: Duration) -> Option<Url> {
        // A store without links has not failed.
        if !self.backend.capabilities().links {
            return None;
        }
        let key = Key::blob(digest);
        let link = self.backend.ask("link", self.backend.store.link(&key, life)).await?;
        self.backend.store.used(&key);
        Some(link)
    }

    /// The record of how far an upload has come.
    pub(crate) async fn parked(&self, digest: &Digest) -> Option<Bytes> {
        self.backend.read(&Key::ingest(digest)).await?
    }

    /// The bytes after the last part that was sent; `None`: missing, or of another length.
    pub(crate) async fn parked_tail(&self, digest: &Digest, bytes: u64) -> Option<Bytes> {
        if bytes == 0 {
            return Some(Bytes::new());
        }
        let tail =
            self.backend.ask_slowly("read", PART, self.backend.store.read(&Key::ingest_tail(digest))).await??;
        (tail.len() as u64 == bytes).then_some(tail)
    }

    /// Records how far an upload has come, its tail first. Returns whether that succeeded.
    pub(crate) async fn park(&self, digest: &Digest, record: Bytes, tail: Bytes) -> bool {
        if !tail.is_empty() {
            let key = Key::ingest_tail(digest);
            if self
                .backend
                .ask_slowly("write", PART, self.backend.store.write(&key, tail, Precondition::Always))
                .await
                .is_none()
            {
                return false;
            }
        }
        self.backend.write(&Key::ingest(digest), record).await.is_some()
    }

    /// Begins an upload.
    pub(crate) async fn upload(&self, digest: &Digest) -> Option<Box<dyn Upload>> {
        if !self.backend.capabilities().uploads {
            return None;
        }
        self.backend.ask("upload", self.backend.store.upload(&Key::blob(digest))).await
    }

    /// Resumes a parked upload; `None`: it must begin anew.
    pub(crate) async fn resume_upload(&self, digest: &Digest, parked: &str) -> Option<Box<dyn Upload>> {
        if !self.backend.capabilities().uploads {
            return None;
        }
        self.backend.ask("upload", self.backend.store.resume_upload(&Key::blob(digest), parked)).await?
    }

    /// Sends a part; whether the store has it.
    pub(crate) async fn send_part(&self, upload: &mut dyn Upload, part: Bytes) -> bool {
        self.backend.ask_slowly("upload", UPLOAD_DEADLINE, upload.part(part)).await.is_some()
    }

    /// Makes a verified upload visible; whether it is.
    pub(crate) async fn commit_upload(
        &self,
        provenance: &Provenance,
        digest: &Digest,
        length: u64,
        upload: Box<dyn Upload>,
    ) -> bool {
        let is_there = self.backend.ask_slowly("commit", UPLOAD_DEADLINE, upload.commit()).await.is_some();
        if is_there {
            self.committed(provenance, digest, length).await;
            self.forget_parked(digest).await;
        }
        // Otherwise the record stays: nothing else leads to its parts, if those are still there.
        is_there
    }

    /// Aborts an upload.
    pub(crate) async fn abort_upload(&self, digest: &Digest, upload: Box<dyn Upload>) {
        self.backend.ask_slowly("abort", PART, upload.abort()).await;
        self.forget_parked(digest).await;
    }

    async fn forget_parked(&self, digest: &Digest) {
        for key in [Key::ingest(digest), Key::ingest_tail(digest)] {
            self.backend.remove(&key).await;
        }
    }
}
