//! One client connection, from its first byte to its end: PROXY protocol, TLS, then HTTP/1.1 or HTTP/2.

mod context;
#[cfg(any(test, feature = "libfuzzer"))]
pub(crate) mod fuzzing;
mod handler;
mod http1;
mod http2;
mod idle_timeouts;
mod lingering_close;
mod outgoing_chunk;
mod protocol;
mod proxy_protocol;
mod request_head;
mod sendfile;
mod when_woken;
mod write_timeout;

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::Cx;
use registry_proxy_core::telemetry::CONNECTIONS;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use self::context::ConnectionContext;
use self::handler::{MetricsHandler, ProxyHandler, RequestHandler};
use self::lingering_close::LingeringClose;
use self::protocol::Protocol;
use self::proxy_protocol::{FirstBytes, ProxyHeader};
use self::sendfile::{SendfileQueue, Socket};
use self::write_timeout::WriteTimeout;
use crate::connection_limits::{ConnectionSlot, SlotStatus};
use crate::service::{Listener, Service};

/// Time limit of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Counts a connection while it is open.
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
    listener: Listener,
    service: Arc<Service>,
    mut drain: watch::Receiver<bool>,
) {
    let _open = OpenConnection::new();
    let peer = stream.peer_addr().ok().map(|address| address.ip().to_canonical());
    // Send small answers without delay.
    let _ = stream.set_nodelay(true);
    let current = arc_swap::Guard::into_inner(service.reloadable.current());
    let mut context = ConnectionContext::new(&current.config, current.proxy.in_flight(), slot.status(), peer);
    let (introduced, slot) =
        if current.config.proxy_protocol && peer.is_some_and(|peer| current.config.is_trusted(peer)) {
            let introduced = tokio::select! {
                biased;
                introduced = proxy_protocol::read_client(&mut stream, context.first_byte(), peer) => introduced,
                _ = drain.wait_for(|drains| *drains) => None,
            };
            match introduced {
                None => return,
                Some(ProxyHeader::Local) => (None, slot),
                // The limits per client also apply to clients behind a proxy.
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
    // One deadline for the first byte and the handshake.
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
    let handler = Arc::new(ProxyHandler {
        service,
        listener,
        cx,
        settings: context.settings,
        slot_status: slot.status(),
        slot,
    });
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

/// Detects the client's protocol and serves it to the end.
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
    // These futures are large: allocate one only when the protocol is known.
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
        // A client may leave at any time (P-106).
        tracing::debug!(error, "connection ended");
    }
}

/// `None`: no byte came in time, or the server is stopping.
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
        told = timeout(limit, protocol::detect(stream)) => told.ok()?.ok()?,
        _ = drain.wait_for(|drains| *drains) => None,
    }
}

#[cfg(test)]
mod tests;
