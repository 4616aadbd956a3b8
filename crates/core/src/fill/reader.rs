//! A client's body, read from a spool at the client's own pace.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::Frame;

use super::spool::{Spool, Stopped};
use crate::body::{BodyError, Frames, Polled};
use crate::relay::{Relay, Source};

/// Bytes of one read: many clients read from one spool, each with this much in memory.
const PIECE_BYTES: usize = 128 << 10;

/// The bytes from `position` to `end` of a blob that is arriving.
pub(crate) struct SpoolReader {
    spool: Arc<Spool>,
    run: u64,
    position: u64,
    end: u64,
    state: ReadState,
    /// A piece was returned: other tasks run first.
    is_others_turn: bool,
    /// Where the rest comes from if the store fails: the upstream is asked again, for this client alone.
    instead: Option<Source>,
}

enum ReadState {
    Idle,
    Reading(BoxFuture<'static, Result<Bytes, Stopped>>),
    Relaying(Box<Relay>),
    Over,
}

impl SpoolReader {
    pub(crate) fn new(spool: Arc<Spool>, run: u64, first: u64, end: u64, instead: Option<Source>) -> Self {
        Self { spool, run, position: first, end, state: ReadState::Idle, is_others_turn: false, instead }
    }
}

impl SpoolReader {
    /// The same, with its first bytes from elsewhere.
    pub(crate) fn behind(self, first: Relay) -> Self {
        Self { state: ReadState::Relaying(Box::new(first)), ..self }
    }
}

impl Frames for SpoolReader {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let this = self;
        // Bytes that are here are read without waiting: a reader far behind would keep all others on this thread
        // waiting.
        if std::mem::take(&mut this.is_others_turn) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            match &mut this.state {
                ReadState::Idle if this.position >= this.end => this.state = ReadState::Over,
                ReadState::Idle => {
                    let (spool, run) = (Arc::clone(&this.spool), this.run);
                    let (position, end) = (this.position, this.end);
                    let reading = async move { spool.read(position, end, PIECE_BYTES, run).await };
                    this.state = ReadState::Reading(Box::pin(reading));
                }
                ReadState::Reading(reading) => match ready!(reading.as_mut().poll(cx)) {
                    Ok(bytes) if !bytes.is_empty() => {
                        this.position += bytes.len() as u64;
                        this.state = ReadState::Idle;
                        this.is_others_turn = this.position < this.end;
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                    Err(Stopped::Short) => {
                        this.state = ReadState::Over;
                        return Poll::Ready(Some(Err(this.short())));
                    }
                    Ok(_) | Err(Stopped::Lost) => {
                        if let Some(source) = this.instead.take() {
                            let relay = Relay::resume(source, this.position, Some(this.end));
                            this.state = ReadState::Relaying(Box::new(relay));
                        } else {
                            this.state = ReadState::Over;
                            return Poll::Ready(Some(Err(this.short())));
                        }
                    }
                },
                ReadState::Relaying(relay) => match ready!(relay.poll(cx)) {
                    Some(Ok(frame)) => {
                        this.position += frame.data_ref().map_or(0, |data| data.len() as u64);
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    Some(Err(error)) => {
                        this.state = ReadState::Over;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => this.state = ReadState::Idle,
                },
                ReadState::Over => return Poll::Ready(None),
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, ReadState::Over | ReadState::Idle) && self.position >= self.end
    }
}

impl SpoolReader {
    fn short(&self) -> BodyError {
        BodyError::Short { missing_bytes: self.end - self.position }
    }
}
