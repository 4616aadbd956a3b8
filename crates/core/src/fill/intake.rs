//! What one connection brings: pieces are written and hashed while the next ones are read.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use event_listener::EventListener;
use futures_util::future::{Either, select};

use super::Claim;
use super::hashing::Hashing;
use super::spool::Spool;
use crate::body::{Body, BodyError};
use crate::cache::{Cache, CountedBytes};
use crate::platform::StoreError;
use crate::sync::Event;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Bytes that a connection reads ahead of the write in progress; it stops with the piece that reaches this. They are written
/// at once: over TLS pieces are of 16 KiB, and a write of each would take longer than what it writes.
const READ_AHEAD_BYTES: usize = 256 << 10;
/// Most bytes that all fills together read ahead or are writing; beyond that each connection reads one piece ahead.
const ALL_AHEAD_BYTES: usize = 16 << 20;

/// Why a fill ended early.
pub(super) enum FillStop {
    /// The upstream gives no more.
    Upstream,
    /// It gives the whole where a part is asked for.
    Unranged,
    /// It says another length than before, so that nobody knows which is right.
    OtherLength,
    /// The store takes no more.
    Store,
}

impl From<BodyError> for FillStop {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Unranged => Self::Unranged,
            BodyError::OtherLength => Self::OtherLength,
            BodyError::Broken(_) | BodyError::Stalled | BodyError::Short { .. } | BodyError::TooLarge { .. } => {
                Self::Upstream
            }
        }
    }
}

/// State that the connections of a fill share.
pub(super) struct FillWork<'a> {
    spool: &'a Spool,
    cache: &'a Cache,
    /// `None`: what comes is not hashed yet.
    hash: Option<&'a Hashing>,
    /// Bytes that came, of all connections.
    got: AtomicU64,
    connections: AtomicUsize,
    /// One connection failed the fill: the others finish their current write, and fetch no more.
    failed: AtomicBool,
    failure: Event,
}

impl<'a> FillWork<'a> {
    pub(super) fn new(spool: &'a Spool, cache: &'a Cache, hash: Option<&'a Hashing>) -> Self {
        let (got, connections) = (AtomicU64::new(0), AtomicUsize::new(1));
        let (failed, failure) = (AtomicBool::new(false), Event::new());
        Self { spool, cache, hash, got, connections, failed, failure }
    }

    /// Bytes that came so far.
    pub(super) fn got(&self) -> u64 {
        self.got.load(Ordering::Relaxed)
    }

    /// How many connections fetch it.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn shared_by(&self, connections: usize) {
        self.connections.store(connections, Ordering::Relaxed);
    }

    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        self.failure.notify(usize::MAX);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Writes what one connection fetches, until another takes over; returns the position that it reached.
    pub(super) async fn bring(&self, claim: &Claim, body: Body) -> Result<u64, FillStop> {
        let mut incoming = Incoming {
            body,
            failure: self.failure.listen(),
            ahead: Vec::new(),
            counted: self.cache.backend.arriving(),
            over: None,
        };
        let mut position = claim.first;
        while position < claim.reach(position) {
            if incoming.ahead.is_empty() && incoming.over.is_none() {
                incoming.read(self).await;
            }
            let Some((batch, _counted)) = incoming.take() else { break };
            self.write(claim, position, &batch, &mut incoming).await.map_err(|error| {
                self.cache.backend.failed("fill", &error);
                FillStop::Store
            })?;
            position += batch.len() as u64;
        }
        match incoming.over {
            // An error is of no interest once all has come.
            Some(Err(error)) if position < claim.reach(position) => Err(error.into()),
            Some(_) | None => Ok(position),
        }
    }

    /// Writes some bytes, and reads ahead meanwhile.
    async fn write(
        &self,
        claim: &Claim,
        position: u64,
        batch: &Bytes,
        incoming: &mut Incoming,
    ) -> Result<(), StoreError> {
        let mut writing = pin!(self.spool.write(position, batch, self.hash));
        loop {
            if incoming.is_far_ahead() {
                writing.await?;
                break;
            }
            match select(writing.as_mut(), pin!(incoming.read(self))).await {
                Either::Left((written, _)) => {
                    written?;
                    break;
                }
                Either::Right(_) => {}
            }
        }
        if claim.is_part {
            self.spool.prove_parts();
        }
        Ok(())
    }
}

/// Whether a connection has read enough ahead, with `own` bytes of `all` that fills have. One piece always may be.
fn is_enough(own: usize, all: usize) -> bool {
    own >= READ_AHEAD_BYTES || own > 0 && all >= ALL_AHEAD_BYTES
}

/// A body, and what was read of it ahead of the write in progress.
struct Incoming {
    body: Body,
    /// Listens since before the first check whether another connection failed.
    failure: EventListener,
    ahead: Vec<Bytes>,
    /// The bytes of `ahead`, among those of all fills.
    counted: CountedBytes,
    /// How it ended.
    over: Option<Result<(), BodyError>>,
}

impl Incoming {
    /// Whether no more is to be read before a write has ended.
    fn is_far_ahead(&self) -> bool {
        self.over.is_some() || is_enough(self.counted.bytes(), self.counted.of_all())
    }

    /// Reads the next piece, unless another connection fails. Dropped half-way, it loses nothing.
    async fn read(&mut self, work: &FillWork<'_>) {
        if work.has_failed() {
            self.over = Some(Ok(()));
            return;
        }
        match select(pin!(self.body.chunk()), &mut self.failure).await {
            Either::Left((Some(Ok(piece)), _)) => {
                work.got.fetch_add(piece.len() as u64, Ordering::Relaxed);
                self.counted.add(piece.len());
                self.ahead.push(piece);
            }
            Either::Left((Some(Err(error)), _)) => self.over = Some(Err(error)),
            Either::Left((None, _)) | Either::Right(_) => self.over = Some(Ok(())),
        }
    }

    /// What was read, in one, and its count, held until it is written; `None`: nothing was.
    fn take(&mut self) -> Option<(Bytes, CountedBytes)> {
        let counted = self.counted.take();
        if self.ahead.len() < 2 {
            return self.ahead.pop().map(|piece| (piece, counted));
        }
        let mut all = BytesMut::with_capacity(self.ahead.iter().map(Bytes::len).sum());
        self.ahead.drain(..).for_each(|piece| all.extend_from_slice(&piece));
        Some((all.freeze(), counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_reads_far_ahead_alone_and_one_piece_among_many() {
        let mebibyte = 1 << 20;
        for (own, all, expected) in [
            (0, 0, false),
            (64 << 10, 64 << 10, false),
            (256 << 10, 256 << 10, true),
            (64 << 10, 15 * mebibyte, false),
            (64 << 10, 16 * mebibyte, true),
            (0, 500 * mebibyte, false),
        ] {
            assert_eq!(is_enough(own, all), expected, "{own} of {all}");
        }
    }
}
