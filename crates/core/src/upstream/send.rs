//! One request out: its deadline, its standstill, what kept an answer from coming, and what an answer means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use url::Url;

use super::authorize::{Chain, failure_of};
use super::reply::{Failure, Reply, UpstreamText};
use super::{Address, Upstream};
use crate::body::{Body, Observe};
use crate::platform::{Clock, Outgoing, Purpose, Reach, TransportError, within};
use crate::range::ContentRange;
use crate::secret::SafeUrl;

/// Largest error body that is read for its message.
const ERROR_BODY_BYTES: u64 = 8 << 10;
/// How long an error's body may take: its status is what matters.
const ERROR_BODY_TIME: Duration = Duration::from_secs(2);
impl Upstream {
    /// One request to an address of the registry's own; its health is kept.
    pub(super) async fn send_once(
        &self,
        address: &Address,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Body,
        purpose: Purpose,
    ) -> Result<Response<Body>, Failure> {
        let is_read = is_read(&method);
        let sent = self.platform.clock.now();
        let response = self.send_to(method, url, headers, body, Reach::Configured, purpose).await;
        let (now, rest) = (self.platform.clock.now(), self.timeouts.down.0);
        match &response {
            Ok(_) => address.health.answered(now),
            Err(SendError::Transport(TransportError::Connect(_))) => address.health.failed(now, rest),
            Err(SendError::TimedOut) if is_read => address.health.timed_out(sent, now, rest),
            // A write may be slow at either end: that says nothing of the address.
            Err(_) => {}
        }
        response.map_err(|error| self.explain(&address.url, &error))
    }

    /// One request, with the deadline of its first byte.
    pub(super) async fn send_to(
        &self,
        method: Method,
        url: &str,
        mut headers: HeaderMap,
        body: Body,
        reach: Reach,
        purpose: Purpose,
    ) -> Result<Response<Body>, SendError> {
        let uri = url.parse::<http::Uri>().map_err(|_| SendError::Nonsense("address"))?;
        // Never decoded on the way, so never coded (P-93).
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        let method_sent = method.clone();
        let progress = Arc::new(AtomicU64::new(0));
        let is_stream = matches!(body, Body::Stream(_));
        let body = if is_stream { body.observed(Progress(Arc::clone(&progress))) } else { body };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        // A registry may take minutes to put a large layer in its place, and only then answers the last PUT.
        let limit = if is_read(&method_sent) { self.timeouts.first_byte.0 } else { self.timeouts.client_stall.0 };
        let started = self.platform.clock.now();
        let sending = self.platform.transport.send(Outgoing { request, upstream: self.index, reach, purpose });
        let clock = &*self.platform.clock;
        let response = if is_stream {
            // The answer comes when the last byte is there, however long that takes; but bytes must move.
            let mut sending = sending;
            loop {
                let before = progress.load(Ordering::Relaxed);
                match select(sending, clock.sleep(self.timeouts.client_stall.0)).await {
                    Either::Left((response, _)) => break response.map_err(SendError::Transport),
                    Either::Right(((), unfinished)) if progress.load(Ordering::Relaxed) != before => {
                        sending = unfinished;
                    }
                    Either::Right(_) => break Err(SendError::TimedOut),
                }
            }
        } else {
            match within(clock, limit, sending).await {
                Ok(response) => response.map_err(SendError::Transport),
                Err(_) => Err(SendError::TimedOut),
            }
        };
        crate::telemetry::upstream_answered(
            self.label(),
            clock.now().since(started),
            response.as_ref().ok().map(Response::status),
        );
        let response = response?;
        let coding = response.headers().get(CONTENT_ENCODING);
        if response.status().is_success()
            && coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return Err(SendError::Coded);
        }
        Ok(response)
    }

    /// Logs why there is no answer, once, where it is known.
    pub(super) fn explain(&self, url: &Url, error: &SendError) -> Failure {
        let failure = match error {
            SendError::TimedOut => Failure::TimedOut,
            SendError::Coded => Failure::Coded,
            SendError::Nonsense(what) => Failure::Nonsense(what),
            SendError::Transport(error) => failure_of(error),
        };
        tracing::warn!(upstream = self.name(), url = %SafeUrl(url), error = %Chain(error), "upstream gave no answer");
        failure
    }

    /// What an answer means.
    pub(super) async fn classify(&self, response: Response<Body>) -> Reply {
        let status = response.status();
        match status {
            _ if status.is_success() || status == StatusCode::NOT_MODIFIED => Reply::Found(response),
            StatusCode::TOO_MANY_REQUESTS => Reply::Limited { retry_after: self.retry_after(response.headers()) },
            StatusCode::RANGE_NOT_SATISFIABLE => Reply::Unsatisfiable {
                total: match ContentRange::parse(response.headers().get(CONTENT_RANGE)) {
                    Some(ContentRange::Unsatisfied { total }) => Some(total),
                    _ => None,
                },
            },
            _ if status.is_client_error() => {
                let text = error_text(&*self.platform.clock, response).await;
                match status {
                    StatusCode::NOT_FOUND => Reply::Missing(text),
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reply::Refused(text),
                    _ => Reply::Declined(status, text),
                }
            }
            _ => Reply::Failed(Failure::Status(status)),
        }
    }
}

/// Whether a request only asks.
fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The words of an error's body; a slow or large one says nothing.
pub(super) async fn error_text(clock: &dyn Clock, response: Response<Body>) -> UpstreamText {
    match within(clock, ERROR_BODY_TIME, response.into_body().collect(ERROR_BODY_BYTES)).await {
        Ok(Ok(body)) => UpstreamText::parse(&body),
        _ => UpstreamText::default(),
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("no answer in time")]
    TimedOut,
    #[error("compressed content although asked not to")]
    Coded,
    #[error("{0} makes no sense")]
    Nonsense(&'static str),
    #[error(transparent)]
    Transport(TransportError),
}

/// Counts what passes, so that a standstill can be told from a long way.
struct Progress(Arc<AtomicU64>);

impl Observe for Progress {
    fn arrived(&mut self, _bytes: u64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
