//! A blob while it is downloaded: one fill writes it, many clients read it, each at its own pace.
//!
//! Late clients, ranges and slow clients read the bytes that are present and wait for the rest; none slows another down.
//! The bytes are in the store's draft; only those that are being read or written are in memory.

use std::any::Any;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use futures_util::future::join;

use super::claims::Claims;
use super::hashing::Hashing;
use super::spans::Spans;
use crate::digest::Digest;
use crate::platform::{Draft, Part, StoreError};
use crate::sync::{Event, Mutex, MutexGuard};

/// How much of the end is withheld until the digest agrees: no client ever has all of a wrong blob (P-107).
const TAIL_BYTES: u64 = 64 << 10;

/// A blob while it is downloaded.
pub(crate) struct Spool {
    digest: Digest,
    total: u64,
    /// The upstream that says how long it is, and gives it.
    origin: Arc<str>,
    /// Whether it was asked for without any credential: then it is for the clients of other upstreams as well.
    is_anonymous: bool,
    draft: Arc<dyn Draft>,
    state: Mutex<SpoolState>,
    pub(super) changed: Event,
}

pub(super) struct SpoolState {
    pub(super) have: Spans,
    pub(super) claims: Claims,
    /// Being written just now: no byte is written twice, so that what was hashed is what is committed.
    writing: Vec<(u64, u64)>,
    pub(super) phase: Phase,
    /// How many runs have begun to fetch the whole.
    run: u64,
}

/// Whether the missing bytes are being fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No: only ranges that were asked for are present, or what an interrupted fill has left.
    Idle,
    /// Yes.
    Running,
    /// All of it is here, and verified.
    Whole,
    /// It cannot be kept: whoever wants it must ask the upstream.
    Lost,
    /// What came has another digest.
    Wrong,
}

/// Why no more can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The store failed: the upstream may still have it.
    Lost,
    /// The upstream gave up, or gave something else.
    Short,
}

/// What a reader finds at a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SpoolLook {
    /// Present, with all bytes up to this offset.
    Here(u64),
    /// A claim covers it.
    Comes,
    /// No claim covers it.
    Nobody,
    Stopped(Stopped),
}

impl Spool {
    pub(crate) fn new(digest: Digest, total: u64, origin: Arc<str>, draft: Arc<dyn Draft>) -> Self {
        Self::with(digest, total, origin, draft, Claims::default())
    }

    /// A spool that somebody fetches already.
    pub(crate) fn begun(digest: Digest, total: u64, origin: Arc<str>, draft: Arc<dyn Draft>) -> Self {
        let spool = Self::new(digest, total, origin, draft);
        spool.begin_run();
        spool
    }

    /// The same blob anew, by one connection: what the upstream gave in parts was wrong.
    pub(crate) fn anew(&self, draft: Arc<dyn Draft>) -> Self {
        let (digest, origin) = (self.digest.clone(), Arc::clone(&self.origin));
        let spool = Self::with(digest, self.total, origin, draft, Claims::single());
        spool.begin_run();
        Self { is_anonymous: self.is_anonymous, ..spool }
    }

    fn with(digest: Digest, total: u64, origin: Arc<str>, draft: Arc<dyn Draft>, claims: Claims) -> Self {
        let state = SpoolState { have: Spans::default(), claims, writing: Vec::new(), phase: Phase::Idle, run: 0 };
        Self { digest, total, origin, is_anonymous: false, draft, state: Mutex::new(state), changed: Event::new() }
    }

    /// Whether it was asked for without any credential.
    pub(crate) fn asked_anonymously(self, is_anonymous: bool) -> Self {
        Self { is_anonymous, ..self }
    }

    /// The upstream that gives it.
    pub(crate) fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// Whether clients of other upstreams may have it once it is verified: its own gives it to everybody, and it is
    /// being fetched.
    pub(crate) fn is_for_all(&self) -> bool {
        self.is_anonymous && matches!(self.phase(), Phase::Running | Phase::Whole)
    }

    /// Whether nobody fetches any of it.
    pub(crate) fn is_at_rest(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Idle && state.claims.is_empty()
    }

    /// Whether nobody has any use of it.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.phase(), Phase::Lost | Phase::Wrong)
    }

    /// Length of the whole, in bytes.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Begins a run that fetches the rest, if there is none.
    pub(crate) fn begin_run(&self) -> bool {
        let mut state = self.state();
        let begins = state.phase == Phase::Idle;
        if begins {
            state.phase = Phase::Running;
            state.run += 1;
            state.claims.reopen();
        }
        begins
    }

    /// Ends a run, or the spool. A spool that has ended stays so: a failure of the store is final.
    pub(crate) fn end_run(&self, phase: Phase) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Idle | Phase::Running) {
            state.phase = phase;
        }
        drop(state);
        self.changed.notify(usize::MAX);
    }

    /// Ends a run whose task is gone, if it has not ended before.
    pub(crate) fn abandon_run(&self, run: u64) {
        let mut state = self.state();
        if state.phase == Phase::Running && state.run == run {
            state.phase = Phase::Idle;
            drop(state);
            self.changed.notify(usize::MAX);
        }
    }

    /// Bytes from the beginning without a gap.
    pub(crate) fn arrived(&self) -> u64 {
        self.state().have.end_from(0)
    }

    /// The end of the bytes from `position` on without a gap.
    pub(super) fn arrived_from(&self, position: u64) -> u64 {
        self.state().have.end_from(position)
    }

    /// Bytes that are present.
    pub(crate) fn present(&self) -> u64 {
        self.state().have.length()
    }

    /// The run of a reader that begins now: it withholds the end from the reader until all is verified. 0: none, as the
    /// reader wants a part and nobody fetches the rest.
    pub(crate) fn run_of_reader(&self, wants_part: bool) -> u64 {
        let state = self.state();
        if wants_part && state.phase != Phase::Running { 0 } else { state.run }
    }

    /// Whether the byte at `position` is withheld until all is verified.
    pub(crate) fn withholds(&self, position: u64) -> bool {
        position >= self.total.saturating_sub(TAIL_BYTES)
    }

    /// Waits until the first of these bytes is here; `false`: nobody brings it.
    pub(crate) async fn begins(&self, first: u64, end: u64, run: u64) -> bool {
        loop {
            let listener = self.changed.listen();
            match self.state().look(first, end, run, self.total) {
                SpoolLook::Here(_) => return true,
                SpoolLook::Nobody | SpoolLook::Stopped(_) => return false,
                SpoolLook::Comes => {}
            }
            listener.await;
        }
    }

    /// Writes the bytes that are neither here nor being written. If all are new, they are hashed at the same time. Not to
    /// be dropped half-way: the store may still be writing then.
    pub(crate) async fn write(
        &self,
        offset: u64,
        bytes: &Bytes,
        hashing: Option<&Hashing>,
    ) -> Result<(), StoreError> {
        let end = offset.saturating_add(bytes.len() as u64);
        let pieces = {
            let mut state = self.state();
            if state.phase == Phase::Lost {
                return Err(StoreError::failed("an earlier piece could not be written"));
            }
            state.reserve(offset, end)
        };
        let hashing = hashing.filter(|_| pieces == [(offset, end)]);
        let hashed = async {
            if let Some(hashing) = hashing {
                hashing.take(offset, bytes).await;
            }
        };
        join(self.write_pieces(offset, bytes, &pieces), hashed).await.0
    }

    async fn write_pieces(&self, offset: u64, bytes: &Bytes, pieces: &[(u64, u64)]) -> Result<(), StoreError> {
        for (at_hand, (first, until)) in pieces.iter().enumerate() {
            let at = |position: u64| usize::try_from(position - offset).unwrap_or(usize::MAX);
            let written = self.draft.write_at(*first, bytes.slice(at(*first)..at(*until))).await;
            let mut state = self.state();
            if written.is_ok() {
                state.writing.retain(|piece| piece != &(*first, *until));
                state.have.add(*first, *until);
            } else {
                // None of the rest is written either.
                state.writing.retain(|piece| !pieces[at_hand..].contains(piece));
                state.phase = Phase::Lost;
            }
            drop(state);
            self.changed.notify(usize::MAX);
            written?;
        }
        Ok(())
    }

    /// The end of the bytes that this reader may have from `position` on: at least one, not beyond `end`. Waits for them
    /// while they are being fetched. Without a run, a byte that nobody fetches ends the read: the reader gets it elsewhere.
    pub(super) async fn readable(&self, position: u64, end: u64, run: u64) -> Result<u64, Stopped> {
        loop {
            let listener = self.changed.listen();
            match self.state().look(position, end, run, self.total) {
                SpoolLook::Here(until) => return Ok(until),
                SpoolLook::Nobody => return Err(Stopped::Lost),
                SpoolLook::Stopped(stopped) => return Err(stopped),
                SpoolLook::Comes => {}
            }
            listener.await;
        }
    }

    /// Whether the platform can send what is present by itself.
    pub(crate) fn has_handles(&self) -> bool {
        self.draft.handle_of(Part { first: 0, end: 0 }).is_some()
    }

    /// What the platform knows bytes by that are present, if it can send them by itself.
    pub(super) fn handle_of(&self, part: Part) -> Option<Box<dyn Any + Send>> {
        self.draft.handle_of(part)
    }

    /// Reads bytes that are present.
    pub(super) async fn read_back(&self, from: u64, most: usize) -> Result<Bytes, StoreError> {
        self.draft.read_at(from, most).await
    }

    /// Waits until nobody fetches the whole.
    pub(crate) async fn run_over(&self) {
        loop {
            let listener = self.changed.listen();
            if self.phase() != Phase::Running {
                return;
            }
            listener.await;
        }
    }

    /// Waits until all of it is here, or nobody brings what is missing.
    pub(crate) async fn settled(&self) {
        loop {
            let listener = self.changed.listen();
            {
                let state = self.state();
                let is_over = matches!(state.phase, Phase::Lost | Phase::Wrong);
                let missing = state.have.gap(0, self.total, u64::MAX);
                if is_over || missing.is_none_or(|(first, _)| !state.is_coming(first)) {
                    return;
                }
            }
            listener.await;
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.state().have.is_whole(self.total)
    }

    /// Makes it visible to everybody.
    pub(crate) async fn commit(&self) -> Result<(), StoreError> {
        self.draft.commit(self.total).await
    }

    pub(super) fn state(&self) -> MutexGuard<'_, SpoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpoolState {
    /// What a reader of this run finds at `position`, if it reads up to `end`.
    fn look(&self, position: u64, end: u64, run: u64, total: u64) -> SpoolLook {
        let limit = match self.phase {
            Phase::Running if run != 0 => total.saturating_sub(TAIL_BYTES),
            // A range is not verified: the client does that, if it can.
            Phase::Running | Phase::Idle | Phase::Whole => total,
            Phase::Lost => return SpoolLook::Stopped(Stopped::Lost),
            Phase::Wrong => return SpoolLook::Stopped(Stopped::Short),
        };
        let available = self.have.end_from(position).min(limit).min(end);
        let is_here = available > position;
        if run != 0 && (self.phase == Phase::Idle || self.run != run) {
            return SpoolLook::Stopped(Stopped::Short);
        }
        if is_here {
            return SpoolLook::Here(available);
        }
        if run != 0 || self.is_coming(position) { SpoolLook::Comes } else { SpoolLook::Nobody }
    }

    /// Whether a claim covers this byte.
    fn is_coming(&self, position: u64) -> bool {
        let mut writing = self.writing.iter();
        writing.any(|(first, until)| (*first..*until).contains(&position)) || self.claims.covers(position)
    }

    /// The parts of a span that nobody has written, nor is writing.
    fn reserve(&mut self, first: u64, end: u64) -> Vec<(u64, u64)> {
        if matches!(self.phase, Phase::Whole | Phase::Lost | Phase::Wrong) {
            return Vec::new();
        }
        let mut taken = self.have.clone_within(first, end);
        for (first, end) in &self.writing {
            taken.add(*first, *end);
        }
        let mut pieces = Vec::new();
        let mut position = first;
        while let Some((gap, until)) = taken.gap(position, end, u64::MAX) {
            pieces.push((gap, until));
            position = until;
        }
        self.writing.extend(&pieces);
        pieces
    }
}
