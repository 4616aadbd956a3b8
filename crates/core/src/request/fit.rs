//! Adapts a response to what the platform lets through. It removes the length from a response that is too large to have
//! one, and the digest where a HEAD loses its length. It keeps headers within their limit. Where the platform stops us
//! after a response, it holds the last bytes until the request's work is done.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body as _, Frame};

use crate::body::{Body, BodyError, Frames, Polled};
use crate::cache::Cache;
use crate::delivery::{goes_unmeasured, header_bytes};
use crate::error::{Error, Failure};
use crate::headers::{DOCKER_CONTENT_DIGEST, X_REGISTRY_PROXY, X_REQUEST_ID};
use crate::platform::Capabilities;
use crate::request::response::HandlerResponse;

/// How long the end of a response is held for the work that its request began.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Refuses an answer whose client could not tell whether all of it has come.
pub(crate) fn seen_whole(capabilities: &Capabilities, answer: HandlerResponse) -> Result<HandlerResponse, Error> {
    if !capabilities.breaks_chunked && answer.response.body().length().is_none() {
        return Err(Error::Upstream(Failure::Nonsense("a body of unknown length")));
    }
    Ok(answer)
}

/// A request until the work that it began is done. The platform does not stop us while another one is active. `None`:
/// it has ended.
pub(crate) struct ActiveRequest(Option<Arc<AtomicUsize>>);

impl ActiveRequest {
    /// Counts a request. `None`: the platform does not stop us after a response, so requests need not be counted.
    pub(crate) fn begin(capabilities: &Capabilities, count: &Arc<AtomicUsize>) -> Option<Self> {
        (!capabilities.outlives_response).then(|| {
            count.fetch_add(1, Ordering::AcqRel);
            Self(Some(Arc::clone(count)))
        })
    }

    /// Ends the request. Returns whether it was the last. One atomic step: of two that end together, one is the last.
    fn leave(&mut self) -> bool {
        self.0.take().is_some_and(|count| count.fetch_sub(1, Ordering::AcqRel) == 1)
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Adapts the response.
pub(crate) async fn fit(
    capabilities: &Capabilities,
    is_head: bool,
    cache: Option<&Arc<Cache>>,
    under_way: Option<ActiveRequest>,
    mut response: Response<Body>,
) -> Response<Body> {
    let length = response.body().length();
    if is_head && !capabilities.head_length_reliable {
        // A digest without a length, or with one of zero, is an error for the engine and for containerd; without
        // either they ask by GET (P-78).
        response.headers_mut().remove(DOCKER_CONTENT_DIGEST);
    }
    if !is_head && !capabilities.passes_empty && lacks_bytes(&response) {
        response.headers_mut().insert(CONTENT_LENGTH, FEW_BYTES.len().into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response = response.map(|_| Body::from(Bytes::from_static(FEW_BYTES)));
    }
    if !is_head && goes_unmeasured(capabilities, length) {
        response.headers_mut().remove(CONTENT_LENGTH);
        response = response.map(|body| Body::stream(body, None));
    }
    let headers = response.headers_mut();
    let is_too_long =
        |headers: &HeaderMap| header_bytes(headers) + PLATFORM_HEADERS > capabilities.max_response_headers;
    if is_too_long(headers) {
        for spare in [X_REGISTRY_PROXY, X_REQUEST_ID, ETAG] {
            if is_too_long(headers) {
                headers.remove(spare);
            }
        }
    }
    match (cache, under_way) {
        (Some(cache), Some(under_way)) => flushed(response, cache, under_way).await,
        _ => response,
    }
}

/// Takes the place of an empty body that may have bytes, where the platform carries none.
const FEW_BYTES: &[u8] = b"see the headers\n";

/// Whether it is a redirect or a response to a push, without a body. Content is never replaced: the empty blob has no
/// bytes.
fn lacks_bytes(response: &Response<Body>) -> bool {
    let status = response.status();
    let may_have_some = status.is_redirection() && status != StatusCode::NOT_MODIFIED
        || matches!(status, StatusCode::CREATED | StatusCode::ACCEPTED);
    may_have_some && matches!(response.body(), Body::Empty)
}

/// Header bytes that the server and the platform add, at most.
const PLATFORM_HEADERS: usize = 256;

/// Holds the end of the response until pending writes are in the store.
async fn flushed(response: Response<Body>, cache: &Arc<Cache>, mut under_way: ActiveRequest) -> Response<Body> {
    if matches!(response.body(), Body::Empty | Body::Full(_)) {
        if under_way.leave() {
            cache.backend.flush(FLUSH_LIMIT).await;
        }
        return response;
    }
    let length = response.body().length();
    let cache = Arc::clone(cache);
    let state = FlushState::Open(cache);
    response.map(|inner| Body::frames(FlushedBody { inner, last: None, error: None, state, under_way }, length))
}

/// A body that holds one piece back, the last until the store is written: after it the platform stops us.
struct FlushedBody {
    inner: Body,
    last: Option<Frame<Bytes>>,
    /// The error that ended the body.
    error: Option<BodyError>,
    state: FlushState,
    under_way: ActiveRequest,
}

enum FlushState {
    Open(Arc<Cache>),
    Waiting(BoxFuture<'static, ()>),
    Over,
}

impl Frames for FlushedBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let this = self;
        loop {
            match &mut this.state {
                FlushState::Open(cache) => match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        if let Some(before) = this.last.replace(frame) {
                            return Poll::Ready(Some(Ok(before)));
                        }
                    }
                    end => {
                        this.error = end.and_then(Result::err);
                        let cache = Arc::clone(cache);
                        this.state = if this.under_way.leave() {
                            FlushState::Waiting(Box::pin(async move {
                                cache.backend.flush(FLUSH_LIMIT).await;
                            }))
                        } else {
                            FlushState::Over
                        };
                    }
                },
                FlushState::Waiting(flushed) => {
                    ready!(flushed.as_mut().poll(cx));
                    this.state = FlushState::Over;
                }
                FlushState::Over => {
                    return Poll::Ready(this.last.take().map(Ok).or_else(|| this.error.take().map(Err)));
                }
            }
        }
    }
}
