//! Connects to upstreams, directly or through the configured egress proxy, within one deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use registry_proxy_core::config::{ConfigError, UpstreamConfig};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use super::address_guard::{Admits, Resolver};
use super::tunnel::{self, ProxyError};
use crate::egress::{EgressRoutes, is_forwarded};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Makes the TCP connection below TLS.
#[derive(Clone)]
pub(crate) struct Dialer {
    direct: HttpConnector<Resolver>,
    /// Connects to the egress proxy, which is configured and may have a private address.
    to_proxy: HttpsConnector<HttpConnector<Resolver>>,
    to_socks: HttpConnector<Resolver>,
    routes: Arc<EgressRoutes>,
    /// Limits connections, including idle ones and those about to close.
    places: Option<Arc<Semaphore>>,
}

impl Dialer {
    pub(crate) fn new(
        upstream: &UpstreamConfig,
        admits: Admits,
        places: Option<Arc<Semaphore>>,
        connect: Duration,
    ) -> Result<Self, ConfigError> {
        let mut plain = HttpConnector::new_with_resolver(Resolver::new(Admits::Everything, &upstream.name));
        plain.enforce_http(false);
        plain.set_nodelay(true);
        let to_proxy = (plain.clone(), crate::tls::client(upstream, false)?).into();
        let direct = direct(upstream, admits, connect);
        let routes = EgressRoutes::new(upstream.proxy.as_ref()).into();
        Ok(Self { direct, to_proxy, to_socks: plain, routes, places })
    }

    /// The same for other addresses.
    pub(super) fn admitting(&self, upstream: &UpstreamConfig, admits: Admits, connect: Duration) -> Self {
        Self { direct: direct(upstream, admits, connect), ..self.clone() }
    }

    /// If the request is forwarded to a proxy, adds the proxy's credentials and `Connection: close`: tinyproxy closes the
    /// connection after each response without saying so, and the next request on it would fail.
    pub(crate) fn add_proxy_headers(&self, uri: &Uri, headers: &mut HeaderMap) {
        if let Some(proxy) = self.routes.proxy_to(uri).filter(|proxy| is_forwarded(uri, proxy)) {
            headers.extend(proxy.basic_auth().map(|login| (PROXY_AUTHORIZATION, login.clone())));
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// The error, if this response is not the upstream's but an error of the proxy that the request was forwarded to.
    pub(crate) fn proxy_error(&self, uri: &Uri, status: StatusCode, headers: &HeaderMap) -> Option<ProxyError> {
        if !tunnel::is_of_proxy(status, headers) {
            return None;
        }
        let proxy = self.routes.proxy_to(uri).filter(|proxy| is_forwarded(uri, proxy))?;
        let proxy = with_port(proxy.uri().clone()).ok()?.authority()?.as_str().into();
        let to = format!("a request for {}", uri.host().unwrap_or_default()).into();
        Some(ProxyError::Refused { proxy, status, to })
    }
}

fn direct(upstream: &UpstreamConfig, admits: Admits, connect: Duration) -> HttpConnector<Resolver> {
    let mut direct = HttpConnector::new_with_resolver(Resolver::new(admits, &upstream.name));
    direct.enforce_http(false);
    direct.set_nodelay(true);
    direct.set_connect_timeout(Some(connect));
    direct.set_keepalive(Some(Duration::from_mins(1)));
    direct
}

impl Service<Uri> for Dialer {
    type Response = Dialled;
    type Error = BoxError;
    type Future = Connecting<Dialled>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mut this = self.clone();
        Box::pin(async move {
            let place = match &this.places {
                Some(places) => Some(Arc::clone(places).acquire_owned().await?),
                None => None,
            };
            let wire = match this.routes.proxy_to(&uri) {
                None => Wire::Direct(this.direct.call(uri).await?),
                Some(proxy) => this.through(&proxy, with_port(uri)?).await?,
            };
            Ok(Dialled { wire, _place: place })
        })
    }
}

impl Dialer {
    async fn through(self, proxy: &Intercept, uri: Uri) -> Result<Wire, BoxError> {
        let is_forwarded = is_forwarded(&uri, proxy);
        let target = with_port(uri)?;
        let address = with_port(proxy.uri().clone())?;
        let name = address.authority().map(ToString::to_string).unwrap_or_default();
        if matches!(address.scheme_str(), Some("socks5" | "socks5h")) {
            // The proxy resolves names, also for socks5://, since resolving them here would block the thread.
            let mut socks = SocksV5::new(address, self.to_socks).local_dns(false);
            if let Some((username, password)) = proxy.raw_auth() {
                socks = socks.with_auth(username.to_owned(), password.to_owned());
            }
            let stream = socks.call(target).await.map_err(|error| ProxyError::broken(&name, error))?;
            return Ok(Wire::Through(Box::new(stream)));
        }
        let mut to_proxy = self.to_proxy;
        let stream = to_proxy.call(address).await.map_err(|error| ProxyError::broken(&name, error))?;
        if is_forwarded {
            return Ok(Wire::Forwarded(Box::new(stream)));
        }
        let mut stream = TokioIo::new(stream);
        let target = target.authority().map(ToString::to_string).unwrap_or_default();
        tunnel::open(&mut stream, &name, &target, proxy.basic_auth()).await?;
        Ok(Wire::Through(Box::new(stream.into_inner())))
    }
}

/// Adds the scheme's default port if there is none: for a proxy it would be 443.
fn with_port(uri: Uri) -> Result<Uri, BoxError> {
    if uri.port().is_some() {
        return Ok(uri);
    }
    let port = match uri.scheme_str() {
        Some("http") => 80,
        Some("socks5" | "socks5h") => 1080,
        _ => 443,
    };
    let mut parts = uri.into_parts();
    let authority = parts.authority.as_ref().map(ToString::to_string).unwrap_or_default();
    parts.authority = Some(format!("{authority}:{port}").parse()?);
    Ok(Uri::from_parts(parts)?)
}

/// A connection and its permit.
pub(crate) struct Dialled {
    wire: Wire,
    _place: Option<OwnedSemaphorePermit>,
}

/// The stream. The direct one is not boxed, for speed.
enum Wire {
    Direct(TokioIo<TcpStream>),
    /// Through a tunnel of the proxy.
    Through(Box<dyn Transit>),
    /// To a proxy that forwards requests.
    Forwarded(Box<dyn Transit>),
}

/// A stream through a proxy.
trait Transit: Read + Write + Unpin + Send {}

impl<T: Read + Write + Unpin + Send> Transit for T {}

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        match &self.wire {
            Wire::Direct(stream) => stream.connected(),
            Wire::Through(_) => Connected::new(),
            Wire::Forwarded(_) => Connected::new().proxy(true),
        }
    }
}

impl Read for Dialled {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Direct(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Through(stream) | Wire::Forwarded(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl Write for Dialled {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Direct(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Through(stream) | Wire::Forwarded(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Direct(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Through(stream) | Wire::Forwarded(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Direct(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Through(stream) | Wire::Forwarded(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Direct(stream) => stream.is_write_vectored(),
            Wire::Through(stream) | Wire::Forwarded(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Direct(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Wire::Through(stream) | Wire::Forwarded(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}

/// No connection within `timeouts.connect`.
#[derive(Debug, thiserror::Error)]
#[error("timeouts.connect passed")]
pub(crate) struct ConnectTimedOut;

/// A connector with one deadline for everything: DNS, TCP, egress proxy and TLS.
#[derive(Clone)]
pub(crate) struct ConnectTimeout<C> {
    inner: C,
    limit: Duration,
}

impl<C> ConnectTimeout<C> {
    pub(crate) fn new(inner: C, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<C> Service<Uri> for ConnectTimeout<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Response: 'static,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Connecting<C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(ConnectTimedOut.into()),
            }
        })
    }
}
