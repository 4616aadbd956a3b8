//! A relay that does nothing else: no cache, no log, no check of what it relays. Its figures are the limit of what a
//! relay with hyper can reach, and what ours costs beyond them is our own.
//!
//! A runtime with one thread for each core, each of which accepts for itself (`SO_REUSEPORT`) and has its own idle
//! connections to the upstream. A request polls the connection that it uses, so that no task is woken for it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::header::{CONNECTION, HOST};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use registry_proxy_musl_memory as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// As the measured program's: that of musl is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;
type Connection = Pin<Box<client::Connection<TokioIo<TcpStream>, Empty<Bytes>>>>;

/// A connection to the upstream.
struct Link {
    sender: client::SendRequest<Empty<Bytes>>,
    connection: Connection,
}

thread_local! {
    /// As many as this thread's clients ever used at once.
    static IDLE: RefCell<Vec<Link>> = const { RefCell::new(Vec::new()) };
}

fn main() -> Result<()> {
    let addresses: Vec<SocketAddr> =
        std::env::args().skip(1).map(|address| address.parse()).collect::<std::result::Result<_, _>>()?;
    let [listen, upstream] = addresses[..] else {
        return Err("usage: registry-proxy-bare-relay LISTEN UPSTREAM".into());
    };
    let threads: Vec<_> = (0..std::thread::available_parallelism()?.get())
        .map(|_| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(serve(listen, upstream))
            })
        })
        .collect();
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| Error::from("a thread panicked"))?)
}

async fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(listen)?;
    let listener: TcpListener = socket.listen(1024)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let relayed = service_fn(move |request: Request<Incoming>| relay(request, upstream));
        let serving = server::Builder::new().serve_connection(TokioIo::new(stream), relayed);
        // A client that leaves is no failure.
        tokio::spawn(async move { drop(serving.await) });
    }
}

async fn relay(request: Request<Incoming>, upstream: SocketAddr) -> Result<Response<Full<Bytes>>> {
    // The upstream may just have closed an idle connection; a new one it has not.
    while let Some(link) = IDLE.with_borrow_mut(Vec::pop) {
        if let Ok(response) = ask(link, &request, upstream).await {
            return Ok(response);
        }
    }
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    ask(Link { sender, connection: Box::pin(connection) }, &request, upstream).await
}

async fn ask(mut link: Link, request: &Request<Incoming>, upstream: SocketAddr) -> Result<Response<Full<Bytes>>> {
    let path = request.uri().path();
    let asked = Request::get(path).header(HOST, upstream.to_string()).body(Empty::new())?;
    let connection = &mut link.connection;
    polling(connection, link.sender.ready()).await??;
    let response = polling(connection, link.sender.send_request(asked)).await??;
    let (mut parts, body) = response.into_parts();
    let body = polling(connection, body.collect()).await??.to_bytes();
    parts.headers.remove(CONNECTION);
    IDLE.with_borrow_mut(|idle| idle.push(link));
    Ok(Response::from_parts(parts, Full::new(body)))
}

/// Polls the connection until what is waited for is there.
async fn polling<T>(connection: &mut Connection, wanted: impl Future<Output = T>) -> Result<T> {
    let mut wanted = pin!(wanted);
    poll_fn(|context| {
        if let Poll::Ready(output) = wanted.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        let ended = connection.as_mut().poll(context);
        match (wanted.as_mut().poll(context), ended) {
            (Poll::Ready(output), _) => Poll::Ready(Ok(output)),
            (Poll::Pending, Poll::Ready(_)) => Poll::Ready(Err("the upstream closed the connection".into())),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
        }
    })
    .await
}
