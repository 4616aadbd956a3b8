//! Requests to upstreams: hyper's connections behind the core's `Transport`, with a pool of them for each worker and upstream.
//!
//! Blobs use HTTP/1.1, so that no HTTP/2 window slows them down; manifests and tokens use HTTP/2 where it is offered.
//! Targets of redirects are reached by a dialer that checks addresses after name resolution.
//!
//! - `width`: how many bytes are read at once; `connector`: making a connection, by `dial`, `dns`, `tunnel` and `address_guard`
//! - `pool`: the connections that are there; `http1` and `http1_body`: one over HTTP/1.1, driven by the request that uses it

pub(crate) mod address_guard;
mod connector;
pub(crate) mod dial;
mod dns;
mod http1;
mod http1_body;
mod pool;
#[cfg(test)]
mod tests;
mod tunnel;
mod width;

use std::error::Error;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use http::header::HOST;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use registry_proxy_core::config::{ConfigError, UpstreamConfig};
use registry_proxy_core::platform::{Outgoing, Reach, RequestPurpose, Transport, TransportError, Unconnected};
use registry_proxy_core::{Body, Config};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::address_guard::{AddressRefused, NotResolved, check_literal};
use self::connector::{Connector, Lane, NotOpened, Opened};
use self::dial::ConnectTimedOut;
use self::pool::{Host, Pool};
use self::tunnel::ProxyError;
use self::width::{ReadWidth, WidePermit};
use crate::incoming;

/// Connections to all upstreams.
pub(crate) struct HyperTransport {
    upstreams: Vec<Connections>,
    wide: Arc<AtomicUsize>,
}

/// Connections to one upstream, separate for each worker, since a connection stays on the thread that made it.
struct Connections {
    connector: Connector,
    workers: Vec<Arc<Pool>>,
    cap: Option<ConnectionCap>,
    permit_timeout: Duration,
}

/// `max_connections`, over all workers. Requests wait for a permit with a time limit; the connection then waits at most for one
/// that is about to close.
struct ConnectionCap {
    requests: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl ConnectionCap {
    fn new(most: usize) -> Option<Self> {
        let places = || Arc::new(Semaphore::new(most));
        (most > 0).then(|| Self { requests: places(), connections: places() })
    }
}

/// What the body of a response holds until it ends.
type Permits = (Option<OwnedSemaphorePermit>, Option<WidePermit>);

impl HyperTransport {
    /// Prepares the connections, without connecting.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let upstreams = config.upstream.iter().map(|upstream| Connections::new(upstream, config));
        Ok(Self { upstreams: upstreams.collect::<Result<_, _>>()?, wide: Arc::default() })
    }
}

impl Connections {
    fn new(upstream: &UpstreamConfig, config: &Config) -> Result<Self, ConfigError> {
        let cap = ConnectionCap::new(upstream.max_connections);
        let places = cap.as_ref().map(|cap| Arc::clone(&cap.connections));
        Ok(Self {
            connector: Connector::new(upstream, places, config.timeouts.connect.0)?,
            // With a connection limit, keep no idle connections, which would block others.
            workers: (0..crate::workers::count()).map(|_| Pool::new(cap.is_none())).collect(),
            cap,
            permit_timeout: config.timeouts.first_byte.0,
        })
    }

    fn lane(&self, reach: Reach, purpose: RequestPurpose, wide: Option<&WidePermit>) -> Lane {
        // With a connection limit, one request is sent per connection.
        let offers_http2 = (reach, purpose) == (Reach::Configured, RequestPurpose::Api) && self.cap.is_none();
        Lane { reach, offers_http2, width: wide.map_or(ReadWidth::Narrow, WidePermit::width) }
    }

    async fn permit(&self) -> Result<Option<OwnedSemaphorePermit>, TransportError> {
        let Some(cap) = &self.cap else { return Ok(None) };
        match tokio::time::timeout(self.permit_timeout, Arc::clone(&cap.requests).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            Ok(Err(_)) | Err(_) => Err(TransportError::Busy),
        }
    }

    /// Sends a request on a connection that is there, or on a new one. One that the server closed before a byte of the request
    /// was sent is replaced by another.
    async fn request(
        &self,
        uri: &Uri,
        host: Arc<Host>,
        mut request: Request<Body>,
        permits: Permits,
    ) -> Result<Response<Body>, TransportError> {
        loop {
            let kept = host.take();
            let is_reused = kept.is_some();
            let opened = match kept {
                Some(opened) => opened,
                // Boxed, since it is large and seldom needed.
                None => Box::pin(host.open(&self.connector, uri)).await.map_err(unopened)?,
            };
            let (error, unsent) = match opened {
                Opened::Http1(connection) => {
                    request.headers_mut().entry(HOST).or_insert_with(|| host.header.clone());
                    *request.uri_mut() = target_on(uri, connection.is_forwarded);
                    match connection.send(request).await {
                        Ok((response, connection)) => {
                            return Ok(response.map(|body| http1_body::body(body, connection, host, permits)));
                        }
                        Err(unanswered) => unanswered,
                    }
                }
                Opened::Http2(mut connection) => {
                    *request.uri_mut() = uri.clone();
                    match connection.try_send_request(request).await {
                        Ok(response) => return Ok(response.map(|body| incoming::body(body, permits))),
                        Err(mut error) => {
                            let unsent = error.take_message();
                            (error.into_error(), unsent)
                        }
                    }
                }
            };
            match unsent {
                Some(unsent) if is_reused => request = unsent,
                Some(_) | None => return Err(TransportError::Broken(Box::new(error))),
            }
        }
    }
}

#[async_trait]
impl Transport for HyperTransport {
    async fn send(&self, outgoing: Outgoing) -> Result<Response<Body>, TransportError> {
        let Outgoing { mut request, upstream, reach, purpose } = outgoing;
        let unknown =
            |what: &'static str| TransportError::Connect { why: Unconnected::Unknown, source: what.into() };
        let connections = self.upstreams.get(upstream).ok_or_else(|| unknown("no such upstream"))?;
        let pool = connections.workers.get(crate::workers::current()).ok_or_else(|| unknown("no such worker"))?;
        if reach == Reach::Public {
            check_literal(request.uri()).map_err(refused)?;
        }
        let permit = connections.permit().await?;
        // What goes over the wire is written in its place.
        let uri = mem::take(request.uri_mut());
        let routes = connections.connector.routes();
        routes.add_proxy_headers(&uri, request.headers_mut());
        let wide = match purpose {
            RequestPurpose::Blob => WidePermit::take(&self.wide),
            RequestPurpose::Api => None,
        };
        let lane = connections.lane(reach, purpose, wide.as_ref());
        let host = pool.host(lane, &uri).ok_or_else(|| unknown("no host"))?;
        let sent = connections.request(&uri, host, request, (permit, wide)).await;
        let response = sent.inspect_err(|error| tracing::debug!(host = uri.host(), ?error, "no response"))?;
        if let Some(refused) = routes.proxy_error(&uri, response.status(), response.headers()) {
            return Err(TransportError::Connect { why: Unconnected::Proxy, source: refused.into() });
        }
        Ok(response)
    }
}

/// What stands in the first line of a request over HTTP/1.1 (RFC 9112 section 3.2): a path, and the whole address for a proxy
/// that forwards it.
fn target_on(uri: &Uri, is_forwarded: bool) -> Uri {
    if is_forwarded && uri.scheme() != Some(&Scheme::HTTPS) {
        return uri.clone();
    }
    uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from)
}

fn unopened(error: Arc<NotOpened>) -> TransportError {
    if let Some(guarded) = causes(&error).find_map(|cause| cause.downcast_ref::<AddressRefused>()) {
        return refused(guarded.clone());
    }
    match &*error {
        NotOpened::Connect(source) => {
            TransportError::Connect { why: unconnected(&**source), source: Box::new(error) }
        }
        NotOpened::Broken(_) => TransportError::Broken(Box::new(error)),
    }
}

/// An error and its chain of causes. `io::Error::source` skips the error that it wraps, so that one is included as well.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let current = next?;
        let within = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match within {
            Some(within) => Some(within as &(dyn Error + 'static)),
            None => current.source(),
        };
        Some(current)
    })
}

/// Why connecting failed, by the first cause that tells.
fn unconnected(error: &(dyn Error + 'static)) -> Unconnected {
    let why = causes(error).find_map(|cause| {
        if cause.is::<NotResolved>() {
            return Some(Unconnected::NotResolved);
        }
        if cause.is::<ProxyError>() {
            return Some(Unconnected::Proxy);
        }
        if cause.is::<ConnectTimedOut>() {
            return Some(Unconnected::TimedOut);
        }
        if let Some(rustls::Error::InvalidCertificate(_)) = cause.downcast_ref() {
            return Some(Unconnected::Certificate);
        }
        match cause.downcast_ref::<std::io::Error>()?.kind() {
            std::io::ErrorKind::ConnectionRefused => Some(Unconnected::Refused),
            std::io::ErrorKind::TimedOut => Some(Unconnected::TimedOut),
            _ => None,
        }
    });
    why.unwrap_or(Unconnected::Unknown)
}

fn refused(AddressRefused { host, address }: AddressRefused) -> TransportError {
    TransportError::AddressRefused { host, address }
}
