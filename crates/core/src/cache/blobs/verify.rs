//! Verifies stored blobs while they are read: the first time after a start, and whenever the stored bytes may have changed.
//! The last piece is withheld until the digest agrees, so that a corrupt blob is never served whole, and not at all a
//! second time.
//!
//! A range of a blob, or its length, is given only after all of it was verified. Background tasks do that, for a few blobs
//! at once: a client that gives up does not interrupt it, and those that wait for a turn do not block each other.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};

use super::trust::{Proof, Trust};
use crate::body::{Body, BodyError, Frames, Polled};
use crate::cache::Key;
use crate::cache::backend::{CacheBackend, DEADLINE};
use crate::digest::{Digest, Hasher};
use crate::platform::{Elapsed, Found, Stat, Validator, within};
use crate::sync::{Event, Mutex, MutexGuard};

/// Blobs that are read at once, so that a start over a large cache leaves the store something for its clients.
const MAX_AT_ONCE: usize = 3;

/// Verifies stored blobs that no client is reading.
pub(super) struct Verifier {
    backend: Arc<CacheBackend>,
    trust: Arc<Trust>,
    /// How long a client waits for it: `fill.wait`.
    limit: Duration,
    /// Blobs that are being read.
    digests: Mutex<HashSet<Digest>>,
    ended: Event,
}

/// A stored blob that is being read until this is dropped.
struct Reading {
    verifier: Arc<Verifier>,
    digest: Digest,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.verifier.digests().remove(&self.digest);
        self.verifier.ended.notify(usize::MAX);
    }
}

impl Verifier {
    pub(super) fn new(backend: &Arc<CacheBackend>, trust: &Arc<Trust>, limit: Duration) -> Self {
        let (backend, trust) = (Arc::clone(backend), Arc::clone(trust));
        Self { backend, trust, limit, digests: Mutex::default(), ended: Event::default() }
    }

    fn digests(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn end_of(&self, digest: &Digest) {
        loop {
            let listener = self.ended.listen();
            if !self.digests().contains(digest) {
                return;
            }
            listener.await;
        }
    }

    /// Has a stored blob read to its end and held against its digest; waits for that, but no longer than `fill.wait`.
    pub(super) async fn verify_in_time(self: &Arc<Self>, digest: &Digest) {
        if !self.backend.shares_io {
            let _ = within(&*self.backend.clock, self.limit, self.verify(digest)).await;
            return;
        }
        let verified = async {
            if let Some(reading) = self.turn_to_read(digest).await {
                self.backend.tasks.spawn(Box::pin(async move { reading.verifier.verify(&reading.digest).await }));
            }
            self.end_of(digest).await;
        };
        let _ = within(&*self.backend.clock, self.limit, verified).await;
    }

    /// Waits for a turn to read this blob; `None`: it is being read already.
    async fn turn_to_read(self: &Arc<Self>, digest: &Digest) -> Option<Reading> {
        loop {
            let listener = self.ended.listen();
            {
                let mut digests = self.digests();
                if digests.contains(digest) {
                    return None;
                }
                if digests.len() < MAX_AT_ONCE {
                    digests.insert(digest.clone());
                    return Some(Reading { verifier: Arc::clone(self), digest: digest.clone() });
                }
            }
            listener.await;
        }
    }

    /// Reads a stored blob to its end. Its body records the result.
    async fn verify(self: &Arc<Self>, digest: &Digest) {
        let Some(Some(found)) = self.backend.open(&Key::blob(digest), None).await else { return };
        let Found { stat, body } = found;
        let Some(verifying) = VerifyingBody::new(Arc::clone(&self.trust), digest, &stat, body) else { return };
        let mut body = Body::frames(verifying, Some(stat.length));
        loop {
            match within(&*self.backend.clock, DEADLINE, body.chunk()).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) => return,
                // It hangs, and would for whoever comes next.
                Err(Elapsed) => return self.trust.unread(digest, stat.validator),
            }
        }
    }
}

/// A stored blob that is held against its digest while it is read.
pub(super) struct VerifyingBody {
    trust: Arc<Trust>,
    digest: Digest,
    validator: Validator,
    inner: Body,
    hasher: Option<Hasher>,
    missing_bytes: u64,
    /// The piece that is held back.
    held: Option<Bytes>,
}

impl VerifyingBody {
    /// `None`: an algorithm that we cannot compute.
    pub(super) fn new(trust: Arc<Trust>, digest: &Digest, stat: &Stat, inner: Body) -> Option<Self> {
        Some(Self {
            trust,
            validator: stat.validator.clone(),
            inner,
            hasher: Some(Hasher::new(digest)?),
            digest: digest.clone(),
            missing_bytes: stat.length,
            held: None,
        })
    }

    /// Ends the body early.
    fn end(&mut self) -> Polled {
        self.hasher = None;
        let missing_bytes =
            self.held.take().map_or(self.missing_bytes, |held| self.missing_bytes + held.len() as u64);
        Poll::Ready(Some(Err(BodyError::Short { missing_bytes })))
    }
}

impl Frames for VerifyingBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let this = self;
        loop {
            if this.hasher.is_none() {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if bytes.is_empty() {
                        continue;
                    }
                    if let Some(hasher) = &mut this.hasher {
                        hasher.update(&bytes);
                    }
                    this.missing_bytes = this.missing_bytes.saturating_sub(bytes.len() as u64);
                    if let Some(before) = this.held.replace(bytes) {
                        return Poll::Ready(Some(Ok(Frame::data(before))));
                    }
                }
                None => {
                    let is_right = this.hasher.take().is_some_and(|hasher| hasher.is(&this.digest));
                    if !is_right || this.missing_bytes > 0 {
                        this.trust.distrust(&this.digest, this.validator.clone());
                        return this.end();
                    }
                    this.trust.trust(&this.digest, this.validator.clone(), Proof::Read);
                    return Poll::Ready(this.held.take().map(|last| Ok(Frame::data(last))));
                }
                // The disk or the connection failed: the bytes may be right.
                Some(Err(_)) => {
                    this.trust.unread(&this.digest, this.validator.clone());
                    return this.end();
                }
            }
        }
    }
}
