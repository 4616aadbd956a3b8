//! A body that survives the loss of its connection: when the upstream breaks off, stalls, or sends less than was asked for,
//! the relay fetches the rest, and the client notices nothing (P-99, P-114, P-115).
//!
//! Bytes are counted, not hashed: clients verify, and hashing halves a relay's throughput (P-107).

mod continued;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::header::RANGE;
use http_body::{Body as _, Frame};

pub(crate) use self::continued::Continued;
use self::continued::{Opened, ResumeError, continuation};
use crate::body::{Body, BodyError, Frames, Polled};
use crate::error::Failure;
use crate::platform::{Clock, Moment, Sleep, within};
use crate::range::RangeSpec;
use crate::upstream::{Ask, FailureKind, Location, Negative, Reply, Upstream};

/// Most tries to resume without a single byte in between. Any progress resets the count.
const MAX_TRIES: u32 = 4;
/// Wait before the first try to resume; each further try waits four times as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The shortest wait before an address that rests after a failure is asked again.
const SHORTEST_REST: Duration = Duration::from_millis(100);
/// The longest wait in the middle of a body for an upstream that answers 429.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// What it takes to ask for the bytes again.
#[derive(Clone)]
pub(crate) struct Source {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The request; its `Range` is set for each try.
    pub ask: Ask,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How long a silence counts as a break.
    pub idle: Duration,
    /// The longest rest of an address after failures.
    pub down: Duration,
    /// The address of the bytes, if they are not at the registry: in the storage of `REGISTRY_BACKEND`.
    pub storage: Option<Location>,
    /// Length of the whole in bytes, if it is known. An answer with another length has other bytes.
    pub total: Option<u64>,
}

/// The bytes from `position` to `end` of a blob, resumed where the connection breaks.
pub(crate) struct Relay {
    source: Arc<Source>,
    state: RelayState,
    /// Offset in the blob of the next byte for the client.
    position: u64,
    /// Offset behind the last; unknown where the upstream gives no length.
    end: Option<u64>,
    /// Bytes to drop from the beginning of the answer.
    skip: u64,
    /// Whether an answer with the whole ends the relay, as only a part is of use.
    is_part: bool,
    tries: u32,
    /// Whether the last try ended cleanly before the end.
    ended_early: bool,
    /// When the current silence began.
    quiet_since: Option<Moment>,
    /// Wakes when the silence may have been too long. Armed once an interval, not once a frame.
    silence: Option<Sleep>,
}

enum RelayState {
    Reading(Body),
    Waiting(Sleep),
    Opening(Pin<Box<dyn Future<Output = Result<Opened, ResumeError>> + Send>>),
    Over,
}

impl Relay {
    /// Reads an answer that has begun. `skip`: bytes to drop at its beginning.
    pub(crate) fn new(source: Source, body: Body, skip: u64, position: u64, end: Option<u64>) -> Self {
        Self {
            source: Arc::new(source),
            state: RelayState::Reading(body),
            position,
            end,
            skip,
            is_part: false,
            tries: 0,
            ended_early: false,
            quiet_since: None,
            silence: None,
        }
    }

    /// Asks for the bytes from `position` on itself.
    pub(crate) fn resume(source: Source, position: u64, end: Option<u64>) -> Self {
        let mut relay = Self::new(source, Body::Empty, 0, position, end);
        let source = Arc::clone(&relay.source);
        relay.state = RelayState::Opening(Box::pin(async move { source.open(position, end).await }));
        relay
    }

    /// The same for a part of which only its own bytes are of use: an answer with the whole ends it.
    pub(crate) fn part(source: Source, position: u64, end: Option<u64>) -> Self {
        let mut relay = Self::resume(source, position, end);
        relay.is_part = true;
        relay
    }

    /// Asks for the whole itself, without a `Range` until the body breaks off.
    pub(crate) fn anew(source: Source, total: u64) -> Self {
        let mut relay = Self::new(source, Body::Empty, 0, 0, Some(total));
        let source = Arc::clone(&relay.source);
        relay.state = RelayState::Opening(Box::pin(async move { source.open_whole().await }));
        relay
    }

    fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }

    /// The body ended cleanly before its end: tries again, or fails.
    fn ended(&mut self) -> Result<(), BodyError> {
        self.ended_early = true;
        self.broken("it ended short")
    }

    /// The body broke: tries again, or fails.
    fn broken(&mut self, why: &'static str) -> Result<(), BodyError> {
        let wait = FIRST_WAIT * 4_u32.pow(self.tries.min(MAX_TRIES));
        self.go_on_after(wait, why)
    }

    fn go_on_after(&mut self, wait: Duration, why: &'static str) -> Result<(), BodyError> {
        (self.quiet_since, self.silence) = (None, None);
        self.tries += 1;
        let missing_bytes = self.end.map_or(0, |end| end.saturating_sub(self.position));
        if self.tries > MAX_TRIES {
            self.state = RelayState::Over;
            return Err(if self.ended_early {
                BodyError::OtherLength
            } else {
                BodyError::Short { missing_bytes }
            });
        }
        if let Some(repeated) = self.source.upstream.report(FailureKind::Body) {
            tracing::info!(
                upstream = self.source.upstream.name(),
                endpoint = self.source.ask.endpoint,
                at_bytes = self.position,
                missing_bytes,
                why,
                try_number = self.tries,
                repeated,
                "the upstream's body broke off; resuming where it stopped"
            );
        }
        // A wait, however short, also gives the server time to send what it has (P-116).
        self.state = RelayState::Waiting(self.source.clock.sleep(wait));
        Ok(())
    }

    /// Takes bytes that arrived, without those that are outside the range at either end.
    fn take(&mut self, mut bytes: Bytes) -> Option<Bytes> {
        if self.skip > 0 {
            let dropped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(dropped);
            self.skip -= dropped as u64;
        }
        self.quiet_since = None;
        if bytes.is_empty() {
            return None;
        }
        if let Some(end) = self.end {
            bytes.truncate(usize::try_from(end.saturating_sub(self.position)).unwrap_or(usize::MAX));
        }
        self.position += bytes.len() as u64;
        self.tries = 0;
        if self.is_complete() {
            self.state = RelayState::Over;
        }
        Some(bytes)
    }

    /// Ready once nothing has arrived for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (clock, idle) = (&*self.source.clock, self.source.idle);
        let since = *self.quiet_since.get_or_insert_with(|| clock.now());
        loop {
            let left = || idle.saturating_sub(clock.now().since(since));
            ready!(self.silence.get_or_insert_with(|| clock.sleep(left())).as_mut().poll(cx));
            self.silence = None;
            // The timer may have been armed for an earlier silence.
            if left().is_zero() {
                return Poll::Ready(());
            }
        }
    }
}

impl Frames for Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let this = self;
        loop {
            let outcome = match &mut this.state {
                RelayState::Reading(body) => match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        let taken = frame.into_data().ok().and_then(|bytes| this.take(bytes));
                        match taken {
                            Some(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                            None => Ok(()),
                        }
                    }
                    Poll::Ready(None) if this.end.is_none() || this.is_complete() => {
                        this.state = RelayState::Over;
                        Ok(())
                    }
                    Poll::Ready(None) => this.ended(),
                    Poll::Ready(Some(Err(_))) => {
                        this.ended_early = false;
                        this.broken("the connection broke")
                    }
                    Poll::Pending => {
                        ready!(this.poll_silence(cx));
                        this.ended_early = false;
                        this.broken("nothing arrived")
                    }
                },
                RelayState::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    let (source, position, end) = (Arc::clone(&this.source), this.position, this.end);
                    crate::telemetry::resumed(source.upstream.label());
                    this.state = RelayState::Opening(Box::pin(async move { source.open(position, end).await }));
                    Ok(())
                }
                RelayState::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(opened) if this.is_part && opened.is_whole => {
                        this.state = RelayState::Over;
                        Err(BodyError::Unranged)
                    }
                    Ok(opened) => {
                        this.end = this.end.or(opened.total);
                        this.skip = opened.skip;
                        this.state = RelayState::Reading(opened.body);
                        Ok(())
                    }
                    Err(ResumeError::OtherLength) => {
                        this.state = RelayState::Over;
                        Err(BodyError::OtherLength)
                    }
                    Err(ResumeError::Later) => {
                        this.ended_early = false;
                        this.broken("it could not be asked again")
                    }
                    Err(ResumeError::Then(wait)) if wait <= LONGEST_WAIT && this.tries < MAX_TRIES => {
                        // Two waits for a limit are enough.
                        this.tries = this.tries.max(MAX_TRIES - 2);
                        this.go_on_after(wait, "it answers too many requests")
                    }
                    Err(ResumeError::Never | ResumeError::Then(_)) => {
                        (this.tries, this.ended_early) = (MAX_TRIES, false);
                        this.broken("the upstream gives no more")
                    }
                },
                RelayState::Over => return Poll::Ready(None),
            };
            if let Err(error) = outcome {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, RelayState::Over) && self.end.is_none_or(|end| self.position >= end)
    }
}

impl Source {
    async fn read(&self, ask: &Ask) -> Reply {
        match &self.storage {
            Some(url) => self.upstream.fetch_storage(url, ask).await,
            None => self.upstream.read(ask).await,
        }
    }

    /// Asks for the rest.
    async fn open(&self, position: u64, end: Option<u64>) -> Result<Opened, ResumeError> {
        let spec =
            end.map_or(RangeSpec::From(position), |end| RangeSpec::Between(position, end.saturating_sub(1)));
        let mut ask = self.ask.clone();
        ask.is_continuation = true;
        ask.headers.insert(RANGE, spec.to_header());
        let until = self.clock.now().after(self.down);
        loop {
            match self.read(&ask).await {
                // The address failed a moment ago, perhaps for this very body: it may answer again once its rest is over.
                Err(Negative::Failed(Failure::Resting { left, .. })) if self.clock.now() < until => {
                    self.clock.sleep(left.min(self.down).max(SHORTEST_REST)).await;
                }
                reply => return self.opened(reply, position),
            }
        }
    }

    /// Asks for all of it.
    async fn open_whole(&self) -> Result<Opened, ResumeError> {
        let mut ask = self.ask.clone();
        ask.headers.remove(RANGE);
        let reply = self.read(&ask).await;
        self.opened(reply, 0)
    }

    fn opened(&self, reply: Reply, position: u64) -> Result<Opened, ResumeError> {
        match reply {
            Ok(response) => continuation(response, position, self.total),
            Err(
                Negative::Failed(Failure::Coded | Failure::Redirect(_) | Failure::RealmNotTrusted)
                | Negative::Missing(_)
                | Negative::Refused(_)
                | Negative::Declined(..),
            ) => Err(ResumeError::Never),
            Err(Negative::Failed(_)) => Err(ResumeError::Later),
            Err(Negative::Limited { retry_after }) => Err(ResumeError::Then(retry_after)),
            // A 416: the upstream has fewer bytes than it promised.
            Err(Negative::Unsatisfiable { .. }) => Err(ResumeError::OtherLength),
        }
    }
}

/// The body once its first bytes have come: until then the client can still be sent an error (P-112).
pub(crate) async fn begun(clock: &dyn Clock, limit: Duration, body: Body) -> Result<Body, Failure> {
    match within(clock, limit, body.begun()).await {
        Ok(Ok(body)) => Ok(body),
        Err(_) | Ok(Err(BodyError::Stalled)) => Err(Failure::TimedOut),
        Ok(Err(_)) => Err(Failure::Broken),
    }
}
