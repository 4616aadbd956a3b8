//! A body that arrives in pieces, and may stall, break off or end early.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;

use crate::body::BodyError;
use crate::platform::{Clock, Sleep};

/// How large the pieces are: small enough that tests see several.
const PIECE_BYTES: usize = 1000;

/// The same of a body with a rate.
const PACED_BYTES: usize = 20_000;

pub(super) enum Step {
    Piece(Bytes),
    Wait(Duration),
    Break,
}

/// Steps, one after the other.
pub(super) struct Pieces {
    steps: VecDeque<Step>,
    waiting: Option<Sleep>,
    clock: Arc<dyn Clock>,
    /// Bytes that went out.
    taken: Arc<AtomicU64>,
}

impl Pieces {
    pub(super) fn new(
        steps: impl IntoIterator<Item = Step>,
        clock: Arc<dyn Clock>,
        taken: Arc<AtomicU64>,
    ) -> Self {
        Self { steps: steps.into_iter().collect(), waiting: None, clock, taken }
    }

    /// The bytes, cut into pieces.
    pub(super) fn cut(bytes: &Bytes) -> impl Iterator<Item = Step> + use<> {
        let bytes = bytes.clone();
        let starts = (0..bytes.len()).step_by(PIECE_BYTES);
        starts.map(move |start| Step::Piece(bytes.slice(start..bytes.len().min(start + PIECE_BYTES))))
    }
}

impl Pieces {
    /// The bytes at so many a second, in pieces that a network card would deliver together.
    pub(super) fn paced(bytes: &Bytes, rate: u64) -> impl Iterator<Item = Step> + use<> {
        let bytes = bytes.clone();
        let starts = (0..bytes.len()).step_by(PACED_BYTES);
        starts.flat_map(move |start| {
            let piece = bytes.slice(start..bytes.len().min(start + PACED_BYTES));
            let takes = Duration::from_micros(piece.len() as u64 * 1_000_000 / rate.max(1));
            [Step::Wait(takes), Step::Piece(piece)]
        })
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(sleep) = &mut self.waiting {
                ready!(sleep.as_mut().poll(cx));
                self.waiting = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Piece(bytes)) => {
                    self.taken.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Break) => {
                    self.steps.clear();
                    return Poll::Ready(Some(Err(BodyError::Broken("connection reset".into()))));
                }
                Some(Step::Wait(duration)) => self.waiting = Some(self.clock.sleep(duration)),
            }
        }
    }
}
