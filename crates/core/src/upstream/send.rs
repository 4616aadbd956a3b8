//! One request on the wire: its deadline, a stalled upload, why there is no answer, and what an answer means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use url::Url;

use super::authorize::{Chain, failure_of};
use super::limits::SHORT_WAIT;
use super::memory::{Attempt, Health};
use super::reply::{Negative, Reply};
use super::reports::FailureKind;
use super::{Address, NO_URI, Upstream};
use crate::body::{Body, Observe};
use crate::coding;
use crate::error::{Failure, Trouble, UpstreamText};
use crate::notification::{EventKind, Notification};
use crate::platform::{Moment, Outgoing, Platform, Reach, RequestPurpose, TransportError, within};
use crate::range::ContentRange;
use crate::secret::SafeUrl;

/// Largest error body that is read for its message.
const ERROR_BODY_BYTES: u64 = 8 << 10;
/// How long an error's body may take: its status is what matters.
const ERROR_BODY_TIME: Duration = Duration::from_secs(2);

impl Upstream {
    /// Sends a request to one of the registry's own addresses.
    pub(super) async fn send_once(
        &self,
        address: &Address,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Body,
        purpose: RequestPurpose,
    ) -> Result<Response<Body>, Failure> {
        let destination = Destination { health: &address.health, reach: Reach::Configured };
        let TimedAnswer { answer, began, ended } =
            self.timed(destination, method, uri, headers, body, purpose).await;
        self.follow_outage(began, ended, answer.is_ok());
        answer.map_err(|error| self.explain(&address.url, &error))
    }

    /// Says when none of its addresses answers any more, and when one does again.
    fn follow_outage(&self, sent: Moment, now: Moment, is_answered: bool) {
        let Platform { notifications, .. } = &self.platform;
        let upstream = self.name();
        if is_answered {
            if let Some(down) = self.learned.outage.answered(now) {
                let notification =
                    || Notification::UpstreamUp { upstream: upstream.into(), down_seconds: down.as_secs() };
                notifications.happened(EventKind::UpstreamUp, now.0, notification);
            }
            return;
        }
        let resting = self.addresses.iter().find(|address| address.health.is_resting(now));
        let all_rest = self.addresses.iter().all(|address| address.health.is_resting(now));
        if let Some(address) = resting
            && all_rest
            && self.learned.outage.all_fail(sent, now)
        {
            let why = address.health.trouble().to_string().into();
            let notification = || Notification::UpstreamDown { upstream: upstream.into(), why };
            notifications.happened(EventKind::UpstreamDown, now.0, notification);
        }
    }

    /// Sends a request, and records the health of its destination.
    pub(super) async fn send_to(
        &self,
        destination: Destination<'_>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Body,
        purpose: RequestPurpose,
    ) -> Result<Response<Body>, SendError> {
        self.timed(destination, method, uri, headers, body, purpose).await.answer
    }

    async fn timed(
        &self,
        destination: Destination<'_>,
        method: Method,
        uri: Uri,
        mut headers: HeaderMap,
        body: Body,
        purpose: RequestPurpose,
    ) -> TimedAnswer {
        // A blob is never decoded on the way, so it must not be coded (P-93).
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        let deadline = ResponseDeadline::with(&method, &body);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let began = self.platform.clock.now();
        let response = self
            .deliver(Outgoing { request, upstream: self.index, reach: destination.reach, purpose }, deadline)
            .await;
        let ended = self.platform.clock.now();
        match &response {
            Ok(_) => {
                destination.health.answered(ended);
                self.catch_up(ended);
            }
            Err(SendError::Transport(TransportError::Connect { why, .. })) => {
                destination.health.unconnected(Trouble::Unconnected(*why), began, ended, self.timeouts.down.0);
            }
            Err(SendError::TimedOut) if deadline != ResponseDeadline::Work => {
                destination.health.timed_out(began, ended, self.timeouts.down.0);
            }
            Err(_) => {}
        }
        if !matches!(response, Err(SendError::ClientBody)) {
            let status = response.as_ref().ok().map(Response::status);
            if status.is_some() {
                self.learned.latency.note(ended.since(began));
            }
            self.counters().upstream_answered(ended.since(began), status);
        }
        let answer = match response {
            // The reader of a document decodes it, or refuses it.
            Ok(response)
                if purpose == RequestPurpose::Blob
                    && response.status().is_success()
                    && coding::is_coded(response.headers()) =>
            {
                Err(SendError::Coded)
            }
            answered => answered,
        };
        TimedAnswer { answer, began, ended }
    }

    /// The answer, if it begins before the deadline.
    async fn deliver(
        &self,
        mut outgoing: Outgoing,
        deadline: ResponseDeadline,
    ) -> Result<Response<Body>, SendError> {
        let clock = &*self.platform.clock;
        let stall = self.timeouts.client_stall.0;
        if !matches!(outgoing.request.body(), Body::Stream(_)) {
            let limit = match deadline {
                ResponseDeadline::Question => self.timeouts.first_byte.0,
                ResponseDeadline::Order => self.timeouts.head.0,
                ResponseDeadline::Work => stall,
            };
            let answer = within(clock, limit, self.platform.transport.send(outgoing)).await;
            return answer.map_err(|_| SendError::TimedOut)?.map_err(SendError::Transport);
        }
        // The answer comes after the last byte of the upload, however long that takes; but bytes must move.
        let upload = Arc::new(UploadProgress::default());
        outgoing.request = outgoing.request.map(|body| body.observed(Watching(Arc::clone(&upload))));
        let mut sending = self.platform.transport.send(outgoing);
        loop {
            let before = upload.moves();
            match select(sending, clock.sleep(stall)).await {
                Either::Left((response, _)) => {
                    return response.map_err(|error| upload.explain(SendError::Transport(error)));
                }
                Either::Right(((), unfinished)) if upload.moves() != before => sending = unfinished,
                Either::Right(_) => return Err(upload.explain(SendError::TimedOut)),
            }
        }
    }

    /// A permit to ask an address; `None`: it rests after a failure.
    pub(super) fn turn<'a>(&self, health: &'a Health) -> Option<Attempt<'a>> {
        health.turn_at_once().or_else(|| health.turn(self.platform.clock.now(), self.timeouts.first_byte.0))
    }

    /// The failure for an address that rests: its last failure.
    pub(super) fn resting(&self, health: &Health) -> Failure {
        Failure::Resting { trouble: health.trouble(), left: health.left(self.platform.clock.now()) }
    }

    /// Logs failures that were counted and not logged: the upstream answers, and perhaps no other failure follows.
    fn catch_up(&self, now: Moment) {
        for (kind, repeated) in self.learned.reports.overdue(now) {
            tracing::warn!(
                upstream = self.name(),
                kind = kind.as_str(),
                repeated,
                "the upstream failed again since the last report"
            );
        }
    }

    /// Logs why there is no answer: one line for many failures of a kind.
    pub(super) fn explain(&self, url: &Url, error: &SendError) -> Failure {
        let failure = match error {
            SendError::TimedOut => Failure::TimedOut,
            SendError::Coded => Failure::Coded,
            SendError::Transport(error) => failure_of(error),
            SendError::ClientBody => Failure::ClientBody,
        };
        if let Some(repeated) = FailureKind::of(&failure).and_then(|kind| self.report(kind)) {
            let error = Chain(error);
            tracing::warn!(upstream = self.name(), url = %SafeUrl(url), %error, repeated, "upstream gave no answer");
        }
        failure
    }

    /// How long to wait for a server that answers 429 or 503, if that is short enough (P-119).
    pub(super) fn comes_back_soon(&self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Some(self.retry_after(headers)).filter(|wait| *wait <= SHORT_WAIT)
            }
            _ => None,
        }
    }

    /// The errors in the body of an answer; none if the body is slow, large or coded.
    pub(super) async fn error_text(&self, response: Response<Body>) -> UpstreamText {
        let body = response.into_body().collect(ERROR_BODY_BYTES);
        match within(&*self.platform.clock, ERROR_BODY_TIME, body).await {
            Ok(Ok(body)) => self.said(&body),
            Ok(Err(_)) | Err(_) => UpstreamText::default(),
        }
    }

    /// What an answer means.
    pub(super) async fn classify(&self, response: Response<Body>) -> Reply {
        let status = response.status();
        match status {
            _ if status.is_success() || status == StatusCode::NOT_MODIFIED => Ok(response),
            StatusCode::TOO_MANY_REQUESTS => {
                Err(Negative::Limited { retry_after: self.retry_after(response.headers()) })
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Err(Negative::Unsatisfiable {
                total: match ContentRange::parse(response.headers().get(CONTENT_RANGE)) {
                    Some(ContentRange::Unsatisfied { total }) => Some(total),
                    _ => None,
                },
            }),
            _ if status.is_client_error() => {
                let text = self.error_text(response).await;
                Err(match status {
                    StatusCode::NOT_FOUND => Negative::Missing(text),
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Negative::Refused(text),
                    _ => Negative::Declined(status, text),
                })
            }
            _ => Err(Negative::Failed(Failure::Status(status))),
        }
    }
}

/// An address as the transport takes it.
pub(super) fn uri_of(url: &str) -> Result<Uri, Failure> {
    url.parse().map_err(|_| NO_URI)
}

/// What became of a request, and when.
struct TimedAnswer {
    answer: Result<Response<Body>, SendError>,
    began: Moment,
    ended: Moment,
}

/// Where a request goes.
pub(super) struct Destination<'a> {
    /// The health of the host.
    pub(super) health: &'a Health,
    /// Which addresses the connection may reach.
    pub(super) reach: Reach,
}

/// How long an answer may take to begin, by what the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseDeadline {
    /// It only reads: `timeouts.first_byte`.
    Question,
    /// It has no body and is done quickly, as beginning an upload is: `timeouts.head`.
    Order,
    /// It has a body or ends an upload, and a registry may take minutes to store a large layer: `timeouts.client_stall`.
    /// However slow that is, it says nothing of the address.
    Work,
}

impl ResponseDeadline {
    fn with(method: &Method, body: &Body) -> Self {
        match (method, body) {
            (&Method::GET | &Method::HEAD, _) => Self::Question,
            (&Method::POST | &Method::DELETE, Body::Empty) => Self::Order,
            _ => Self::Work,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("no answer in time")]
    TimedOut,
    #[error("compressed content although asked not to")]
    Coded,
    /// Not the upstream's failure: the client's body broke off, or stalled.
    #[error("the client's body broke off")]
    ClientBody,
    #[error(transparent)]
    Transport(TransportError),
}

/// The progress of a client's body to the upstream: whether it moves, and who is at fault if it does not.
#[derive(Default)]
struct UploadProgress {
    moves: AtomicU64,
    /// The upstream has taken all there is, and waits for the client.
    is_awaited: AtomicBool,
    is_broken: AtomicBool,
}

impl UploadProgress {
    /// A number that changes when bytes move.
    fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// The error, or [`SendError::ClientBody`] if the client caused it: a transport reports a broken body like any failure.
    fn explain(&self, error: SendError) -> SendError {
        let is_clients = match &error {
            SendError::TimedOut => self.is_awaited.load(Ordering::Relaxed),
            SendError::Transport(_) => self.is_broken.load(Ordering::Relaxed),
            SendError::Coded | SendError::ClientBody => false,
        };
        if is_clients { SendError::ClientBody } else { error }
    }
}

/// Tells an [`UploadProgress`] what its body does.
struct Watching(Arc<UploadProgress>);

impl Observe for Watching {
    fn came(&mut self) {
        self.0.is_awaited.store(false, Ordering::Relaxed);
        self.0.moved();
    }

    fn awaited(&mut self) {
        self.0.is_awaited.store(true, Ordering::Relaxed);
    }

    fn ended(&mut self) {
        self.0.is_awaited.store(false, Ordering::Relaxed);
    }

    fn arrived(&mut self, _bytes: u64) {
        self.0.moved();
    }

    fn broke(&mut self) {
        self.0.is_broken.store(true, Ordering::Relaxed);
    }
}
