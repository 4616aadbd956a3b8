//! An HTTP/1.1 server of the tests' own, which ends when it is dropped.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::{Failure, Outcome};

/// A body that may be a stream; its errors end the connection early.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// What a server does with a request. A failure becomes a 500 with its message.
pub trait Handler: Send + Sync + 'static {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>>;
}

/// A listening server.
pub struct Server {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    /// Listens on a free port of a loopback address.
    pub fn start(address: IpAddr, handler: Arc<impl Handler>) -> Outcome<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((address, 0)))?;
        let address = listener.local_addr()?;
        runtime.spawn(accept(listener, handler));
        Ok(Self { address, runtime: Some(runtime) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for a connection that a client keeps open could take for ever.
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, handler: Arc<impl Handler>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without it the system may be no worse than slow.
        let _ = stream.set_nodelay(true);
        let handler = Arc::clone(&handler);
        let service = service_fn(move |request| answer(Arc::clone(&handler), request));
        tokio::spawn(async move {
            // A client that goes away is no concern of a fixture.
            let _ =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(handler: Arc<impl Handler>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let reply = handler.handle(request).await;
    Ok(reply.unwrap_or_else(|failure| {
        let mut response = Response::new(full(format!("{failure:?}")));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

/// A short text as answer.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

impl From<Failure> for std::io::Error {
    fn from(failure: Failure) -> Self {
        Self::other(format!("{failure:?}"))
    }
}

/// A connector for fixtures that pass on what they get: each piece goes at once.
pub fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}
