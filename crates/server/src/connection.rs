//! One connection of a client: TLS, HTTP/1.1 or HTTP/2, and the bounds of each.

mod http1;
mod http2;
mod idle_timeouts;
mod lingering_close;
mod outgoing_chunk;
mod protocol;
mod proxy_protocol;
mod request_head;
mod sendfile;
mod write_timeout;

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

use self::idle_timeouts::{Activity, IdleTimeouts};
use self::lingering_close::LingeringClose;
use self::protocol::Protocol;
use self::proxy_protocol::{FirstBytes, ProxyHeader};
use self::sendfile::{SendfileQueue, Socket};
use self::write_timeout::WriteTimeout;
use crate::connection_limits::{ConnectionSlot, NoFreeSlot, SlotStatus};
use crate::metrics::CONNECTIONS;
use crate::service::{Service, text};

/// A TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What a connection may take of time that has one of the places for health: others want it.
const HEALTH: Duration = Duration::from_secs(2);

/// For the end of an HTTP/1.1 connection that was idle: longer than it lingers.
const CLOSING: Duration = Duration::from_secs(2);

/// What a connection may take.
#[derive(Clone, Copy)]
struct ConnectionSettings {
    head_bytes: usize,
    /// From its beginning to its first byte.
    first_byte: Duration,
    /// Idle, or without a whole head: not sooner than clients close theirs (P-123). See [`ConnectionContext::idle`].
    idle: Duration,
    /// Until a request that found no place gets one.
    slot_wait: Duration,
    /// Bytes that wait for the socket of an HTTP/2 connection.
    for_socket: usize,
}

impl ConnectionSettings {
    fn new(config: &Config) -> Self {
        let in_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            head_bytes: in_usize(config.limits.request_head.0),
            first_byte: config.timeouts.client_first_byte.0.min(config.timeouts.client_idle.0),
            idle: config.timeouts.client_idle.0,
            slot_wait: config.timeouts.head.0,
            for_socket: in_usize(config.limits.in_flight_per_connection.0),
        }
    }
}

/// What either protocol is told of a connection.
struct ConnectionContext {
    settings: ConnectionSettings,
    timeouts: Arc<IdleTimeouts>,
    slot_status: Arc<SlotStatus>,
    /// Whose it is, as far as that may be written down.
    shown: Option<LoggedClient>,
}

impl ConnectionContext {
    fn new(
        config: &Config,
        in_flight: &Arc<InFlight>,
        slot_status: Arc<SlotStatus>,
        peer: Option<IpAddr>,
    ) -> Self {
        let timeouts = IdleTimeouts::new(config.timeouts.client_stall.0, in_flight, Arc::clone(&slot_status));
        let shown = peer.and_then(|address| config.log.client.shown(address));
        Self { settings: ConnectionSettings::new(config), timeouts, slot_status, shown }
    }

    /// How long it may be idle. As long as it has a place that others want, that is not long.
    fn idle(&self) -> Duration {
        self.in_its_place(self.settings.idle)
    }

    fn first_byte(&self) -> Duration {
        self.in_its_place(self.settings.first_byte)
    }

    fn in_its_place(&self, limit: Duration) -> Duration {
        if self.slot_status.is_ordinary() { limit } else { limit.min(HEALTH) }
    }
}

/// With an answer: its connection ends behind it, by `Connection: close` or GOAWAY.
#[derive(Clone)]
struct CloseConnection;

/// Who answers the requests of a connection. What answers one is large, so it lives apart, and goes when the answer begins.
trait RequestHandler: Send + Sync {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'_, Response<Body>>;
}

/// The proxy, and the server's own paths.
struct ProxyHandler {
    service: Arc<Service>,
    cx: Cx,
    settings: ConnectionSettings,
    slot_status: Arc<SlotStatus>,
    slot: ConnectionSlot,
}

impl RequestHandler for ProxyHandler {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        let (head, body) = request.into_parts();
        if let Some(error) = request_head::check(&head, self.settings.head_bytes) {
            return std::future::ready(error.to_response()).boxed();
        }
        let request = Request::from_parts(head, body);
        if self.slot_status.is_ordinary() || Service::has_own(request.uri().path()) {
            return self.service.answer(request, self.cx.clone()).boxed();
        }
        async move {
            if let Err(NoFreeSlot) = self.slot.become_ordinary(self.settings.slot_wait).await {
                let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "limits.connections are all in use\n");
                response.extensions_mut().insert(CloseConnection);
                return response;
            }
            self.service.answer(request, self.cx.clone()).await
        }
        .boxed()
    }
}

/// `/metrics` and nothing else.
struct MetricsHandler(Arc<Service>);

impl RequestHandler for MetricsHandler {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        let response = match request.uri().path() {
            "/metrics" => self.0.render_metrics(),
            _ => text(StatusCode::NOT_FOUND, "only /metrics is here\n"),
        };
        std::future::ready(response).boxed()
    }
}

/// Counted while it is open.
struct OpenConnection;

impl OpenConnection {
    fn new() -> Self {
        metrics::gauge!(CONNECTIONS).increment(1.0);
        Self
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        metrics::gauge!(CONNECTIONS).decrement(1.0);
    }
}

/// Serves a client's connection.
pub(crate) async fn serve(
    mut stream: TcpStream,
    slot: ConnectionSlot,
    service: Arc<Service>,
    mut drain: watch::Receiver<bool>,
) {
    let _open = OpenConnection::new();
    let peer = stream.peer_addr().ok().map(|address| address.ip().to_canonical());
    // Small answers go at once.
    let _ = stream.set_nodelay(true);
    let current = arc_swap::Guard::into_inner(service.reloadable.current());
    let mut context = ConnectionContext::new(&current.config, current.proxy.in_flight(), slot.status(), peer);
    let (introduced, slot) =
        if current.config.proxy_protocol && peer.is_some_and(|peer| current.config.is_trusted(peer)) {
            let introduced = tokio::select! {
                biased;
                introduced = proxy_protocol::take(&mut stream, context.first_byte(), peer) => introduced,
                _ = drain.wait_for(|drains| *drains) => None,
            };
            match introduced {
                None => return,
                Some(ProxyHeader::Local) => (None, slot),
                // Nobody is served more by coming through a proxy, or believed more.
                Some(ProxyHeader::Client(client)) => match slot.of_client(client, &current.config) {
                    None => return,
                    Some(slot) => (Some(client), slot),
                },
            }
        } else {
            (None, slot)
        };
    let tls = current.tls.clone();
    context.shown = introduced.or(peer).and_then(|address| current.config.log.client.shown(address));
    let shown = context.shown;
    drop(current);
    // One deadline, for its first byte and the handshake.
    let deadline = Instant::now() + HANDSHAKE.min(context.idle());
    if tls.is_some() {
        match proxy_protocol::peek(&stream, deadline, &mut drain).await {
            FirstBytes::Other => {}
            FirstBytes::ProxyHeader => return proxy_protocol::warn_of_unexpected(shown),
            FirstBytes::Nothing => {
                return tracing::debug!(client = shown.map(display), "a connection for TLS ended without a byte");
            }
        }
    }
    let socket = Socket::new(stream, Arc::clone(&context.timeouts));
    let queue = tls.is_none().then(|| socket.queue());
    let stream = WriteTimeout::new(LingeringClose::new(socket), Arc::clone(&context.timeouts));
    let cx = Cx { peer, introduced, is_tls: tls.is_some(), id: 0 };
    let handler =
        Arc::new(ProxyHandler { service, cx, settings: context.settings, slot_status: slot.status(), slot });
    match tls {
        None => speak(stream, queue, handler, context, drain).await,
        Some(tls) => {
            let accepting = Box::pin(TlsAcceptor::from(tls).accept(stream));
            match timeout_at(deadline, accepting).await {
                Ok(Ok(stream)) => speak(stream, None, handler, context, drain).await,
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
    slot: ConnectionSlot,
    service: Arc<Service>,
    drain: watch::Receiver<bool>,
) {
    let _slot = slot;
    let current = arc_swap::Guard::into_inner(service.reloadable.current());
    let peer = stream.peer_addr().ok().map(|address| address.ip().to_canonical());
    let context = ConnectionContext::new(&current.config, current.proxy.in_flight(), SlotStatus::ordinary(), peer);
    drop(current);
    let stream = WriteTimeout::new(
        LingeringClose::new(Socket::new(stream, Arc::clone(&context.timeouts))),
        Arc::clone(&context.timeouts),
    );
    speak(stream, None, Arc::new(MetricsHandler(service)), context, drain).await;
}

/// Finds out which protocol the client speaks, and speaks it to the end.
async fn speak<S>(
    stream: S,
    queue: Option<Arc<SendfileQueue>>,
    handler: Arc<dyn RequestHandler>,
    context: ConnectionContext,
    drain: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some((protocol, mut stream)) = first_byte(stream, context.first_byte(), drain.clone()).await else {
        return;
    };
    // Each is large: what has said nothing yet takes no room for them.
    let ended: Result<(), Box<dyn std::error::Error + Send + Sync>> = match protocol {
        Protocol::Http1 => {
            Box::pin(http1::serve(stream, queue, handler, context, drain)).await.map_err(Into::into)
        }
        Protocol::Http2 => Box::pin(http2::serve(stream, handler, context, drain)).await.map_err(Into::into),
        Protocol::ProxyHeader => {
            proxy_protocol::warn_of_unexpected(context.shown);
            stream
                .write_all(proxy_protocol::REFUSAL.as_bytes())
                .await
                .and(stream.shutdown().await)
                .map_err(Into::into)
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
) -> Option<(Protocol, protocol::Rewind<S>)>
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
