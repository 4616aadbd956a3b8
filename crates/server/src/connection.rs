//! One connection of a client: TLS, HTTP/1.1 or HTTP/2, and the bounds of each.

mod linger;
mod patience;
mod sendfile;

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use registry_proxy_core::{Body, Config, Cx};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use self::linger::Lingering;
use self::patience::{Activity, Leaving, Streams};
use self::sendfile::{Lane, Socket};
use crate::incoming;
use crate::metrics::CONNECTIONS;
use crate::service::{Service, text};

/// A TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What is buffered for a client at the most, beyond one piece of a body.
const BUFFER_BYTES: usize = 128 << 10;
/// HTTP/2 windows: a megabyte a stream, four a connection (P-111).
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// What a connection may take.
#[derive(Clone, Copy)]
struct Bounds {
    head_bytes: usize,
    /// Idle, or without a whole head: not sooner than clients close theirs (P-123).
    idle: Duration,
    /// Taking nothing of what is there for it.
    stall: Duration,
}

impl Bounds {
    fn new(config: &Config) -> Self {
        Self {
            head_bytes: usize::try_from(config.limits.request_head.0).unwrap_or(usize::MAX),
            idle: config.timeouts.client_idle.0,
            stall: config.timeouts.client_stall.0,
        }
    }
}

/// Counted while it is open.
struct Open(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Open {
    fn new(place: OwnedSemaphorePermit) -> Self {
        metrics::gauge!(CONNECTIONS).increment(1.0);
        Self(place)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!(CONNECTIONS).decrement(1.0);
    }
}

/// Serves a client's connection.
pub(crate) async fn serve(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    service: Arc<Service>,
    drain: watch::Receiver<bool>,
) {
    let _open = Open::new(place);
    let peer = stream.peer_addr().ok().map(|address| address.ip().to_canonical());
    // Small answers go at once.
    let _ = stream.set_nodelay(true);
    let current = arc_swap::Guard::into_inner(service.reloadable.current());
    let bounds = Bounds::new(&current.config);
    let tls = current.tls.clone();
    drop(current);
    let socket = Socket::new(stream);
    let lane = tls.is_none().then(|| socket.lane());
    let mut stream = TimeoutStream::new(Lingering::new(socket));
    stream.set_write_timeout(Some(bounds.stall));
    let cx = Cx { peer, is_tls: tls.is_some(), id: 0 };
    match tls {
        None => speak(Box::pin(stream), lane, cx, bounds, service, drain).await,
        Some(tls) => {
            match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(Box::pin(stream))).await {
                Ok(Ok(stream)) => speak(stream, None, cx, bounds, service, drain).await,
                Ok(Err(error)) => tracing::debug!(?peer, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(?peer, "TLS handshake took too long"),
            }
        }
    }
}

async fn speak<S>(
    stream: S,
    lane: Option<Arc<Lane>>,
    cx: Cx,
    bounds: Bounds,
    service: Arc<Service>,
    drain: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head_bytes = bounds.head_bytes;
    let peer = cx.peer;
    let activity = Activity::new();
    let asked = Arc::clone(&activity);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, cx) = (Arc::clone(&service), cx.clone());
        let under_way = asked.begin();
        let lane = lane.clone().filter(|_| request.version() < Version::HTTP_2);
        async move {
            // HTTP/1 heads are bounded by the read buffer; HTTP/2's by its own setting.
            let (head, body) = request.into_parts();
            let size: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
            let response =
                if size + head.uri.path_and_query().map_or(0, |target| target.as_str().len()) > head_bytes {
                    text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request head too large\n")
                } else {
                    service.answer(Request::from_parts(head, incoming::body(body, ())), cx).await
                };
            Ok::<_, Infallible>(response.map(|body| {
                let body = match &lane {
                    Some(lane) => lane.take(body),
                    None => body,
                };
                Leaving::new(body, under_way)
            }))
        }
    });
    let connection = builder(bounds).serve_connection(TokioIo::new(stream), answer).into_owned();
    let end = attend(connection, auto::Connection::graceful_shutdown, &activity, bounds.idle, drain).await;
    if let Some(Err(error)) = end {
        // A client that leaves is its own affair (P-106).
        tracing::debug!(?peer, error, "connection ended");
    }
}

/// The connection's end. It is asked to close when we drain and when nothing has been asked on it for `idle`, also
/// before its first bytes say whether it is HTTP/1.1 or HTTP/2. `None` where it was asked, and stayed idle as long again.
async fn attend<C: Future>(
    connection: C,
    close: impl Fn(Pin<&mut C>),
    activity: &Activity,
    idle: Duration,
    mut drain: watch::Receiver<bool>,
) -> Option<C::Output> {
    let mut connection = pin!(connection);
    let (mut is_draining, mut is_closing) = (false, false);
    loop {
        tokio::select! {
            biased;
            end = connection.as_mut() => return Some(end),
            _ = drain.wait_for(|drains| *drains), if !is_draining => {
                is_draining = true;
                close(connection.as_mut());
            }
            () = activity.idle(idle) => {
                if is_closing {
                    return None;
                }
                is_closing = true;
                close(connection.as_mut());
            }
        }
    }
}

/// `/metrics` and nothing else.
pub(crate) async fn serve_metrics(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    service: Arc<Service>,
    drain: watch::Receiver<bool>,
) {
    let _place = place;
    let bounds = Bounds::new(&service.reloadable.current().config);
    let activity = Activity::new();
    let asked = Arc::clone(&activity);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, under_way) = (Arc::clone(&service), asked.begin());
        async move {
            let response: Response<Body> = match request.uri().path() {
                "/metrics" => service.render_metrics(),
                _ => text(StatusCode::NOT_FOUND, "only /metrics is here\n"),
            };
            Ok::<_, Infallible>(response.map(|body| Leaving::new(body, under_way)))
        }
    });
    let connection = builder(bounds).serve_connection(TokioIo::new(stream), answer).into_owned();
    let end = attend(connection, auto::Connection::graceful_shutdown, &activity, bounds.idle, drain).await;
    if let Some(Err(error)) = end {
        tracing::debug!(error, "metrics connection ended");
    }
}

fn builder(bounds: Bounds) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams { stall: bounds.stall });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.idle)
        .max_buf_size(bounds.head_bytes.max(BUFFER_BYTES))
        .max_headers(128);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(256)
        .max_send_buf_size(BUFFER_BYTES)
        .max_header_list_size(u32::try_from(bounds.head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_mins(1))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
