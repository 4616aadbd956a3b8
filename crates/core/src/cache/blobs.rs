//! Blobs in the store: whether they are served, how they come in, and which process fetches them.

mod course;
mod drafts;
mod lease;
mod small;
mod trust;
mod uploads;
mod verify;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::lease::{Lease, Leased, Leases};
use self::small::{SmallBlob, SmallBlobs};
use self::trust::{Belief, Proof, Trust};
use self::verify::{Verifier, VerifyingBody};
use super::Key;
use super::backend::{CacheBackend, DEADLINE};
use super::metadata::{Lengths, Metadata};
use crate::body::{Body, InFlight, SMALL_BYTES};
use crate::digest::Digest;
use crate::evidence::Provenance;
use crate::platform::{CopyOutcome, Found, Part, Passing, within};
use crate::telemetry;

/// Lengths of the longest blobs.
pub(super) struct MaxBytes {
    /// What the store may hold.
    pub(super) store: u64,
    /// What may lie on the instance's disk on its way into a bucket.
    pub(super) scratch: u64,
}

/// The blobs of a cache.
pub(crate) struct Blobs {
    backend: Arc<CacheBackend>,
    metadata: Arc<Metadata>,
    trust: Arc<Trust>,
    small: Arc<SmallBlobs>,
    verifier: Arc<Verifier>,
    max_bytes: MaxBytes,
}

impl Blobs {
    /// Remembers about `entries` blobs, and keeps `small_bytes` of small ones in memory; a client waits at most
    /// `verify_limit` until one is verified.
    pub(super) fn new(
        backend: &Arc<CacheBackend>,
        metadata: &Arc<Metadata>,
        lengths: &Arc<Lengths>,
        (in_flight, max_bytes): (&Arc<InFlight>, MaxBytes),
        (entries, small_bytes, verify_limit): (usize, u64, Duration),
    ) -> Self {
        let small = Arc::new(SmallBlobs::new(in_flight, small_bytes));
        let trust = Arc::new(Trust::new(backend, lengths, &small, entries));
        Self {
            backend: Arc::clone(backend),
            metadata: Arc::clone(metadata),
            verifier: Arc::new(Verifier::new(backend, &trust, verify_limit)),
            trust,
            small,
            max_bytes,
        }
    }

    /// A small, verified blob, if it is in memory.
    pub(crate) fn in_memory(&self, digest: &Digest) -> Option<Arc<SmallBlob>> {
        let blob = self.small.get(digest)?;
        if blob.reported_use.is_due(self.backend.clock.unix_seconds()) {
            self.backend.store.used(&Key::blob(digest));
        }
        Some(blob)
    }

    /// A blob's length, if it is here.
    pub(crate) async fn blob_length(&self, digest: &Digest) -> Option<u64> {
        let stat = self.backend.stat(&Key::blob(digest)).await??;
        (self.trust.belief(digest, &stat, false) != Belief::Unfit).then_some(stat.length)
    }

    /// The length of a stored blob that has its digest: a file that was cut short does not say how long the blob is.
    pub(crate) async fn right_length(&self, digest: &Digest) -> Option<u64> {
        if let Some(blob) = self.in_memory(digest) {
            return Some(blob.stat.length);
        }
        let stat = self.backend.stat(&Key::blob(digest)).await??;
        match self.trust.belief(digest, &stat, false) {
            Belief::Right => return Some(stat.length),
            Belief::Unfit => return None,
            // Its manifest says the same.
            Belief::Unknown if self.trust.knows_length(digest) => return Some(stat.length),
            Belief::Unknown => self.verifier.verify_in_time(digest).await,
        }
        (self.trust.belief(digest, &stat, false) == Belief::Right).then_some(stat.length)
    }

    /// A blob, or a part of it. Its bytes were verified since they last changed, or are verified on their way: then the
    /// last ones are withheld.
    pub(crate) async fn blob(&self, digest: &Digest, part: Option<Part>) -> Option<Found> {
        if let Some(blob) = self.in_memory(digest) {
            return Some(blob.found(part));
        }
        let Found { stat, body } = self.right_blob(digest, part).await?;
        // Until its first bytes come, another source can still give it.
        if let Ok(Ok(body)) = within(&*self.backend.clock, DEADLINE, body.begun()).await {
            return Some(Found { stat, body });
        }
        if !self.trust.is_distrusted(digest, &stat) {
            self.trust.unread(digest, stat.validator);
        }
        None
    }

    async fn right_blob(&self, digest: &Digest, part: Option<Part>) -> Option<Found> {
        let key = Key::blob(digest);
        // Taken before it is opened: what is removed later is not kept in memory.
        let since = self.small.generation();
        let found = self.backend.open(&key, part).await??;
        match self.trust.belief(digest, &found.stat, part.is_none()) {
            Belief::Right => {
                self.backend.store.used(&key);
                if part.is_none() && SmallBlobs::takes(found.stat.length) {
                    return self.keep_in_memory(digest, found, since).await;
                }
                return Some(self.trust.noting_breaks(digest, found));
            }
            Belief::Unfit => return None,
            Belief::Unknown if part.is_none() => {
                let Found { stat, body } = found;
                let verifying = VerifyingBody::new(Arc::clone(&self.trust), digest, &stat, body)?;
                return Some(Found { body: Body::frames(verifying, Some(stat.length)), stat });
            }
            Belief::Unknown => drop(found),
        }
        self.verifier.verify_in_time(digest).await;
        let found = self.backend.open(&key, part).await??;
        // Otherwise it was not verified, or changed after that.
        let is_right = self.trust.belief(digest, &found.stat, false) == Belief::Right;
        is_right.then(|| self.trust.noting_breaks(digest, found))
    }

    /// Reads a small blob, verifies it, and keeps it in memory.
    async fn keep_in_memory(&self, digest: &Digest, found: Found, since: u64) -> Option<Found> {
        let Found { stat, body } = found;
        match within(&*self.backend.clock, DEADLINE, body.collect(SMALL_BYTES)).await {
            Ok(Ok(bytes)) if bytes.len() as u64 == stat.length && digest.matches(&bytes) == Some(true) => {
                Some(self.small.keep(digest, stat, bytes, since).found(None))
            }
            // It was right once, and is not any more.
            Ok(Ok(_)) => {
                self.trust.distrust(digest, stat.validator);
                None
            }
            Ok(Err(_)) | Err(_) => {
                self.trust.unread(digest, stat.validator);
                None
            }
        }
    }

    /// A blob of this length that an upstream gave, whole and verified, has been put into the store.
    pub(crate) async fn committed(&self, provenance: &Provenance, digest: &Digest, length: u64) {
        self.metadata.given(provenance, digest);
        self.trust.given(digest, length);
        if let Some(Some(stat)) = self.backend.stat(&Key::blob(digest)).await {
            if stat.length != length {
                return self.trust.distrust(digest, stat.validator);
            }
            let proof = if self.backend.capabilities().reads_back { Proof::Sent } else { Proof::Read };
            self.trust.trust(digest, stat.validator, proof);
        }
    }

    /// Has the store copy a blob that passes, where it can; a task then records the result.
    pub(crate) fn keep_passing(
        self: &Arc<Self>,
        provenance: Provenance,
        digest: &Digest,
        length: u64,
        body: Body,
    ) -> Result<Body, Body> {
        if !self.may_hold(length) {
            return Err(body);
        }
        let Passing { body, kept } = self.backend.store.keep_passing(digest, length, body)?;
        let (blobs, digest, pending) = (Arc::clone(self), digest.clone(), self.backend.begin_write());
        self.backend.tasks.spawn(Box::pin(async move {
            let _pending = pending;
            match kept.await {
                Ok(CopyOutcome::Whole) => blobs.committed(&provenance, &digest, length).await,
                Ok(CopyOutcome::OtherDigest) => {
                    tracing::error!(%digest, "a blob did not match its digest; it is not cached, and the end was withheld from its client");
                    blobs.backend.corrupt("blob", &digest);
                }
                Ok(CopyOutcome::Short) => tracing::info!(%digest, "a blob ended early, and is not cached"),
                // Two at once may have written it, which concerns this blob only: the store is still asked.
                Err(error) => {
                    telemetry::store_failed("keep", error.why());
                    let why = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::warn!(%digest, error = why, "a relayed blob is not cached: {error}");
                }
            }
        }));
        Ok(body)
    }

    /// Drops what is known of a blob that the store does not have any more.
    pub(super) fn lost(&self, digest: &Digest) {
        self.trust.lost(digest);
    }

    /// Drops all blobs from memory.
    pub(crate) fn forget_small(&self) {
        self.small.clear();
    }
}
