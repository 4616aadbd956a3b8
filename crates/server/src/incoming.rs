//! Bodies that arrive over a connection, from clients and upstreams, as bodies of the core.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::RecvStream;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use registry_proxy_core::Body;
use registry_proxy_core::body::{BodyError, Frames, Polled};

/// A body read by hyper. `held` is dropped with it.
pub(crate) fn body<H: Send + Unpin + 'static>(incoming: Incoming, held: H) -> Body {
    if incoming.is_end_stream() {
        return Body::Empty;
    }
    let length = incoming.size_hint().exact();
    Body::frames(IncomingBody { incoming, _held: held }, length)
}

/// A client's body on an HTTP/2 stream. `length`: its Content-Length, which `h2` enforces.
pub(crate) fn h2_body(stream: RecvStream, length: Option<u64>) -> Body {
    if stream.is_end_stream() {
        return Body::Empty;
    }
    Body::frames(H2IncomingBody(stream), length)
}

struct IncomingBody<H> {
    incoming: Incoming,
    _held: H,
}

impl<H: Send + Unpin> Frames for IncomingBody<H> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        Pin::new(&mut self.incoming).poll_frame(cx).map_err(|error| BodyError::Broken(Box::new(error)))
    }

    fn is_over(&self) -> bool {
        self.incoming.is_end_stream()
    }
}

/// Opens the stream's window as its bytes are read.
struct H2IncomingBody(RecvStream);

impl Frames for H2IncomingBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let broken = |error: h2::Error| BodyError::Broken(Box::new(error));
        Poll::Ready(match ready!(self.0.poll_data(cx)) {
            Some(Ok(bytes)) => {
                let opened = self.0.flow_control().release_capacity(bytes.len());
                Some(opened.map(|()| Frame::data(bytes)).map_err(broken))
            }
            Some(Err(error)) => Some(Err(broken(error))),
            None => None,
        })
    }

    fn is_over(&self) -> bool {
        self.0.is_end_stream()
    }
}
