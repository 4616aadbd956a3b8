//! The connections of one worker to the hosts of one upstream, by what they are for: HTTP/1.1 connections that are idle, and
//! one over HTTP/2 that all requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use hyper::client::conn::http2::SendRequest;
use registry_proxy_core::Body;
use tokio::time::Instant;

use super::connector::{Connector, Lane, NotOpened, Opened};
use super::http1::Http1;

/// How long idle connections are kept: shorter than load balancers keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// Most idle connections kept per host and lane.
const POOL_PER_HOST: usize = 64;
/// Most hosts of which connections are kept: redirects lead to as many as an upstream likes.
const POOL_HOSTS: usize = 256;
/// Between two looks at idle connections, of which some are closed by then or too old.
const POOL_SWEEP: Duration = Duration::from_secs(5);

/// The pool.
pub(super) struct Pool {
    hosts: Mutex<Vec<Arc<Host>>>,
    most_idle: usize,
    is_swept: AtomicBool,
}

impl Pool {
    /// An empty pool; `keeps`: whether a connection is used more than once.
    pub(super) fn new(keeps: bool) -> Arc<Self> {
        let most_idle = if keeps { POOL_PER_HOST } else { 0 };
        Arc::new(Self { hosts: Mutex::default(), most_idle, is_swept: AtomicBool::new(false) })
    }

    /// The host of an address, in a lane; `None`: the address names none.
    pub(super) fn host(self: &Arc<Self>, lane: Lane, uri: &Uri) -> Option<Arc<Host>> {
        let (scheme, authority) = (uri.scheme()?, uri.authority()?);
        // Without TLS nothing can be offered.
        let lane = Lane { offers_http2: lane.offers_http2 && *scheme == Scheme::HTTPS, ..lane };
        let mut hosts = locked(&self.hosts);
        if let Some(host) = hosts.iter().find(|host| host.is(lane, scheme, authority)) {
            return Some(Arc::clone(host));
        }
        let host = Arc::new(Host {
            lane,
            scheme: scheme.clone(),
            authority: authority.clone(),
            header: host_header(scheme, authority)?,
            most_idle: self.most_idle,
            connections: Mutex::new(HostConnections::default()),
        });
        if self.most_idle > 0 && hosts.len() < POOL_HOSTS {
            hosts.push(Arc::clone(&host));
            if !self.is_swept.swap(true, Ordering::Relaxed) {
                tokio::spawn(sweep(Arc::downgrade(self)));
            }
        }
        Some(host)
    }
}

/// Drops connections that are old or closed, and hosts without any, until there is none.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(POOL_SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut hosts = locked(&pool.hosts);
        hosts.retain(|host| host.sweep() || Arc::strong_count(host) > 1);
        if hosts.is_empty() {
            pool.is_swept.store(false, Ordering::Relaxed);
            return;
        }
    }
}

/// One host in one lane.
pub(super) struct Host {
    lane: Lane,
    scheme: Scheme,
    authority: Authority,
    /// The value of `Host` (RFC 9110 section 7.2).
    pub(super) header: HeaderValue,
    most_idle: usize,
    connections: Mutex<HostConnections>,
}

#[derive(Default)]
struct HostConnections {
    /// The one that was used last is at the end.
    idle: Vec<(Box<Http1>, Instant)>,
    http2: Option<(SendRequest<Body>, Instant)>,
    /// A connection that several requests wait for, as it may be over HTTP/2.
    opening: Option<WeakShared<Opening>>,
    /// HTTP/2 was offered and not taken: no request waits for the connection of another.
    is_http1: bool,
}

type Opening = BoxFuture<'static, Result<FirstOpened, Arc<NotOpened>>>;

/// What those who wait for one connection get.
#[derive(Clone)]
enum FirstOpened {
    /// One of them may have it.
    Http1(Arc<Mutex<Option<Box<Http1>>>>),
    Http2(SendRequest<Body>),
}

impl Host {
    fn is(&self, lane: Lane, scheme: &Scheme, authority: &Authority) -> bool {
        self.lane == lane && self.scheme == *scheme && self.authority == *authority
    }

    /// A connection that is there.
    pub(super) fn take(&self) -> Option<Opened> {
        let mut connections = locked(&self.connections);
        if let Some((connection, since)) = connections.idle.pop() {
            if since.elapsed() < POOL_IDLE {
                return Some(Opened::Http1(connection));
            }
            // All others are older.
            connections.idle.clear();
        }
        let (sender, used) = connections
            .http2
            .as_mut()
            .filter(|(sender, used)| used.elapsed() < POOL_IDLE && !sender.is_closed())?;
        *used = Instant::now();
        Some(Opened::Http2(sender.clone()))
    }

    /// Keeps an idle connection for the next request.
    pub(super) fn keep(&self, connection: Box<Http1>) {
        let mut connections = locked(&self.connections);
        if connections.idle.len() < self.most_idle {
            connections.idle.push((connection, Instant::now()));
        }
    }

    /// A new connection.
    pub(super) async fn open(
        self: &Arc<Self>,
        connector: &Connector,
        uri: &Uri,
    ) -> Result<Opened, Arc<NotOpened>> {
        if self.lane.offers_http2
            && let Some(opening) = self.opening(connector, uri)
        {
            match opening.await? {
                FirstOpened::Http2(sender) => return Ok(Opened::Http2(sender)),
                FirstOpened::Http1(connection) => {
                    if let Some(connection) = locked(&connection).take() {
                        return Ok(Opened::Http1(connection));
                    }
                }
            }
        }
        let opened = connector.clone().open(self.lane, uri.clone()).await.map_err(Arc::new)?;
        if let Opened::Http2(sender) = &opened {
            self.share(sender);
        }
        Ok(opened)
    }

    /// What others wait for already, or begins it. `None`: this host does not speak HTTP/2.
    fn opening(self: &Arc<Self>, connector: &Connector, uri: &Uri) -> Option<Shared<Opening>> {
        let mut connections = locked(&self.connections);
        if connections.is_http1 {
            return None;
        }
        if let Some(opening) = connections.opening.as_ref().and_then(WeakShared::upgrade) {
            return Some(opening);
        }
        let (host, opening) = (Arc::clone(self), connector.clone().open(self.lane, uri.clone()));
        let opening = async move {
            let opened = opening.await;
            match opened {
                Ok(Opened::Http2(sender)) => {
                    host.share(&sender);
                    Ok(FirstOpened::Http2(sender))
                }
                Ok(Opened::Http1(connection)) => {
                    let mut connections = locked(&host.connections);
                    (connections.is_http1, connections.opening) = (true, None);
                    Ok(FirstOpened::Http1(Arc::new(Mutex::new(Some(connection)))))
                }
                Err(error) => {
                    locked(&host.connections).opening = None;
                    Err(Arc::new(error))
                }
            }
        };
        let opening = opening.boxed().shared();
        connections.opening = opening.downgrade();
        Some(opening)
    }

    fn share(&self, sender: &SendRequest<Body>) {
        let mut connections = locked(&self.connections);
        connections.opening = None;
        connections.http2 = Some((sender.clone(), Instant::now()));
    }

    /// Drops what is old or closed. Returns whether anything is left.
    fn sweep(&self) -> bool {
        let mut connections = locked(&self.connections);
        connections.idle.retain_mut(|(connection, since)| since.elapsed() < POOL_IDLE && connection.is_open());
        connections.http2.take_if(|(sender, used)| used.elapsed() >= POOL_IDLE || sender.is_closed());
        let is_opening = connections.opening.as_ref().and_then(WeakShared::upgrade).is_some();
        is_opening || connections.http2.is_some() || !connections.idle.is_empty()
    }
}

/// `host`, or `host:port` where the port is not the scheme's own.
fn host_header(scheme: &Scheme, authority: &Authority) -> Option<HeaderValue> {
    let own = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let host = authority.host();
    let text = match authority.port_u16().filter(|port| *port != own) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    HeaderValue::try_from(text).ok()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
