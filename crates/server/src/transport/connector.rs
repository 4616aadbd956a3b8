//! Makes connections to the hosts of one upstream: which dialer and which TLS settings lead there, and which HTTP is spoken.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use registry_proxy_core::Body;
use registry_proxy_core::config::{ConfigError, UpstreamConfig};
use registry_proxy_core::platform::Reach;
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tower_service::Service as _;

use super::address_guard::Admits;
use super::dial::{ConnectTimeout, Dialer};
use super::http1::Http1;
use super::width::ReadWidth;

/// Between two signs of life of a connection over HTTP/2, and how long the server may take for one. So a connection that was
/// dropped silently is not used again.
const HTTP2_PING: Duration = Duration::from_secs(15);
const HTTP2_PONG: Duration = Duration::from_secs(5);

/// What a connection is for: requests share one only if all of this is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lane {
    /// Which addresses it may lead to.
    pub(super) reach: Reach,
    /// Whether HTTP/2 is offered.
    pub(super) offers_http2: bool,
    pub(super) width: ReadWidth,
}

/// A connection that was made.
pub(super) enum Opened {
    /// For one request at a time.
    Http1(Box<Http1>),
    /// For many.
    Http2(SendRequest<Body>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpened {
    /// Name resolution, TCP, TLS or an egress proxy failed.
    #[error("not connected")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There was one, and it broke before it took a request.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
}

/// How the hosts of an upstream are reached. Nothing is connected before the first request.
#[derive(Clone)]
pub(super) struct Connector {
    everywhere: Dialer,
    public_only: Dialer,
    /// TLS to its own addresses; with HTTP/2 offered.
    own_tls: Arc<ClientConfig>,
    own_tls_http2: Arc<ClientConfig>,
    /// TLS to targets of its redirects.
    other_tls: Arc<ClientConfig>,
    limit: Duration,
}

impl Connector {
    /// `places`: for how many connections there is room; `limit`: how long connecting may take in all.
    pub(super) fn new(
        upstream: &UpstreamConfig,
        places: Option<Arc<Semaphore>>,
        limit: Duration,
    ) -> Result<Self, ConfigError> {
        let own_tls = crate::tls::client(upstream, true)?;
        let mut http2 = ClientConfig::clone(&own_tls);
        http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let everywhere = Dialer::new(upstream, Admits::Everything, places, limit)?;
        Ok(Self {
            public_only: everywhere.admitting(upstream, Admits::PublicOnly, limit),
            everywhere,
            own_tls,
            own_tls_http2: Arc::new(http2),
            other_tls: crate::tls::client(upstream, false)?,
            limit,
        })
    }

    /// The egress routes, the same for all lanes.
    pub(super) fn routes(&self) -> &Dialer {
        &self.everywhere
    }

    /// Connects to the host of `uri`.
    pub(super) async fn open(self, lane: Lane, uri: Uri) -> Result<Opened, NotOpened> {
        let (dialer, tls) = match (lane.reach, lane.offers_http2) {
            (Reach::Configured, true) => (self.everywhere, self.own_tls_http2),
            (Reach::Configured, false) => (self.everywhere, self.own_tls),
            (Reach::Public, _) => (self.public_only, self.other_tls),
            (Reach::Trusted, _) => (self.everywhere, self.other_tls),
        };
        let mut connecting = ConnectTimeout::new(HttpsConnector::from((dialer, tls)), self.limit);
        let stream = connecting.call(uri).await.map_err(NotOpened::Connect)?;
        if !stream.connected().is_negotiated_h2() {
            return Http1::begin(stream, lane.width).await.map(Opened::Http1).map_err(NotOpened::Broken);
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(HTTP2_PING).keep_alive_timeout(HTTP2_PONG);
        let (mut sender, connection) = builder.handshake(stream).await.map_err(NotOpened::Broken)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection over HTTP/2 ended");
            }
        });
        sender.ready().await.map_err(NotOpened::Broken)?;
        Ok(Opened::Http2(sender))
    }
}
