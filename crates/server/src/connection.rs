//! One connection of a client: TLS, HTTP/1.1 or HTTP/2, and the bounds of each.

mod head;
mod http1;
mod http2;
mod introduced;
mod linger;
mod patience;
mod piece;
mod protocol;
mod sendfile;
mod stall;

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use registry_proxy_core::body::InFlight;
use registry_proxy_core::config::LoggedClient;
use registry_proxy_core::{Body, Config, Cx};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use self::introduced::{Beginning, Introduced};
use self::linger::Lingering;
use self::patience::{Activity, Patience};
use self::protocol::Protocol;
use self::sendfile::{Lane, Socket};
use self::stall::Stalling;
use crate::metrics::CONNECTIONS;
use crate::places::{Full, Place, Standing};
use crate::service::{Service, text};

/// A TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What a connection may take of time that has one of the places for health: others want it.
const HEALTH: Duration = Duration::from_secs(2);

/// For the end of an HTTP/1.1 connection that was idle: longer than it lingers.
const CLOSING: Duration = Duration::from_secs(2);

/// What a connection may take.
#[derive(Clone, Copy)]
struct Bounds {
    head_bytes: usize,
    /// From its beginning to its first byte.
    first_byte: Duration,
    /// Idle, or without a whole head: not sooner than clients close theirs (P-123). See [`Side::idle`].
    idle: Duration,
    /// Until a request that found no place gets one.
    place: Duration,
    /// Bytes that wait for the socket of an HTTP/2 connection.
    for_socket: usize,
}

impl Bounds {
    fn new(config: &Config) -> Self {
        let in_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            head_bytes: in_usize(config.limits.request_head.0),
            first_byte: config.timeouts.client_first_byte.0.min(config.timeouts.client_idle.0),
            idle: config.timeouts.client_idle.0,
            place: config.timeouts.head.0,
            for_socket: in_usize(config.limits.in_flight_per_connection.0),
        }
    }
}

/// What either protocol is told of a connection.
struct Side {
    bounds: Bounds,
    patience: Arc<Patience>,
    standing: Arc<Standing>,
    /// Whose it is, as far as that may be written down.
    shown: Option<LoggedClient>,
}

impl Side {
    fn new(config: &Config, in_flight: &Arc<InFlight>, standing: Arc<Standing>, peer: Option<IpAddr>) -> Self {
        let patience = Patience::new(config.timeouts.client_stall.0, in_flight, Arc::clone(&standing));
        let shown = peer.and_then(|address| config.log.client.shown(address));
        Self { bounds: Bounds::new(config), patience, standing, shown }
    }

    /// How long it may be idle. As long as it has a place that others want, that is not long.
    fn idle(&self) -> Duration {
        self.in_its_place(self.bounds.idle)
    }

    fn first_byte(&self) -> Duration {
        self.in_its_place(self.bounds.first_byte)
    }

    fn in_its_place(&self, limit: Duration) -> Duration {
        if self.standing.is_ordinary() { limit } else { limit.min(HEALTH) }
    }
}

/// With an answer: its connection ends behind it, by `Connection: close` or GOAWAY.
#[derive(Clone)]
struct EndsConnection;

/// Who answers the requests of a connection. What answers one is large, so it lives apart, and goes when the answer begins.
trait Answers: Send + Sync {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'_, Response<Body>>;
}

/// The proxy, and the server's own paths.
struct Everything {
    service: Arc<Service>,
    cx: Cx,
    bounds: Bounds,
    standing: Arc<Standing>,
    place: Place,
}

impl Answers for Everything {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        let (head, body) = request.into_parts();
        if let Some(fault) = head::fault_of(&head, self.bounds.head_bytes) {
            return std::future::ready(fault.to_response()).boxed();
        }
        let request = Request::from_parts(head, body);
        if self.standing.is_ordinary() || Service::has_own(request.uri().path()) {
            return self.service.answer(request, self.cx.clone()).boxed();
        }
        async move {
            if let Err(Full) = self.place.become_ordinary(self.bounds.place).await {
                let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "limits.connections are all in use\n");
                response.extensions_mut().insert(EndsConnection);
                return response;
            }
            self.service.answer(request, self.cx.clone()).await
        }
        .boxed()
    }
}

/// `/metrics` and nothing else.
struct Metrics(Arc<Service>);

impl Answers for Metrics {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        let response = match request.uri().path() {
            "/metrics" => self.0.render_metrics(),
            _ => text(StatusCode::NOT_FOUND, "only /metrics is here\n"),
        };
        std::future::ready(response).boxed()
    }
}

/// Counted while it is open.
struct Open;

impl Open {
    fn new() -> Self {
        metrics::gauge!(CONNECTIONS).increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!(CONNECTIONS).decrement(1.0);
    }
}

/// Serves a client's connection.
pub(crate) async fn serve(
    mut stream: TcpStream,
    place: Place,
    service: Arc<Service>,
    mut drain: watch::Receiver<bool>,
) {
    let _open = Open::new();
    let peer = stream.peer_addr().ok().map(|address| address.ip().to_canonical());
    // Small answers go at once.
    let _ = stream.set_nodelay(true);
    let current = arc_swap::Guard::into_inner(service.reloadable.current());
    let mut side = Side::new(&current.config, current.proxy.in_flight(), place.standing(), peer);
    let (introduced, place) =
        if current.config.proxy_protocol && peer.is_some_and(|peer| current.config.is_trusted(peer)) {
            let introduced = tokio::select! {
                biased;
                introduced = introduced::take(&mut stream, side.first_byte(), peer) => introduced,
                _ = drain.wait_for(|drains| *drains) => None,
            };
            match introduced {
                None => return,
                Some(Introduced::Itself) => (None, place),
                // Nobody is served more by coming through a proxy, or believed more.
                Some(Introduced::Client(client)) => match place.of_client(client, &current.config) {
                    None => return,
                    Some(place) => (Some(client), place),
                },
            }
        } else {
            (None, place)
        };
    let tls = current.tls.clone();
    side.shown = introduced.or(peer).and_then(|address| current.config.log.client.shown(address));
    let shown = side.shown;
    drop(current);
    // One deadline, for its first byte and the handshake.
    let deadline = Instant::now() + HANDSHAKE.min(side.idle());
    if tls.is_some() {
        match introduced::peek(&stream, deadline, &mut drain).await {
            Beginning::Other => {}
            Beginning::Introduction => return introduced::warn_of_unexpected(shown),
            Beginning::Nothing => {
                return tracing::debug!(client = shown.map(display), "a connection for TLS ended without a byte");
            }
        }
    }
    let socket = Socket::new(stream, Arc::clone(&side.patience));
    let lane = tls.is_none().then(|| socket.lane());
    let stream = Stalling::new(Lingering::new(socket), Arc::clone(&side.patience));
    let cx = Cx { peer, introduced, is_tls: tls.is_some(), id: 0 };
    let answers = Arc::new(Everything { service, cx, bounds: side.bounds, standing: place.standing(), place });
    match tls {
        None => speak(stream, lane, answers, side, drain).await,
        Some(tls) => {
            let accepting = Box::pin(TlsAcceptor::from(tls).accept(stream));
            match timeout_at(deadline, accepting).await {
                Ok(Ok(stream)) => speak(stream, None, answers, side, drain).await,
                Ok(Err(error)) => {
                    tracing::debug!(client = shown.map(display), %error, "TLS handshake failed");
                }
                Err(_) => tracing::debug!(client = shown.map(display), "TLS handshake took too long"),
            }
        }
    }
}

/// Serves `/metrics` on an address of its own.
pub(crate) async fn serve_metrics(
    stream: TcpStream,
    place: Place,
    service: Arc<Service>,
    drain: watch::Receiver<bool>,
) {
    let _place = place;
    let current = arc_swap::Guard::into_inner(service.reloadable.current());
    let peer = stream.peer_addr().ok().map(|address| address.ip().to_canonical());
    let side = Side::new(&current.config, current.proxy.in_flight(), Standing::ordinary(), peer);
    drop(current);
    let stream =
        Stalling::new(Lingering::new(Socket::new(stream, Arc::clone(&side.patience))), Arc::clone(&side.patience));
    speak(stream, None, Arc::new(Metrics(service)), side, drain).await;
}

/// Finds out which protocol the client speaks, and speaks it to the end.
async fn speak<S>(
    stream: S,
    lane: Option<Arc<Lane>>,
    answers: Arc<dyn Answers>,
    side: Side,
    drain: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some((protocol, mut stream)) = first_byte(stream, side.first_byte(), drain.clone()).await else { return };
    // Each is large: what has said nothing yet takes no room for them.
    let ended: Result<(), Box<dyn std::error::Error + Send + Sync>> = match protocol {
        Protocol::Http1 => Box::pin(http1::serve(stream, lane, answers, side, drain)).await.map_err(Into::into),
        Protocol::Http2 => Box::pin(http2::serve(stream, answers, side, drain)).await.map_err(Into::into),
        Protocol::Introduction => {
            introduced::warn_of_unexpected(side.shown);
            stream.write_all(introduced::REFUSAL.as_bytes()).await.and(stream.shutdown().await).map_err(Into::into)
        }
    };
    if let Err(error) = ended {
        // A client that leaves is its own affair (P-106).
        tracing::debug!(error, "connection ended");
    }
}

/// `None`: nothing came in time, or before we were told to stop.
async fn first_byte<S>(
    stream: S,
    limit: Duration,
    mut drain: watch::Receiver<bool>,
) -> Option<(Protocol, protocol::Rewound<S>)>
where
    S: AsyncRead + Unpin,
{
    tokio::select! {
        biased;
        told = timeout(limit, protocol::tell(stream)) => told.ok()?.ok()?,
        _ = drain.wait_for(|drains| *drains) => None,
    }
}

/// The connection's end. It is asked to close when we drain and when nothing has been asked on it for as long as it may be
/// `idle`. `None` where it was asked that and did not end: what comes of it is no whole request.
async fn attend<C: Future>(
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
        tokio::select! {
            biased;
            end = connection.as_mut() => return Some(end),
            _ = drain.wait_for(|drains| *drains), if !is_draining => {
                is_draining = true;
                close(connection.as_mut());
            }
            () = activity.idle(limit) => {
                if is_closing {
                    return None;
                }
                is_closing = true;
                close(connection.as_mut());
            }
        }
    }
}

#[cfg(test)]
mod tests;
