//! Bringing a blob into the store where no answer may carry it: part by part, in slices.
//!
//! A function that is frozen after its answer and has little disk cannot run a fill. It reads the blob from the
//! upstream as long as its request may take, sends whole parts to the store on the way, and stores a checkpoint: the hash,
//! and what the store needs to continue the upload. The next request for the blob continues from there, in whatever
//! process the platform runs it. The blob appears when all of it is stored and its digest is right.
//!
//! - [`job`]: the work as an event, for platforms that can begin separate invocations
//! - [`hash`] `o`: SHA-256 that can be paused
//! - [`checkpoint`] `o`: how far an upload has come, as it is stored

mod checkpoint;
mod hash;
mod job;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::join;

use self::checkpoint::Checkpoint;
use self::hash::Hash;
pub(crate) use self::job::{INVOKE_TIME, Invocations, Job};
use crate::body::{Body, BodyError};
use crate::cache::{Cache, Leased};
use crate::digest::Digest;
use crate::evidence::Provenance;
use crate::platform::{Clock, Moment, Upload, within};
use crate::relay::{Relay, Source};
use crate::telemetry;

/// How often a checkpoint is stored, in case that the slice is killed. There is always one after the first part.
const RECORD_EVERY: Duration = Duration::from_secs(5);
/// How long past its time a slice may wait for the store: to take the current part, or to put all parts together.
const GRACE: Duration = Duration::from_secs(2);
/// How long past that storing the checkpoint may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What a store needs to continue an upload, out of its checkpoint.
pub(crate) fn upload_in(record: &[u8]) -> Option<String> {
    Checkpoint::from_record(record).map(|parked| parked.upload)
}

/// Whether a blob of this digest can come in slices: its hash must be one that can be paused.
pub(crate) fn can_be_sliced(digest: &Digest) -> bool {
    digest.algorithm() == "sha256"
}

/// One blob on its way into the store.
pub(crate) struct BlobIngest {
    pub(crate) cache: Arc<Cache>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) source: Source,
    /// The upstream that gives it, and the repository it is for.
    pub(crate) provenance: Provenance,
    pub(crate) digest: Digest,
    /// Its length, in bytes.
    pub(crate) total: u64,
}

/// What a slice came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slice {
    /// All of it is in the store.
    Whole,
    /// Time is up; the next slice continues where this one stopped.
    Parked,
    /// Another process works on it.
    Theirs,
    /// The upstream or the store failed, or the bytes are wrong. Right bytes that were sent stay for the next slice.
    Failed,
}

/// How much a slice did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SliceResult {
    pub(crate) slice: Slice,
    /// Bytes from the upstream.
    pub(crate) got: u64,
    /// Whether the next slice begins farther on than this one did.
    pub(crate) is_farther: bool,
}

/// An upload under way.
struct UploadRun {
    upload: Box<dyn Upload>,
    /// Of the parts sent.
    hash: Hash,
    /// The bytes behind them, up to one part.
    tail: BytesMut,
    /// When the last checkpoint was stored.
    recorded: Option<Moment>,
    /// The bytes that it covers.
    kept: u64,
}

/// The upstream's body, in pieces as large as wanted.
struct Inflow {
    body: Body,
    rest: Bytes,
}

/// Why a slice ends early.
enum SliceStop {
    /// Time is up.
    Late,
    /// The upstream gives no more.
    Upstream,
    /// The store takes no more.
    Store,
}

impl BlobIngest {
    /// Works on it until it is done or the time has come, and at most [`GRACE`] and [`LAST_WORD`] longer.
    pub(crate) async fn slice(&self, until: Moment) -> SliceResult {
        let lease = match self.cache.leases.lease(&self.digest).await {
            Leased::Ours(lease) => lease,
            Leased::Theirs(_) => return SliceResult::none(Slice::Theirs),
        };
        // Another process may have finished between the look at the store and the lease.
        let work = if self.cache.blobs.blob_length(&self.digest).await.is_some() {
            SliceResult::none(Slice::Whole)
        } else {
            self.go_on(until).await
        };
        drop(lease);
        let upstream = self.source.upstream.label();
        telemetry::ingested(upstream, work.slice.name());
        work
    }

    async fn go_on(&self, until: Moment) -> SliceResult {
        let Some(mut run) = self.begin().await else { return SliceResult::none(Slice::Failed) };
        let (before, kept) = (run.position(), run.kept);
        let sent = self.send(&mut run, until).await;
        let got = run.position() - before;
        let work = |slice, farthest| SliceResult { slice, got, is_farther: farthest > kept };
        let slice = match sent {
            Ok(()) if run.is_right(&self.digest) => {
                let farthest = run.kept;
                let finished = within(&*self.clock, self.left(until) + GRACE, self.finish(run)).await;
                // The store may still finish the upload.
                return work(finished.unwrap_or(Slice::Parked), farthest);
            }
            Ok(()) => {
                tracing::error!(digest = %self.digest, "the bytes from an upstream do not match the digest");
                self.cache.backend.corrupt("upload", &self.digest);
                self.cache.blobs.abort_upload(&self.digest, run.upload).await;
                return work(Slice::Failed, kept);
            }
            Err(SliceStop::Late) => Slice::Parked,
            Err(SliceStop::Upstream) => Slice::Failed,
            // Bytes that are hashed may not be stored: the next slice begins at the last checkpoint.
            Err(SliceStop::Store) => return work(Slice::Failed, run.kept),
        };
        let tail = Bytes::copy_from_slice(&run.tail);
        // If the store is too slow for that, the next slice begins at the last checkpoint.
        let _ = within(&*self.clock, LAST_WORD, self.store_checkpoint(&mut run, tail)).await;
        tracing::info!(
            digest = %self.digest,
            got_bytes = got,
            at_bytes = run.position(),
            total_bytes = self.total,
            "a blob is partly in the store; the next request continues the upload"
        );
        work(slice, run.kept)
    }

    /// Continues where the last slice stopped, or begins.
    async fn begin(&self) -> Option<UploadRun> {
        if let Some(record) = self.cache.blobs.parked(&self.digest).await
            && let Some(parked) = Checkpoint::from_record(&record)
            && parked.total == self.total
            && let Some(tail) = self.cache.blobs.parked_tail(&self.digest, parked.tail_bytes).await
            && let Some(upload) = self.cache.blobs.resume_upload(&self.digest, &parked.upload).await
        {
            let (recorded, kept) = (Some(self.clock.now()), parked.hash.length() + parked.tail_bytes);
            return Some(UploadRun { upload, hash: parked.hash, tail: tail.into(), recorded, kept });
        }
        let upload = self.cache.blobs.upload(&self.digest).await?;
        Some(UploadRun { upload, hash: Hash::new(), tail: BytesMut::new(), recorded: None, kept: 0 })
    }

    /// Reads from the upstream and sends whole parts, reading the next part while one is sent. The last part stays until the
    /// digest is right.
    async fn send(&self, run: &mut UploadRun, until: Moment) -> Result<(), SliceStop> {
        let part_bytes = run.upload.part_bytes().next_multiple_of(64);
        let relay = Relay::resume(self.source.clone(), run.position(), Some(self.total));
        let mut inflow = Inflow { body: Body::frames(relay, None), rest: Bytes::new() };
        self.read(&mut inflow, &mut run.tail, part_bytes, until).await?;
        while run.tail.len() == part_bytes && run.position() < self.total {
            let part = std::mem::take(&mut run.tail).freeze();
            let UploadRun { upload, tail, .. } = run;
            let sending = self.cache.blobs.send_part(&mut **upload, part.clone());
            let sending = within(&*self.clock, self.left(until) + GRACE, sending);
            let reading = self.read(&mut inflow, tail, part_bytes, until);
            let (sent, read) = join(sending, reading).await;
            match sent {
                Ok(true) => {
                    run.hash.update(&part);
                }
                Ok(false) => return Err(SliceStop::Store),
                Err(_) => {
                    // The bytes behind a part that is not stored are useless.
                    run.tail.clear();
                    return Err(SliceStop::Late);
                }
            }
            read?;
            let now = self.clock.now();
            if run.recorded.is_none_or(|at| now.since(at) >= RECORD_EVERY) {
                // Without the tail, which may be as large as a part: at worst the next slice fetches it again.
                self.store_checkpoint(run, Bytes::new()).await;
            }
        }
        if run.position() == self.total { Ok(()) } else { Err(SliceStop::Upstream) }
    }

    /// Reads until there is a whole part, or all of the blob.
    async fn read(
        &self,
        inflow: &mut Inflow,
        tail: &mut BytesMut,
        part_bytes: usize,
        until: Moment,
    ) -> Result<(), SliceStop> {
        while tail.len() < part_bytes {
            // Bytes that are there at once take no time, so the deadline is checked here, too.
            if self.left(until).is_zero() {
                return Err(SliceStop::Late);
            }
            let taken = inflow.take(part_bytes - tail.len());
            let arrived = within(&*self.clock, self.left(until), taken).await;
            match arrived.map_err(|_| SliceStop::Late)? {
                Some(Ok(bytes)) => tail.extend_from_slice(&bytes),
                Some(Err(_)) => return Err(SliceStop::Upstream),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    async fn finish(&self, mut run: UploadRun) -> Slice {
        let last = run.tail.freeze();
        if !last.is_empty() && !self.cache.blobs.send_part(&mut *run.upload, last).await {
            return Slice::Failed;
        }
        if self.cache.blobs.commit_upload(&self.provenance, &self.digest, self.total, run.upload).await {
            Slice::Whole
        } else {
            Slice::Failed
        }
    }

    /// Stores a checkpoint: behind the parts that are sent, or behind this tail.
    async fn store_checkpoint(&self, run: &mut UploadRun, tail: Bytes) {
        run.recorded = Some(self.clock.now());
        let parked = Checkpoint {
            total: self.total,
            hash: run.hash.clone(),
            tail_bytes: tail.len() as u64,
            upload: run.upload.park(),
        };
        let farthest = run.hash.length() + parked.tail_bytes;
        if self.cache.blobs.park(&self.digest, parked.to_record().into(), tail).await {
            run.kept = farthest;
        }
    }

    fn left(&self, until: Moment) -> Duration {
        until.since(self.clock.now())
    }
}

impl SliceResult {
    fn none(slice: Slice) -> Self {
        Self { slice, got: 0, is_farther: false }
    }
}

impl UploadRun {
    /// Bytes from the beginning that are sent or in hand.
    fn position(&self) -> u64 {
        self.hash.length() + self.tail.len() as u64
    }

    fn is_right(&self, digest: &Digest) -> bool {
        self.hash.clone().finish(&self.tail) == *digest
    }
}

impl Inflow {
    /// The next bytes, at most so many.
    async fn take(&mut self, most: usize) -> Option<Result<Bytes, BodyError>> {
        if self.rest.is_empty() {
            match self.body.chunk().await? {
                Ok(bytes) => self.rest = bytes,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(self.rest.split_to(self.rest.len().min(most))))
    }
}

impl Slice {
    /// A label of the metric.
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Parked => "parked",
            Self::Theirs => "theirs",
            Self::Failed => "failed",
        }
    }
}
