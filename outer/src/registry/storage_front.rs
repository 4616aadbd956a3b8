//! A registry whose blobs lie on another host, as those of the large public registries do.
//!
//! The front passes everything to an open registry, but answers GET of a blob with 307 to a second
//! address that wants a signed query. The storage is as strict as real ones: the query must
//! come back byte for byte, an `Authorization` header beside a signature is an error, and the
//! signature is for GET only. Bodies are streamed.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use super::Registry;
use crate::Outcome;
use crate::http::{Body, Handler, Pace, Server, connector, empty, text};

/// Another loopback address, so that the host differs and not only the port.
const STORAGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Where its objects begin. Storages know nothing of `/v2/`, and a path that began with it could not
/// be told from a registry's when the storage hides behind the proxy's own address.
const STORAGE_PREFIX: &str = "/registry-v2/docker";

/// What signatures look like and what careless URL code changes: escapes that need none, a plus,
/// lower-case escapes, a bare key, an empty value and equal signs at the end.
const SIGNED_QUERY: &str =
    "X-Amz-Credential=key%2F20240101%2fauto&sig=a+b%2Bc%3d/d==&bare&empty=&tilde=%7e~&Expires=1";

/// The registry with its storage.
pub struct StorageFront {
    front: Server,
    storage: Server,
    shelf: Arc<Shelf>,
    desk: Arc<Desk>,
}

struct Desk {
    registry: Backend,
    storage: SocketAddr,
}

struct Shelf {
    registry: Backend,
    pace: Option<Arc<Pace>>,
    served: AtomicUsize,
    refused: AtomicUsize,
}

impl StorageFront {
    pub fn start(registry: &Registry) -> Outcome<Self> {
        Self::with(registry, registry, None)
    }

    /// A registry that wants logins; its storage wants none, and has what `objects` has.
    pub fn with_logins(registry: &Registry, objects: &Registry) -> Outcome<Self> {
        Self::with(registry, objects, None)
    }

    /// All that the storage sends has this rate together.
    pub fn slow(registry: &Registry, bytes_per_second: u64) -> Outcome<Self> {
        Self::with(registry, registry, Some(Pace::new(bytes_per_second)))
    }

    fn with(registry: &Registry, objects: &Registry, pace: Option<Pace>) -> Outcome<Self> {
        let shelf = Arc::new(Shelf {
            registry: Backend::new(objects.address()),
            pace: pace.map(Arc::new),
            served: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        let storage = Server::start(IpAddr::V4(STORAGE_ADDRESS), Arc::clone(&shelf))?;
        let desk = Arc::new(Desk { registry: Backend::new(registry.address()), storage: storage.address() });
        let front = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::clone(&desk))?;
        Ok(Self { front, storage, shelf, desk })
    }

    /// Where the registry listens.
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// Where blobs come from.
    pub fn storage_address(&self) -> SocketAddr {
        self.storage.address()
    }

    /// How many signed requests were answered with bytes.
    pub fn served(&self) -> usize {
        self.shelf.served.load(Ordering::Relaxed)
    }

    /// How many requests had something wrong with them.
    pub fn refused(&self) -> usize {
        self.shelf.refused.load(Ordering::Relaxed)
    }

    /// Bytes of blobs that the storage has sent.
    pub fn sent(&self) -> u64 {
        self.shelf.registry.sent.load(Ordering::Relaxed)
    }

    /// A header of any request whose name or value holds this text.
    pub fn saw(&self, text: &str) -> Option<String> {
        [&self.desk.registry, &self.shelf.registry].into_iter().find_map(|backend| backend.saw(text))
    }

    /// The address that the front gives for a blob.
    pub fn signed_location(&self, repository: &str, digest: &str) -> String {
        signed_location(self.storage_address(), &format!("/v2/{repository}/blobs/{digest}"))
    }
}

fn signed_location(storage: SocketAddr, path: &str) -> String {
    format!("http://{storage}{STORAGE_PREFIX}{path}?{SIGNED_QUERY}")
}

impl Handler for Desk {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        async move {
            self.registry.look(request.headers());
            let path = request.uri().path();
            if request.method() != Method::GET || !path.contains("/blobs/sha256:") {
                return self.registry.forward(request).await;
            }
            let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
            let location = HeaderValue::from_str(&signed_location(self.storage, path))?;
            response.headers_mut().insert(header::LOCATION, location);
            Ok(response)
        }
        .boxed()
    }
}

impl Handler for Shelf {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        async move {
            self.registry.look(request.headers());
            if let Some((status, why)) = fault(&request) {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Ok(text(status, why));
            }
            self.served.fetch_add(1, Ordering::Relaxed);
            let mut response = self.registry.forward(request).await?;
            // Object stores know nothing of registries.
            response.headers_mut().remove("docker-content-digest");
            response.headers_mut().remove("docker-distribution-api-version");
            Ok(match &self.pace {
                Some(pace) => response.map(|body| paced(body, Arc::clone(pace))),
                None => response,
            })
        }
        .boxed()
    }
}

fn fault(request: &Request<Incoming>) -> Option<(StatusCode, &'static str)> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        return Some((StatusCode::BAD_REQUEST, "only one auth mechanism allowed"));
    }
    if request.uri().query() != Some(SIGNED_QUERY) {
        return Some((StatusCode::FORBIDDEN, "the signature does not match"));
    }
    (request.method() != Method::GET).then_some((StatusCode::FORBIDDEN, "signed for GET only"))
}

/// The same body, no faster than it is let.
fn paced(body: Body, pace: Arc<Pace>) -> Body {
    let frames = stream::unfold((body, pace), |(mut body, pace)| async move {
        let frame = body.frame().await?;
        let length = frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len);
        pace.turn(length as u64).await;
        Some((frame, (body, pace)))
    });
    StreamBody::new(frames).boxed()
}

/// The open registry behind both, and what it was asked with.
struct Backend {
    address: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
    headers: Mutex<BTreeSet<String>>,
    sent: Arc<AtomicU64>,
}

impl Backend {
    fn new(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(connector());
        Self { address, client, headers: Mutex::default(), sent: Arc::default() }
    }

    fn look(&self, headers: &HeaderMap) {
        let mut seen = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(headers.iter().map(|(name, value)| format!("{name}: {value:?}")));
    }

    fn saw(&self, text: &str) -> Option<String> {
        let seen = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().find(|header| header.contains(text)).cloned()
    }

    /// Asks the registry the same, without the query, and streams its answer.
    async fn forward(&self, request: Request<Incoming>) -> Outcome<Response<Body>> {
        let (parts, _) = request.into_parts();
        let query = parts.uri.query().filter(|query| *query != SIGNED_QUERY);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let path = parts.uri.path();
        let path = path.strip_prefix(STORAGE_PREFIX).unwrap_or(path);
        let target = format!("http://{}{path}{query}", self.address);
        let mut asked = Request::new(Empty::new());
        *asked.method_mut() = parts.method;
        *asked.uri_mut() = target.parse::<Uri>()?;
        for name in [header::ACCEPT, header::AUTHORIZATION, header::RANGE] {
            for value in parts.headers.get_all(&name) {
                asked.headers_mut().append(&name, value.clone());
            }
        }
        let response = self.client.request(asked).await?;
        let sent = Arc::clone(&self.sent);
        Ok(response.map(|body| {
            let counted = body.map_frame(move |frame| {
                let length = frame.data_ref().map_or(0, Bytes::len);
                sent.fetch_add(length as u64, Ordering::Relaxed);
                frame
            });
            counted.map_err(std::io::Error::other).boxed()
        }))
    }
}
