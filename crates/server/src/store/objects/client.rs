//! Requests of `OpenDAL` over the HTTP client that the rest of the server uses: hyper and rustls, and the proxies that the
//! environment names (`HTTPS_PROXY`, `NO_PROXY`).
//!
//! Time counts by silence: a slow line may take as long as it takes, and one on which nothing moves is given up.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyDataStream;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use md5::{Digest as _, Md5};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter};
use registry_proxy_core::config::{ConfigError, UpstreamConfig};
use tokio::time::Instant;

use super::sign::Signing;
use crate::transport::address_guard::Admits;
use crate::transport::dial::{ConnectTimeout, Dialer};

/// How long a question may take with all its repetitions.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long it may take with everything: name, proxy and TLS.
const READY: Duration = Duration::from_secs(10);
/// Idle connections are kept for less time than load balancers keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// How long nothing may come: before a small question is answered, and before the next piece of its body.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// How long nothing more of a body may go: the kernel wakes whoever writes when a third of its buffer is free again, which
/// may be a megabyte.
const STALL: Duration = Duration::from_secs(30);
/// Before the answer to bytes: the last of them lie in this machine's buffers when they are handed on, on a slow line for
/// half a minute, and the store puts them on its disks.
const STORED: Duration = Duration::from_mins(2);
/// Before the answer to putting parts together: S3 says that it takes minutes (`CompleteMultipartUpload`).
pub(super) const COMPLETE: Duration = Duration::from_mins(5);
/// Bodies up to this size are small questions.
const SMALL_BYTES: usize = 64 << 10;
/// Of these pieces it is seen when they are taken.
const PIECE_BYTES: usize = 64 << 10;
/// Larger bodies are hashed where nobody waits for the thread.
const HASHED_IN_PLACE: usize = 256 << 10;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// The client, with the machine's roots.
pub(super) fn transport() -> Result<HttpTransporter, ConfigError> {
    let dialer = Dialer::new(&UpstreamConfig::default(), Admits::Everything, None, CONNECT)?;
    let tls = crate::tls::client(&UpstreamConfig::default(), false)?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(ConnectTimeout::new(connector.wrap_connector(dialer.clone()), READY));
    Ok(HttpTransporter::new(HyperClient { client, routes: dialer }))
}

/// The same, with a signature on everything, and a checksum on what is stored.
pub(super) fn signed(transport: HttpTransporter, signing: Arc<Signing>) -> HttpTransporter {
    HttpTransporter::new(Signed { transport, signing })
}

struct Signed {
    transport: HttpTransporter,
    signing: Arc<Signing>,
}

impl HttpTransport for Signed {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (mut parts, body) = request.into_parts();
        // S3, OSS, COS and OBS refuse bytes that came otherwise than they went. It is signed with the rest.
        if parts.method == Method::PUT && !body.is_empty() {
            parts.headers.insert(CONTENT_MD5, checksum(body.clone()).await?);
        }
        // Credentials may have to be fetched first.
        let signing = self.signing.request(&mut parts);
        tokio::time::timeout(PATIENCE, signing)
            .await
            .map_err(|_| silent())?
            .map_err(|error| unsigned(error, &self.signing))?;
        self.transport.fetch(Request::from_parts(parts, body)).await
    }
}

/// RFC 1864: the MD5 of a body in base64. It finds accidents, which is all that it is for.
async fn checksum(body: Buffer) -> opendal::Result<HeaderValue> {
    let is_short = body.len() <= HASHED_IN_PLACE;
    let hash = move || {
        let mut hasher = Md5::new();
        for piece in body {
            hasher.update(&piece);
        }
        BASE64_STANDARD.encode(hasher.finalize())
    };
    let text = if is_short { hash() } else { tokio::task::spawn_blocking(hash).await.map_err(failed)? };
    HeaderValue::try_from(text).map_err(failed)
}

/// Without credentials there is nothing to ask for again.
pub(super) fn unsigned(error: reqsign_core::Error, signing: &Signing) -> Error {
    let (kind, what) = match error.kind() {
        reqsign_core::ErrorKind::CredentialInvalid => (ErrorKind::ConfigInvalid, signing.lacking()),
        reqsign_core::ErrorKind::PermissionDenied => {
            (ErrorKind::PermissionDenied, "a request was not signed".to_owned())
        }
        _ => (ErrorKind::Unexpected, "a request was not signed".to_owned()),
    };
    let is_temporary = error.is_retryable();
    Error::new(kind, what).set_source(error).with_temporary(is_temporary)
}

struct HyperClient {
    client: Client<ConnectTimeout<HttpsConnector<Dialer>>, ProgressBody>,
    routes: Dialer,
}

impl HttpTransport for HyperClient {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (mut parts, body) = request.into_parts();
        let uri = parts.uri.clone();
        self.routes.suit_proxy(&uri, &mut parts.headers);
        let patience = patience(&parts, body.len());
        let progress = Arc::new(Progress::new(body.is_empty()));
        let body = ProgressBody { rest: body.to_bytes(), progress: Arc::clone(&progress) };
        let mut answer = pin!(self.client.request(Request::from_parts(parts, body)));
        let response = loop {
            let until = progress.deadline(patience);
            match tokio::time::timeout_at(until, &mut answer).await {
                Ok(answer) => break answer.map_err(failed)?,
                Err(_) if progress.deadline(patience) > until => {}
                Err(_) => return Err(silent()),
            }
        };
        if let Some(refused) = self.routes.refusal(&uri, response.status(), response.headers()) {
            return Err(failed(refused));
        }
        let length = http_body::Body::size_hint(response.body()).exact();
        Ok(response.map(|body| {
            // While MinIO puts parts together it sends a space every 10 seconds behind a head that says yes: the same
            // patience counts between them.
            let pieces = futures_util::stream::unfold(Some(BodyDataStream::new(body)), move |pieces| async move {
                let mut pieces = pieces?;
                match tokio::time::timeout(patience, pieces.next()).await {
                    Ok(Some(Ok(piece))) => Some((Ok(Buffer::from(piece)), Some(pieces))),
                    Ok(Some(Err(error))) => Some((Err(failed(error)), None)),
                    Ok(None) => None,
                    Err(_) => Some((Err(silent()), None)),
                }
            });
            HttpBody::new(Box::pin(pieces), length)
        }))
    }
}

/// How long nothing of the answer may come, once all of a request is sent: neither its head nor the next piece of its body.
fn patience(request: &http::request::Parts, body_bytes: usize) -> Duration {
    let query = request.uri.query().unwrap_or_default();
    let has = |word: &str| query.split('&').any(|pair| pair.starts_with(word));
    // As S3 and its likes say it, and Google; and as Azure does.
    let completes = request.method == Method::POST && has("uploadId=") || has("comp=blocklist");
    if completes {
        COMPLETE
    } else if body_bytes > SMALL_BYTES {
        STORED
    } else {
        SILENCE
    }
}

/// How a request is getting on.
struct Progress {
    begun: Instant,
    /// When a piece of its body was taken last, in milliseconds since.
    last: AtomicU64,
    /// All of it is.
    is_sent: AtomicBool,
}

impl Progress {
    fn new(is_sent: bool) -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0), is_sent: AtomicBool::new(is_sent) }
    }

    fn moved(&self, is_sent: bool) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
        self.is_sent.fetch_or(is_sent, Ordering::Release);
    }

    /// When it is given up, if nothing moves until then.
    fn deadline(&self, patience: Duration) -> Instant {
        let wait = if self.is_sent.load(Ordering::Acquire) { patience } else { STALL };
        self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed)) + wait
    }
}

/// A request's body.
struct ProgressBody {
    rest: Bytes,
    progress: Arc<Progress>,
}

impl http_body::Body for ProgressBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let most = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(most);
        self.progress.moved(self.rest.is_empty());
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// A connection that failed may succeed the next time.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "the object store was not reached").set_source(error).set_temporary()
}

fn silent() -> Error {
    Error::new(ErrorKind::Unexpected, "the object store was silent for too long").set_temporary()
}
