//! HTTP/2: many responses at once, each read only as far as the client's window is open.
//!
//! hyper reads a chunk of a body before it knows whether the client has room for it: 256 streams that nobody reads are 256
//! chunks in memory. So this module uses `h2` directly, whose streams tell how much may be sent.

mod keep_alive;
mod stream;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

use self::keep_alive::KeepAlive;
use self::stream::Shared;
use super::context::{ConnectionContext, ConnectionSettings};
use super::handler::RequestHandler;
use super::outgoing_chunk::OutgoingChunk;

/// Concurrent streams of one connection: the minimum that RFC 9113 section 6.5.2 recommends. Clients hold back further
/// requests.
const STREAMS: u32 = 100;
/// Flow-control windows for uploads: 1 MiB a stream, 4 MiB a connection (P-111).
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes that one stream may have queued for the socket.
const STREAM_BUFFER: usize = 128 << 10;

/// Serves the connection until it closes.
pub(super) async fn serve<S>(
    stream: S,
    handler: Arc<dyn RequestHandler>,
    context: ConnectionContext,
    mut drain: watch::Receiver<bool>,
) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(done) = timeout(context.idle(), builder(context.settings).handshake::<_, OutgoingChunk>(stream)).await
    else {
        return Ok(());
    };
    let mut connection = done?;
    let mut keep_alive = KeepAlive::new(connection.ping_pong());
    let shared = Arc::new(Shared {
        handler,
        timeouts: Arc::clone(&context.timeouts),
        over: Notify::new(),
        socket: Arc::new(Semaphore::new(context.settings.socket_bytes)),
        hand: Arc::new(Semaphore::new(1)),
    });
    let (mut is_draining, mut is_closing) = (false, false);
    loop {
        tokio::select! {
            biased;
            accepted = connection.accept() => match accepted {
                Some(asked) => {
                    let (request, respond) = asked?;
                    stream::spawn(request, respond, Arc::clone(&shared));
                }
                None => return Ok(()),
            },
            () = keep_alive.stopped() => {
                tracing::debug!("a client does not answer pings on its connection");
                return Ok(());
            }
            _ = drain.wait_for(|drains| *drains), if !is_draining => {
                is_draining = true;
                connection.graceful_shutdown();
            }
            () = shared.over.notified(), if !is_closing => {
                is_closing = true;
                connection.graceful_shutdown();
            }
            () = context.timeouts.activity().idle(|| context.idle()) => {
                if is_closing {
                    return Ok(());
                }
                is_closing = true;
                connection.graceful_shutdown();
            }
        }
    }
}

fn builder(settings: ConnectionSettings) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_send_buffer_size(STREAM_BUFFER)
        .max_header_list_size(u32::try_from(settings.head_bytes).unwrap_or(u32::MAX));
    builder
}
