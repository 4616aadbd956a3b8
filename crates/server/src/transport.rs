//! Requests to upstreams: hyper's pooled client behind the core's `Transport`, with separate connections for each upstream.
//!
//! Blobs use their own HTTP/1.1 connections, so that no HTTP/2 window slows them down; manifests and tokens use HTTP/2
//! where it is offered. Targets of redirects are reached by a connector that checks addresses after name resolution.

pub(crate) mod address_guard;
pub(crate) mod dial;
mod dns;
mod tunnel;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use registry_proxy_core::config::{ConfigError, UpstreamConfig};
use registry_proxy_core::platform::{Outgoing, Reach, RequestPurpose, Transport, TransportError, Unconnected};
use registry_proxy_core::{Body, Config};
use rustls::ClientConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::address_guard::{AddressRefused, Admits, NotResolved, check_literal};
use self::dial::{ConnectTimedOut, ConnectTimeout, Dialer};
use self::tunnel::ProxyError;
use crate::incoming;

/// How long idle connections are kept: shorter than load balancers keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// Most idle connections kept per host.
const POOL_PER_HOST: usize = 64;
/// Bytes read from an upstream at once. Fewer, larger reads take less CPU (of one transfer, compared to nginx: 512 KiB at a time
/// 1.45, 1 MiB 1.35, 2 MiB 1.17, 4 MiB 1.0), but a transfer holds two or three of them in memory. So a single transfer reads
/// widest, a few read wide, and many read narrow.
const NARROW_BYTES: usize = 64 << 10;
const WIDE_BYTES: usize = 768 << 10;
const WIDEST_BYTES: usize = 4 << 20;
/// Most transfers that read wide at once, including the widest.
const WIDE_TRANSFERS: usize = 8;
/// Most memory of wide reads, with three reads each and the slowest clients: with 64 clients the whole process stays under
/// 48 MiB.
const MOST_WIDE_BYTES: usize = 28 << 20;
const _: () = assert!(3 * (WIDEST_BYTES + (WIDE_TRANSFERS - 1) * WIDE_BYTES) <= MOST_WIDE_BYTES);

type HttpClient = Client<ConnectTimeout<HttpsConnector<Dialer>>, Body>;

/// Connections to all upstreams, separate for each worker, since a connection stays on the thread that made it.
pub(crate) struct HyperTransport {
    workers: Vec<Vec<Connections>>,
    wide: Arc<AtomicUsize>,
}

/// Connections for one upstream, on one worker.
struct Connections {
    /// To its own addresses, for manifests and tokens.
    api: HttpClient,
    /// To its own addresses, for blobs.
    own: Widths,
    /// To targets of its redirects: public addresses only.
    public: Widths,
    /// To targets of its redirects that the configuration trusts.
    trusted: Widths,
    cap: Option<ConnectionCap>,
    permit_timeout: Duration,
    /// The egress routes, the same for all of these.
    routes: Dialer,
}

/// `max_connections`, over all workers. Requests wait for a permit with a time limit; the connection then waits at most for one
/// that is about to close.
#[derive(Clone)]
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

/// Clients with small, large and largest reads.
struct Widths {
    narrow: HttpClient,
    wide: HttpClient,
    widest: HttpClient,
}

impl HyperTransport {
    /// Creates the clients, without connecting.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let caps: Vec<Option<ConnectionCap>> =
            config.upstream.iter().map(|upstream| ConnectionCap::new(upstream.max_connections)).collect();
        let of_worker = |_| {
            let upstreams = config.upstream.iter().zip(&caps);
            upstreams.map(|(upstream, cap)| Connections::new(upstream, config, cap.clone())).collect()
        };
        Ok(Self {
            workers: (0..crate::workers::count()).map(of_worker).collect::<Result<_, _>>()?,
            wide: Arc::default(),
        })
    }
}

impl Connections {
    fn new(upstream: &UpstreamConfig, config: &Config, cap: Option<ConnectionCap>) -> Result<Self, ConfigError> {
        let connect = config.timeouts.connect.0;
        let places = cap.as_ref().map(|cap| Arc::clone(&cap.connections));
        let dialer = |admits| Dialer::new(upstream, admits, places.clone(), connect);
        let own = (crate::tls::client(upstream, true)?, dialer(Admits::Everything)?);
        let public = (crate::tls::client(upstream, false)?, dialer(Admits::PublicOnly)?);
        let trusted = (public.0.clone(), dialer(Admits::Everything)?);
        // With a connection limit, keep no idle connections, which would block others, and send one request per connection.
        let idle = if cap.is_some() { 0 } else { POOL_PER_HOST };
        let client = |(tls, dialer): &(ClientConfig, Dialer), has_http2: bool, read_bytes: usize| -> HttpClient {
            let builder = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
            let connector = if has_http2 {
                builder.enable_all_versions().wrap_connector(dialer.clone())
            } else {
                builder.enable_http1().wrap_connector(dialer.clone())
            };
            Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(idle)
                .http1_max_buf_size(read_bytes)
                // Detects connections that were dropped silently, instead of reusing them.
                .http2_keep_alive_interval(Duration::from_secs(15))
                .http2_keep_alive_timeout(Duration::from_secs(5))
                .build(ConnectTimeout::new(connector, connect))
        };
        let widths = |parts: &(ClientConfig, Dialer)| Widths {
            narrow: client(parts, false, NARROW_BYTES),
            wide: client(parts, false, WIDE_BYTES),
            widest: client(parts, false, WIDEST_BYTES),
        };
        Ok(Self {
            api: client(&own, cap.is_none(), NARROW_BYTES),
            own: widths(&own),
            public: widths(&public),
            trusted: widths(&trusted),
            cap,
            permit_timeout: config.timeouts.first_byte.0,
            routes: own.1,
        })
    }

    fn client(&self, reach: Reach, purpose: RequestPurpose, wide: Option<&Wide>) -> &HttpClient {
        let widths = match (reach, purpose) {
            (Reach::Configured, RequestPurpose::Api) => return &self.api,
            (Reach::Configured, RequestPurpose::Blob) => &self.own,
            (Reach::Public, _) => &self.public,
            (Reach::Trusted, _) => &self.trusted,
        };
        match wide {
            None => &widths.narrow,
            Some(wide) if wide.is_alone => &widths.widest,
            Some(_) => &widths.wide,
        }
    }

    async fn permit(&self) -> Result<Option<OwnedSemaphorePermit>, TransportError> {
        let Some(cap) = &self.cap else { return Ok(None) };
        match tokio::time::timeout(self.permit_timeout, Arc::clone(&cap.requests).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            Ok(Err(_)) | Err(_) => Err(TransportError::Busy),
        }
    }
}

#[async_trait]
impl Transport for HyperTransport {
    async fn send(&self, outgoing: Outgoing) -> Result<Response<Body>, TransportError> {
        let Outgoing { request, upstream, reach, purpose } = outgoing;
        let unknown = || TransportError::Connect { why: Unconnected::Unknown, source: "no such upstream".into() };
        let worker = self.workers.get(crate::workers::current());
        let connections = worker.and_then(|worker| worker.get(upstream)).ok_or_else(unknown)?;
        if reach == Reach::Public {
            check_literal(request.uri()).map_err(refused)?;
        }
        let permit = connections.permit().await?;
        let mut request: Request<Body> = request;
        let uri = request.uri().clone();
        connections.routes.add_proxy_headers(&uri, request.headers_mut());
        let wide =
            Some(purpose).filter(|purpose| *purpose == RequestPurpose::Blob).and_then(|_| Wide::take(&self.wide));
        let client = connections.client(reach, purpose, wide.as_ref());
        let response = client.request(request).await.map_err(|error| {
            tracing::debug!(host = uri.host(), ?error, "no response");
            classify(error)
        })?;
        if let Some(refused) = connections.routes.proxy_error(&uri, response.status(), response.headers()) {
            return Err(TransportError::Connect { why: Unconnected::Proxy, source: refused.into() });
        }
        // The body holds the permits until it ends.
        Ok(response.map(|body| incoming::body(body, (permit, wide))))
    }
}

fn classify(error: hyper_util::client::legacy::Error) -> TransportError {
    if let Some(guarded) = causes(&error).find_map(|cause| cause.downcast_ref::<AddressRefused>()) {
        return refused(guarded.clone());
    }
    if error.is_connect() {
        TransportError::Connect { why: unconnected(&error), source: Box::new(error) }
    } else {
        TransportError::Broken(Box::new(error))
    }
}

/// An error and its chain of causes. `io::Error::source` skips the error that it wraps, so that one is included as well.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
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

/// Permission to read wide.
struct Wide {
    counter: Arc<AtomicUsize>,
    /// No other transfer read wide when it began: only one such exists at a time.
    is_alone: bool,
}

impl Wide {
    fn take(counter: &Arc<AtomicUsize>) -> Option<Self> {
        let others = counter.fetch_add(1, Ordering::Relaxed);
        let place = Self { counter: Arc::clone(counter), is_alone: others == 0 };
        (others < WIDE_TRANSFERS).then_some(place)
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}
