//! The body of a response over HTTP/1.1: it drives its connection, and gives it back at its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http_body::Body as _;
use hyper::body::Incoming;
use registry_proxy_core::Body;
use registry_proxy_core::body::{BodyError, Frames, Polled};

use super::http1::Http1;
use super::pool::Host;

/// How long the rest of an upload may take whose response has ended. Then its connection is closed.
const REST_OF_UPLOAD: Duration = Duration::from_mins(1);

/// The body of a response from `host`. `held` is dropped with it.
pub(super) fn body<H: Send + Unpin + 'static>(
    incoming: Incoming,
    connection: Option<Box<Http1>>,
    host: Arc<Host>,
    held: H,
) -> Body {
    let (length, is_over) = (incoming.size_hint().exact(), incoming.is_end_stream());
    let mut body = Http1Body { incoming: Some(incoming), connection, host, _held: held };
    if is_over {
        body.free();
        return Body::Empty;
    }
    Body::frames(body, length)
}

struct Http1Body<H> {
    /// `None` only while this is dropped.
    incoming: Option<Incoming>,
    /// `None`: it is closed, or serves another request.
    connection: Option<Box<Http1>>,
    host: Arc<Host>,
    _held: H,
}

impl<H> Http1Body<H> {
    /// A frame that has arrived. Nobody is woken by what is missing: the connection is, by what arrives.
    fn take_frame(&mut self) -> Polled {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let take = || Pin::new(incoming).poll_frame(&mut Context::from_waker(Waker::noop()));
        let taken = match &self.connection {
            Some(connection) => connection.taking(take),
            None => take(),
        };
        taken.map_err(|error| BodyError::Broken(Box::new(error)))
    }

    /// The response has ended: another request may use the connection.
    fn free(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if connection.is_idle() {
            self.host.keep(connection);
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(finish_upload(connection, Arc::clone(&self.host)));
        }
    }
}

/// The server has answered an upload before its end, and may still read it.
async fn finish_upload(mut connection: Box<Http1>, host: Arc<Host>) {
    let finished = std::future::poll_fn(|cx| match connection.drive(cx) {
        Poll::Ready(()) => Poll::Ready(false),
        Poll::Pending if connection.is_idle() => Poll::Ready(true),
        Poll::Pending => Poll::Pending,
    });
    if tokio::time::timeout(REST_OF_UPLOAD, finished).await == Ok(true) {
        host.keep(connection);
    }
}

impl<H: Send + Unpin> Frames for Http1Body<H> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let mut polled = self.take_frame();
        if let (Poll::Pending, Some(connection)) = (&polled, &mut self.connection) {
            if connection.drive(cx).is_ready() {
                self.connection = None;
            }
            polled = self.take_frame();
        }
        match &polled {
            Poll::Ready(Some(Err(_))) => self.connection = None,
            Poll::Ready(None) => self.free(),
            Poll::Ready(Some(Ok(_))) if self.is_over() => self.free(),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_over(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }
}

impl<H> Drop for Http1Body<H> {
    /// If the rest has arrived already (the text of an error that nobody reads), the connection stays usable.
    fn drop(&mut self) {
        self.incoming = None;
        if let Some(mut connection) = self.connection.take()
            && connection.is_open()
            && connection.is_idle()
        {
            self.host.keep(connection);
        }
    }
}
