//! What hyper receives, in the core's terms: what a client sends us, what an upstream answers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use registry_proxy_core::Body;
use registry_proxy_core::body::BodyError;

/// The body; `held` is dropped with it.
pub(crate) fn body<H: Send + Unpin + 'static>(incoming: Incoming, held: H) -> Body {
    if incoming.is_end_stream() {
        return Body::Empty;
    }
    let length = incoming.size_hint().exact();
    Body::stream(Held { incoming, _held: held }, length)
}

struct Held<H> {
    incoming: Incoming,
    _held: H,
}

impl<H: Unpin> http_body::Body for Held<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.incoming).poll_frame(cx).map_err(|error| BodyError::Broken(Box::new(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
