//! Connecting: directly, or through the proxy that configuration or environment name; all within one deadline.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use registry_proxy_core::config::{ConfigError, Upstream};
use tokio::net::TcpStream;
use tower_service::Service;

use super::guard::{Guard, Resolver};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Makes the connection below TLS.
#[derive(Clone)]
pub(crate) struct Dialer {
    direct: HttpConnector<Resolver>,
    /// To the egress proxy itself: it is configured, so no guard stands before it.
    to_proxy: HttpsConnector<HttpConnector>,
    proxies: std::sync::Arc<Matcher>,
}

impl Dialer {
    pub(crate) fn new(upstream: &Upstream, guard: Option<Guard>, connect: Duration) -> Result<Self, ConfigError> {
        let mut direct = HttpConnector::new_with_resolver(Resolver(guard));
        direct.enforce_http(false);
        direct.set_nodelay(true);
        direct.set_connect_timeout(Some(connect));
        direct.set_keepalive(Some(Duration::from_secs(60)));
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_nodelay(true);
        let to_proxy = HttpsConnectorBuilder::new()
            .with_tls_config(crate::tls::client(upstream, false)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        let proxies = match &upstream.proxy {
            Some(url) => Matcher::builder().all(url.as_str().trim_end_matches('/').to_owned()).build(),
            None => Matcher::from_env(),
        };
        Ok(Self { direct, to_proxy, proxies: proxies.into() })
    }
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
            match this.proxies.intercept(&uri) {
                None => Ok(Dialled::Direct(this.direct.call(uri).await?)),
                Some(proxy) => this.through(&proxy, uri).await,
            }
        })
    }
}

impl Dialer {
    async fn through(self, proxy: &Intercept, uri: Uri) -> Result<Dialled, BoxError> {
        let address = proxy.uri().clone();
        if matches!(address.scheme_str(), Some("socks5" | "socks5h")) {
            let is_local_dns = address.scheme_str() == Some("socks5");
            let mut socks = SocksV5::new(address, self.to_proxy).local_dns(is_local_dns);
            if let Some((username, password)) = proxy.raw_auth() {
                socks = socks.with_auth(username.to_owned(), password.to_owned());
            }
            return Ok(Dialled::Through(Box::new(socks.call(uri).await?)));
        }
        let mut tunnel = Tunnel::new(address, self.to_proxy);
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        Ok(Dialled::Through(Box::new(tunnel.call(uri).await?)))
    }
}

/// A connection, as it was made. The direct one is not boxed: all bytes pass through it.
pub(crate) enum Dialled {
    Direct(TokioIo<TcpStream>),
    Through(Box<dyn Wire>),
}

/// What a connection through a proxy can do.
pub(crate) trait Wire: Read + Write + Unpin + Send {}

impl<T: Read + Write + Unpin + Send> Wire for T {}

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        match self {
            Self::Direct(stream) => stream.connected(),
            Self::Through(_) => Connected::new(),
        }
    }
}

impl Read for Dialled {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Through(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl Write for Dialled {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Through(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_flush(cx),
            Self::Through(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Through(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Direct(stream) => stream.is_write_vectored(),
            Self::Through(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Through(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}

/// A connector with a deadline over all it does: name, TCP, egress proxy and TLS.
#[derive(Clone)]
pub(crate) struct InTime<C> {
    inner: C,
    limit: Duration,
}

impl<C> InTime<C> {
    pub(crate) fn new(inner: C, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<C> Service<Uri> for InTime<C>
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
                Err(_) => Err("timeouts.connect passed".into()),
            }
        })
    }
}
