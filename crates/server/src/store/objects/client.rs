//! The HTTP client for `OpenDAL`: the same as in the rest of the server, hyper and rustls, with the proxies of the environment
//! (`HTTPS_PROXY`, `NO_PROXY`).
//!
//! Timeouts count the time without progress: a slow transfer may take as long as it needs, a stalled one fails.

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
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use md5::{Digest as _, Md5};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter};
use registry_proxy_core::config::{ConfigError, UpstreamConfig};
use tokio::time::Instant;

use super::sign::Signing;
use crate::transport::address_guard::Admits;
use crate::transport::dial::{ConnectTimeout, Dialer};

/// Time limit of a small request with all its retries.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit of a TCP connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Time limit of connecting in all: DNS, proxy and TLS.
const READY: Duration = Duration::from_secs(10);
/// How long idle connections are kept: shorter than load balancers keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// Time without a byte of the response to a small request, or of its body.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// Time without progress while sending a body. The kernel wakes a writer only when a third of its buffer, up to a megabyte, is
/// free again.
const STALL: Duration = Duration::from_secs(30);
/// Time until the response to an upload: its last bytes may be in this machine's buffers for half a minute on a slow line, and
/// then the store writes them to its disks.
const STORED: Duration = Duration::from_mins(2);
/// Time until the response to completing a multipart upload, which takes minutes according to S3 (`CompleteMultipartUpload`).
pub(super) const COMPLETE: Duration = Duration::from_mins(5);
/// Requests with bodies up to this size count as small.
const SMALL_BYTES: usize = 64 << 10;
/// Chunk size of request bodies; progress is counted by chunks.
const PIECE_BYTES: usize = 64 << 10;
/// Larger bodies are hashed on a blocking thread.
const HASHED_IN_PLACE: usize = 256 << 10;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// The client. It trusts the system's root certificates.
pub(super) fn transport() -> Result<HttpTransporter, ConfigError> {
    let dialer = Dialer::new(&UpstreamConfig::default(), Admits::Everything, None, CONNECT)?;
    let tls = crate::tls::client(&UpstreamConfig::default(), false)?;
    let connector = HttpsConnector::from((dialer.clone(), tls));
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(ConnectTimeout::new(connector, READY));
    Ok(HttpTransporter::new(HyperClient { client, routes: dialer }))
}

/// The same, but signs every request and adds a checksum to uploads.
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
        // S3, OSS, COS and OBS reject a body that does not match. The signature covers this header.
        if parts.method == Method::PUT && !body.is_empty() {
            parts.headers.insert(CONTENT_MD5, checksum(body.clone()).await?);
        }
        // Signing may have to fetch credentials first.
        let signing = self.signing.request(&mut parts);
        tokio::time::timeout(REQUEST_TIMEOUT, signing)
            .await
            .map_err(|_| silent())?
            .map_err(|error| unsigned(error, &self.signing))?;
        self.transport.fetch(Request::from_parts(parts, body)).await
    }
}

/// RFC 1864: the MD5 of a body in base64. It detects accidental changes only.
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

/// The error of a request that could not be signed. Missing credentials are not temporary.
pub(super) fn unsigned(error: reqsign_core::Error, signing: &Signing) -> Error {
    let (kind, what) = match error.kind() {
        reqsign_core::ErrorKind::CredentialInvalid => (ErrorKind::ConfigInvalid, signing.missing_credentials()),
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
        self.routes.add_proxy_headers(&uri, &mut parts.headers);
        let timeout = response_timeout(&parts, body.len());
        let progress = Arc::new(Progress::new(body.is_empty()));
        let body = ProgressBody { rest: body.to_bytes(), progress: Arc::clone(&progress) };
        let mut answer = pin!(self.client.request(Request::from_parts(parts, body)));
        let response = loop {
            let until = progress.deadline(timeout);
            match tokio::time::timeout_at(until, &mut answer).await {
                Ok(answer) => break answer.map_err(failed)?,
                Err(_) if progress.deadline(timeout) > until => {}
                Err(_) => return Err(silent()),
            }
        };
        if let Some(refused) = self.routes.proxy_error(&uri, response.status(), response.headers()) {
            return Err(failed(refused));
        }
        let length = http_body::Body::size_hint(response.body()).exact();
        Ok(response.map(|body| {
            // While MinIO completes an upload it sends status 200, then a space every 10 seconds: the same timeout applies
            // between them.
            let pieces = futures_util::stream::unfold(Some(BodyDataStream::new(body)), move |pieces| async move {
                let mut pieces = pieces?;
                match tokio::time::timeout(timeout, pieces.next()).await {
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

/// How long to wait for the head of the response, or the next chunk of its body, after the request was sent.
fn response_timeout(request: &http::request::Parts, body_bytes: usize) -> Duration {
    let query = request.uri.query().unwrap_or_default();
    let has = |word: &str| query.split('&').any(|pair| pair.starts_with(word));
    // First the form of S3, compatible stores and Google, then Azure's.
    let completes = request.method == Method::POST && has("uploadId=") || has("comp=blocklist");
    if completes {
        COMPLETE
    } else if body_bytes > SMALL_BYTES {
        STORED
    } else {
        SILENCE
    }
}

/// The progress of a request.
struct Progress {
    begun: Instant,
    /// When a chunk of the body was last sent, in milliseconds since `begun`.
    last: AtomicU64,
    /// All of the body was sent.
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

    /// When the request fails if there is no progress until then.
    fn deadline(&self, timeout: Duration) -> Instant {
        let wait = if self.is_sent.load(Ordering::Acquire) { timeout } else { STALL };
        self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed)) + wait
    }
}

/// A request body that records its progress.
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

/// A failed connection; trying again may help.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "the object store could not be reached").set_source(error).set_temporary()
}

fn silent() -> Error {
    Error::new(ErrorKind::Unexpected, "the object store did not answer in time").set_temporary()
}
