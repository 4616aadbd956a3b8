//! HTTP/1.1, by hyper.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

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

use super::context::{ConnectionContext, ConnectionSettings};
use super::handler::{CloseConnection, RequestHandler};
use super::idle_timeouts::{Activity, ActivityGuard, IdleTimeouts};
use super::outgoing_chunk::{HeldMemory, OutgoingChunk};
use super::sendfile::{SendfileQueue, is_placeholder};
use super::when_woken::WhenWoken;
use crate::incoming;

/// Bytes buffered for a client, beyond one chunk of a body.
const BUFFER_BYTES: usize = 128 << 10;

/// Time for an idle connection to close: longer than the lingering close takes.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

/// Serves the connection until it closes. `queue`: files may be sent with `sendfile`.
pub(super) async fn serve<S>(
    stream: S,
    queue: Option<Arc<SendfileQueue>>,
    handler: Arc<dyn RequestHandler>,
    context: ConnectionContext,
    drain: watch::Receiver<bool>,
) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let timeouts = Arc::clone(&context.timeouts);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (handler, activity) = (Arc::clone(&handler), timeouts.activity().begin());
        let (queue, timeouts) = (queue.clone(), Arc::clone(&timeouts));
        async move {
            let mut response = handler.answer(request.map(|body| incoming::body(body, ()))).await;
            if response.extensions_mut().remove::<CloseConnection>().is_some() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| ResponseBody::new(body, queue.as_ref(), timeouts, activity)))
        }
    });
    let connection = builder(context.settings).serve_connection(TokioIo::new(stream), answer);
    let close = http1::Connection::graceful_shutdown;
    drive(connection, close, context.timeouts.activity(), || context.idle(), drain).await.unwrap_or(Ok(()))
}

/// Drives the connection to its end, and starts a graceful shutdown when the server drains or the connection was `idle` for too
/// long. `None`: it did not close in time after an idle shutdown, so it has no complete request.
async fn drive<C: Future>(
    connection: C,
    close: impl Fn(Pin<&mut C>),
    activity: &Activity,
    idle: impl Fn() -> Duration,
    mut drain: watch::Receiver<bool>,
) -> Option<C::Output> {
    let mut connection = pin!(connection);
    let (mut is_draining, mut is_closing) = (false, false);
    loop {
        let (most, idle) = (if is_closing { CLOSING } else { Duration::MAX }, &idle);
        let limit = move || idle().min(most);
        let reason = WhenWoken::new(async {
            tokio::select! {
                biased;
                _ = drain.wait_for(|drains| *drains), if !is_draining => ToClose::Draining,
                () = activity.idle(limit) => ToClose::Idle,
            }
        });
        let reason = tokio::select! {
            biased;
            end = connection.as_mut() => return Some(end),
            reason = reason => reason,
        };
        match reason {
            ToClose::Draining => is_draining = true,
            ToClose::Idle if is_closing => return None,
            ToClose::Idle => is_closing = true,
        }
        close(connection.as_mut());
    }
}

/// Why a connection is to close, although its client may send more.
enum ToClose {
    Draining,
    Idle,
}

fn builder(settings: ConnectionSettings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // We time this ourselves: hyper's timer starts while the end of the last response still waits for the socket.
        .header_read_timeout(None)
        // The most header fields of a request are hyper's own 100: with any other number it allocates its tables for each.
        .max_buf_size(settings.head_bytes.max(BUFFER_BYTES));
    builder
}

/// The body of a response. hyper drops it when it has the last chunk; from then on the blocked write keeps the connection from
/// being idle ([`super::write_timeout`]).
struct ResponseBody {
    body: Body,
    timeouts: Arc<IdleTimeouts>,
    accounting: Accounting,
    _activity: ActivityGuard,
}

/// How the chunks of a body count towards the memory in flight.
#[derive(Clone, Copy)]
enum Accounting {
    /// Each chunk is read for this client and counts.
    Itself,
    /// The body is in memory and was counted before.
    Already,
    /// `sendfile` sends it: only what is no placeholder is in memory.
    File,
}

impl ResponseBody {
    fn new(
        body: Body,
        queue: Option<&Arc<SendfileQueue>>,
        timeouts: Arc<IdleTimeouts>,
        activity: ActivityGuard,
    ) -> Self {
        let is_whole = matches!(body, Body::Empty | Body::Full(_));
        let (body, is_sent_as_file) = match queue {
            Some(queue) => queue.take(body),
            None => (body, false),
        };
        let accounting = match (is_sent_as_file, is_whole) {
            (true, _) => Accounting::File,
            (false, true) => Accounting::Already,
            (false, false) => Accounting::Itself,
        };
        Self { body, timeouts, accounting, _activity: activity }
    }
}

impl http_body::Body for ResponseBody {
    type Data = OutgoingChunk;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<OutgoingChunk>, BodyError>>> {
        let this = &mut *self;
        Pin::new(&mut this.body).poll_frame(cx).map_ok(|frame| {
            frame.map_data(|bytes| {
                let held = match this.accounting {
                    Accounting::Already => Some(this.timeouts.already_counted()),
                    Accounting::File if is_placeholder(&bytes) => None,
                    Accounting::Itself | Accounting::File => Some(this.timeouts.count(bytes.len() as u64)),
                };
                OutgoingChunk::new(bytes, held.map(HeldMemory::Own), None)
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
