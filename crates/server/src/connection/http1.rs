//! HTTP/1.1: one answer after the other.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use registry_proxy_core::Body;
use registry_proxy_core::body::{BodyError, InFlight};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::patience::{Activity, UnderWay};
use super::piece::Piece;
use super::sendfile::Lane;
use super::{Answers, Bounds, Side, attend};
use crate::incoming;

/// What is buffered for a client at the most, beyond one piece of a body.
const BUFFER_BYTES: usize = 128 << 10;
/// Header fields of one request.
const MOST_HEADERS: usize = 128;

/// Serves it to its end. `lane`: files may go from disk to socket.
pub(super) async fn serve<S>(
    stream: S,
    lane: Option<Arc<Lane>>,
    answers: Arc<dyn Answers>,
    side: Side,
    drain: watch::Receiver<bool>,
) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (activity, in_flight) = (Activity::new(), Arc::clone(side.patience.in_flight()));
    let asked = Arc::clone(&activity);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (answers, under_way) = (Arc::clone(&answers), asked.begin());
        let (lane, in_flight) = (lane.clone(), Arc::clone(&in_flight));
        async move {
            let response = answers.answer(request.map(|body| incoming::body(body, ()))).await;
            Ok::<_, Infallible>(response.map(|body| Leaving::new(body, lane.as_ref(), in_flight, under_way)))
        }
    });
    let connection = builder(side.bounds).serve_connection(TokioIo::new(stream), answer);
    let close = http1::Connection::graceful_shutdown;
    attend(connection, close, &activity, side.bounds.idle, drain).await.unwrap_or(Ok(()))
}

fn builder(bounds: Bounds) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.idle)
        .max_buf_size(bounds.head_bytes.max(BUFFER_BYTES))
        .max_headers(MOST_HEADERS);
    builder
}

/// An answer's body on its way to a client.
struct Leaving {
    body: Body,
    /// Where its pieces count: those that were read for this client alone.
    counted: Option<Arc<InFlight>>,
    _under_way: UnderWay,
}

impl Leaving {
    fn new(body: Body, lane: Option<&Arc<Lane>>, in_flight: Arc<InFlight>, under_way: UnderWay) -> Self {
        let is_whole = matches!(body, Body::Empty | Body::Full(_));
        let (body, is_sent_as_file) = match lane {
            Some(lane) => lane.take(body),
            None => (body, false),
        };
        Self { body, counted: (!is_whole && !is_sent_as_file).then_some(in_flight), _under_way: under_way }
    }
}

impl http_body::Body for Leaving {
    type Data = Piece;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BodyError>>> {
        let counted = self.counted.clone();
        Pin::new(&mut self.body).poll_frame(cx).map_ok(|frame| {
            frame.map_data(|bytes| {
                let held = counted.map(|in_flight| Arc::new(in_flight.count(bytes.len() as u64)));
                Piece::new(bytes, held, None)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
