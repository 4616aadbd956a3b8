//! The body of a request or a response, as it passes through: never decoded, never held whole.
//!
//! - `frames`: what every body of our own is; `parts`: what the platform can send while it is still arriving; `watch`: telling somebody how much of a body has gone
//! - `in_flight`: bytes of answers that are in memory until a client has taken them

mod error;
mod frames;
mod in_flight;
mod parts;
mod watch;

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};

pub use self::error::BodyError;
use self::frames::Framed;
pub use self::frames::{Frames, Polled};
pub(crate) use self::in_flight::{Arriving, SMALL_BYTES, SharedBytes, TierHandle};
pub use self::in_flight::{Held, InFlight};
pub use self::parts::{BodyPart, BodyParts, ByParts, PolledPart};
pub use self::watch::Observe;
use self::watch::Watch;

/// Largest piece of a body that is in memory as a whole: a connection takes at most this much more than its client has room
/// for.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// What carries bytes through the proxy.
#[derive(Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// Few bytes in memory: a manifest, an error, a token.
    Full(Whole),
    /// Bytes that arrive while they are sent on.
    Stream(Stream),
    /// Bytes that the platform can send by itself, without anybody reading them.
    Native(Native),
}

/// Bytes in memory.
pub struct Whole {
    bytes: Bytes,
    watch: Option<Watch<Box<dyn Observe>>>,
}

impl Whole {
    /// Takes all that is left, to send it in one piece: it counts as gone.
    pub fn take(mut self) -> Bytes {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(watch) = &mut self.watch {
            watch.given(&Poll::Ready(Some(Ok(Frame::data(bytes.clone())))), true);
        }
        bytes
    }
}

/// A body that can be read like any other, and that its platform can also send without anybody reading it: a file from
/// disk to socket, a stream of a Worker.
pub struct Native {
    stream: Stream,
    /// What the platform knows it by.
    handle: Box<dyn Any + Send>,
    watch: Option<Watch<Box<dyn Observe>>>,
}

impl Native {
    /// The platform's handle, and the observer to tell what becomes of the body.
    pub fn take(self) -> (Box<dyn Any + Send>, Option<Box<dyn Observe>>) {
        (self.handle, self.watch.and_then(Watch::into_observer))
    }

    /// The length in bytes, where it is known.
    pub fn length(&self) -> Option<u64> {
        self.stream.length
    }

    /// What the platform knows it by.
    pub fn handle(&self) -> &(dyn Any + Send) {
        &*self.handle
    }
}

/// A body in motion, and its length in bytes where that is known beforehand.
pub struct Stream {
    inner: BoxBody,
    length: Option<u64>,
}

/// What a platform's own body type is wrapped into.
pub type BoxBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

impl Body {
    /// Wraps a platform's body. `length` is in bytes, where the headers gave it.
    pub fn stream<B>(inner: B, length: Option<u64>) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self::Stream(Stream { inner: Box::pin(inner), length })
    }

    /// Wraps a body of our own. `length` is in bytes, where it is known.
    pub fn frames(inner: impl Frames + 'static, length: Option<u64>) -> Self {
        Self::stream(Framed(inner), length)
    }

    /// Bytes that the platform has: `inner` reads them, `handle` is what the platform knows them by. `length` is in bytes,
    /// where it is known.
    pub fn native<B>(inner: B, length: impl Into<Option<u64>>, handle: impl Any + Send) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        let stream = Stream { inner: Box::pin(inner), length: length.into() };
        Self::Native(Native { stream, handle: Box::new(handle), watch: None })
    }

    /// Bytes that are still arriving: `inner` reads them; a platform that can sends them by their parts instead.
    pub(crate) fn by_parts(
        inner: impl Frames + 'static,
        parts: impl BodyParts + 'static,
        length: Option<u64>,
    ) -> Self {
        Self::native(Framed(inner), length, ByParts(Box::new(parts)))
    }

    /// The length in bytes, where it is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Full(whole) => Some(whole.bytes.len() as u64),
            Self::Stream(stream) | Self::Native(Native { stream, .. }) => stream.length,
        }
    }

    /// The next piece; `None` at the end. Trailers are dropped: no registry sends any that matter.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => return Some(Ok(bytes)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The same body once its first bytes have come. Native bodies and bytes in memory count as begun.
    pub(crate) async fn begun(mut self) -> Result<Self, BodyError> {
        let length = self.length();
        if matches!(self, Self::Native(_) | Self::Full(_)) {
            return Ok(self);
        }
        match self.chunk().await {
            None => Ok(Self::Empty),
            Some(Ok(bytes)) if Some(bytes.len() as u64) == length => Ok(Self::from(bytes)),
            Some(Ok(bytes)) => Ok(self.preceded_by(bytes)),
            Some(Err(error)) => Err(error),
        }
    }

    /// The same body with a piece put back before it. Its length stays the same.
    pub fn preceded_by(self, piece: Bytes) -> Self {
        let length = self.length();
        Self::frames(Preceded { piece: Some(piece), rest: self }, length)
    }

    /// The same body with an observer.
    pub fn observed(self, observer: impl Observe + 'static) -> Self {
        let length = self.length();
        match self {
            Self::Full(whole) if whole.watch.is_none() => {
                let watch = Some(Watch::new(Box::new(observer) as Box<dyn Observe>, length));
                Self::Full(Whole { watch, ..whole })
            }
            Self::Native(native) if native.watch.is_none() => {
                let watch = Some(Watch::new(Box::new(observer) as Box<dyn Observe>, length));
                Self::Native(Native { watch, ..native })
            }
            inner => Self::frames(Observed { inner, watch: Watch::new(observer, length) }, length),
        }
    }

    /// All of it, if it is not longer than `limit_bytes`. It waits for room in the memory account before each piece, and its bytes
    /// count as arriving until the caller passes them to [`Arriving::hold`].
    pub(crate) async fn collect_for_clients(
        mut self,
        limit_bytes: u64,
        arriving: &mut Arriving<'_>,
    ) -> Result<Bytes, BodyError> {
        if self.length().is_some_and(|length| length > limit_bytes) {
            return Err(BodyError::TooLarge { limit_bytes });
        }
        let promised = self.length().and_then(|length| usize::try_from(length).ok());
        let mut all = BytesMut::new();
        loop {
            let left = promised.map_or(PIECE_BYTES, |promised| promised.saturating_sub(all.len()));
            arriving.reach((all.len() + left.min(PIECE_BYTES)) as u64).await;
            let Some(piece) = self.chunk().await else { return Ok(all.freeze()) };
            let piece = piece?;
            let total = all.len() + piece.len();
            if total as u64 > limit_bytes {
                return Err(BodyError::TooLarge { limit_bytes });
            }
            arriving.has(total as u64);
            if all.is_empty() && Some(piece.len()) == promised {
                all = piece.into();
                continue;
            }
            // The buffer at most doubles, up to the promised length: a promise alone takes no memory.
            all.reserve(piece.len().max(left.min(all.len())));
            all.extend_from_slice(&piece);
        }
    }

    /// All of it, if it is not longer than `limit_bytes`.
    pub async fn collect(mut self, limit_bytes: u64) -> Result<Bytes, BodyError> {
        if self.length().is_some_and(|length| length > limit_bytes) {
            return Err(BodyError::TooLarge { limit_bytes });
        }
        if let Self::Full(whole) = self {
            return Ok(whole.take());
        }
        // The promised length is reserved at once, so that no piece is copied twice.
        let promised = usize::try_from(self.length().unwrap_or(0)).unwrap_or(0);
        let mut all = BytesMut::new();
        while let Some(piece) = self.chunk().await {
            let piece = piece?;
            let total = all.len() + piece.len();
            if total as u64 > limit_bytes {
                return Err(BodyError::TooLarge { limit_bytes });
            }
            if all.is_empty() && piece.len() == promised {
                all = piece.into();
                continue;
            }
            all.reserve(piece.len().max(promised.saturating_sub(all.len())));
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.has_remaining() { Self::Full(Whole { bytes, watch: None }) } else { Self::Empty }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(whole) => {
                if let Some(watch) = &mut whole.watch {
                    watch.asked();
                }
                let piece = whole.bytes.split_to(whole.bytes.len().min(PIECE_BYTES));
                let polled = Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))));
                watched(whole.watch.as_mut(), polled, whole.bytes.is_empty())
            }
            Self::Stream(stream) => stream.inner.as_mut().poll_frame(cx),
            Self::Native(native) => {
                if let Some(watch) = &mut native.watch {
                    watch.asked();
                }
                let polled = native.stream.inner.as_mut().poll_frame(cx);
                watched(native.watch.as_mut(), polled, native.stream.inner.is_end_stream())
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(whole) => whole.bytes.is_empty(),
            Self::Stream(stream) | Self::Native(Native { stream, .. }) => stream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.length() {
            Some(length) => SizeHint::with_exact(length),
            None => SizeHint::default(),
        }
    }
}

fn watched<O: Observe>(watch: Option<&mut Watch<O>>, polled: Polled, is_end: bool) -> Polled {
    if let Some(watch) = watch {
        watch.given(&polled, is_end);
    }
    polled
}

/// A piece, and then the rest.
struct Preceded {
    piece: Option<Bytes>,
    rest: Body,
}

impl Frames for Preceded {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        match self.piece.take() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_over(&self) -> bool {
        self.piece.is_none() && self.rest.is_end_stream()
    }
}

/// A body with an observer.
struct Observed<O: Observe> {
    inner: Body,
    watch: Watch<O>,
}

impl<O: Observe> Frames for Observed<O> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        self.watch.asked();
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        watched(Some(&mut self.watch), polled, self.inner.is_end_stream())
    }

    fn is_over(&self) -> bool {
        self.inner.is_end_stream()
    }
}
