//! HTTP/1.1: one answer after the other.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CONNECTION;
use http::{HeaderValue, Request};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use registry_proxy_core::Body;
use registry_proxy_core::body::BodyError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::patience::{Patience, UnderWay};
use super::piece::Piece;
use super::sendfile::Lane;
use super::{Answers, Bounds, EndsConnection, Side, attend};
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
    let patience = Arc::clone(&side.patience);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (answers, under_way) = (Arc::clone(&answers), patience.activity().begin());
        let (lane, patience) = (lane.clone(), Arc::clone(&patience));
        async move {
            let mut response = answers.answer(request.map(|body| incoming::body(body, ()))).await;
            if response.extensions_mut().remove::<EndsConnection>().is_some() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| Leaving::new(body, lane.as_ref(), patience, under_way)))
        }
    });
    let connection = builder(side.bounds).serve_connection(TokioIo::new(stream), answer);
    let close = http1::Connection::graceful_shutdown;
    attend(connection, close, side.patience.activity(), || side.idle(), drain).await.unwrap_or(Ok(()))
}

fn builder(bounds: Bounds) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // That is ours to tell: hyper's begins while the end of the last answer waits for the socket, and would cut it off.
        .header_read_timeout(None)
        .max_buf_size(bounds.head_bytes.max(BUFFER_BYTES))
        .max_headers(MOST_HEADERS);
    builder
}

/// An answer's body on its way to a client. hyper lets go of it with its last piece in hand: from then on the write that waits
/// for the socket keeps the connection from being idle ([`super::stall`]).
struct Leaving {
    body: Body,
    patience: Arc<Patience>,
    counts: Counts,
    _under_way: UnderWay,
}

/// How the pieces of a body count.
#[derive(Clone, Copy)]
enum Counts {
    /// Each is read for this client alone.
    Itself,
    /// They are in memory, and counted already.
    Already,
    /// They are not in memory.
    Nothing,
}

impl Leaving {
    fn new(body: Body, lane: Option<&Arc<Lane>>, patience: Arc<Patience>, under_way: UnderWay) -> Self {
        let is_whole = matches!(body, Body::Empty | Body::Full(_));
        let (body, is_sent_as_file) = match lane {
            Some(lane) => lane.take(body),
            None => (body, false),
        };
        let counts = match (is_sent_as_file, is_whole) {
            (true, _) => Counts::Nothing,
            (false, true) => Counts::Already,
            (false, false) => Counts::Itself,
        };
        Self { body, patience, counts, _under_way: under_way }
    }
}

impl http_body::Body for Leaving {
    type Data = Piece;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BodyError>>> {
        let this = &mut *self;
        Pin::new(&mut this.body).poll_frame(cx).map_ok(|frame| {
            frame.map_data(|bytes| {
                let held = match this.counts {
                    Counts::Itself => Some(this.patience.count(bytes.len() as u64)),
                    Counts::Already => Some(this.patience.counted_already()),
                    Counts::Nothing => None,
                };
                Piece::new(bytes, held.map(Arc::new), None)
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
