//! What every body of our own is: frames, polled one after the other. One adapter makes an [`http_body::Body`] of it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use super::error::BodyError;

/// One poll of a body.
pub type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// A body of our own.
pub trait Frames: Send + Unpin {
    /// The next frame; `None` at the end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled;

    /// Whether nothing more comes, where that is known without polling.
    fn is_over(&self) -> bool {
        false
    }
}

/// Frames as a body for hyper. It states no size: a [`Body`](super::Body) knows its length itself.
pub(super) struct Framed<F>(pub(super) F);

impl<F: Frames> http_body::Body for Framed<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        self.0.poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_over()
    }
}
