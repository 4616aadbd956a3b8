//! A client's body, read from a spool at the client's own pace, or sent from there by the platform.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::Frame;

use super::spool::{Spool, Stopped};
use crate::body::{BodyError, BodyPart, BodyParts, Frames, Polled, PolledPart};
use crate::platform::Part;
use crate::relay::{Relay, Source};

/// Bytes of one read: many clients read from one spool, each with this much in memory.
const PIECE_BYTES: u64 = 128 << 10;
/// Bytes that are read before other tasks have a turn. Bytes that are here are read without waiting: a reader far behind
/// would keep all others on this thread waiting.
const TURN_BYTES: u64 = 1 << 20;

/// The bytes from `position` to `end` of a blob that is arriving, read, or by their handles ([`BodyPart`]).
pub(crate) struct SpoolReader<P = Bytes> {
    spool: Arc<Spool>,
    run: u64,
    position: u64,
    end: u64,
    state: ReadState<P>,
    /// Bytes that were read since other tasks had a turn.
    in_turn: u64,
    /// Where the rest comes from if the store fails: the upstream is asked again, for this client alone.
    instead: Option<Source>,
}

enum ReadState<P> {
    Idle,
    Taking(BoxFuture<'static, Result<P, Stopped>>),
    Relaying(Box<Relay>),
    Over,
}

/// How bytes are taken out of a spool.
#[async_trait]
pub(crate) trait SpoolPiece: Sized + Send + 'static {
    /// Whether taking them costs this thread time.
    const IS_READ: bool;

    /// Some of the bytes from `position` to `until`, which are present.
    async fn take(spool: &Spool, position: u64, until: u64) -> Result<Self, Stopped>;

    fn of_bytes(bytes: Bytes) -> Self;

    fn length(&self) -> u64;
}

#[async_trait]
impl SpoolPiece for Bytes {
    const IS_READ: bool = true;

    async fn take(spool: &Spool, position: u64, until: u64) -> Result<Self, Stopped> {
        let most = usize::try_from((until - position).min(PIECE_BYTES)).unwrap_or(usize::MAX);
        spool.read_back(position, most).await.map_err(|_| Stopped::Lost)
    }

    fn of_bytes(bytes: Bytes) -> Self {
        bytes
    }

    fn length(&self) -> u64 {
        self.len() as u64
    }
}

#[async_trait]
impl SpoolPiece for BodyPart {
    const IS_READ: bool = false;

    async fn take(spool: &Spool, position: u64, until: u64) -> Result<Self, Stopped> {
        match spool.handle_of(Part { first: position, end: until }) {
            Some(handle) => Ok(Self::Native { handle, length: until - position }),
            None => Bytes::take(spool, position, until).await.map(Self::Bytes),
        }
    }

    fn of_bytes(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }

    fn length(&self) -> u64 {
        Self::length(self)
    }
}

impl<P: SpoolPiece> SpoolReader<P> {
    pub(crate) fn new(spool: Arc<Spool>, run: u64, first: u64, end: u64, instead: Option<Source>) -> Self {
        Self { spool, run, position: first, end, state: ReadState::Idle, in_turn: 0, instead }
    }

    /// The same, with its first bytes from elsewhere.
    pub(crate) fn behind(self, first: Relay) -> Self {
        Self { state: ReadState::Relaying(Box::new(first)), ..self }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<P, BodyError>>> {
        let this = self;
        if this.in_turn >= TURN_BYTES {
            this.in_turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            match &mut this.state {
                ReadState::Idle if this.position >= this.end => this.state = ReadState::Over,
                ReadState::Idle => {
                    let (spool, run) = (Arc::clone(&this.spool), this.run);
                    let (position, end) = (this.position, this.end);
                    this.state = ReadState::Taking(Box::pin(async move {
                        let until = spool.readable(position, end, run).await?;
                        P::take(&spool, position, until).await
                    }));
                }
                ReadState::Taking(taking) => {
                    let polled = taking.as_mut().poll(cx);
                    if polled.is_pending() {
                        this.in_turn = 0;
                    }
                    match ready!(polled) {
                        Ok(piece) if piece.length() > 0 => {
                            this.position += piece.length();
                            this.in_turn += if P::IS_READ { piece.length() } else { 0 };
                            this.state = ReadState::Idle;
                            return Poll::Ready(Some(Ok(piece)));
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
                    }
                }
                ReadState::Relaying(relay) => match ready!(relay.poll(cx)) {
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            this.position += bytes.len() as u64;
                            return Poll::Ready(Some(Ok(P::of_bytes(bytes))));
                        }
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

    fn short(&self) -> BodyError {
        BodyError::Short { missing_bytes: self.end - self.position }
    }
}

impl Frames for SpoolReader {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        self.poll_next(cx).map_ok(Frame::data)
    }

    fn is_over(&self) -> bool {
        matches!(self.state, ReadState::Over | ReadState::Idle) && self.position >= self.end
    }
}

impl BodyParts for SpoolReader<BodyPart> {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> PolledPart {
        self.poll_next(cx)
    }
}
