//! One log line and one count for each request. The entry begins with the request and is written when it is dropped, which also
//! happens when the client leaves before its answer begins.

mod shown;

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Response, StatusCode};
use tracing::Span;

use self::shown::shown;
use super::id::RequestId;
use super::response::{HandlerResponse, HeldHeader};
use super::short_text::ShortText;
use crate::body::{Body, Observe};
use crate::config::LoggedClient;
use crate::error::Error;
use crate::headers::{API_VERSION, X_REGISTRY_PROXY, X_REQUEST_ID};
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::{Clock, Moment};
use crate::quota::{Linked, QuotaPass};
use crate::route::{Endpoint, Target};
use crate::spans::{self, AnsweredRequest};
use crate::telemetry::{Answered, RequestCounters};
use crate::traffic::Traffic;
use crate::upstream::Upstream;

/// Most bytes of a method in a log line; all methods that mean something here are shorter.
const METHOD_BYTES: usize = 32;
/// Most bytes of a user's name.
const USER_BYTES: usize = 128;
/// Most bytes of `User-Agent`.
const AGENT_BYTES: usize = 256;
/// Most bytes of an error.
const ERROR_BYTES: usize = 1024;

/// What a request is about, as far as is known. Never its raw path, which may contain a secret.
pub(crate) struct LogSubject {
    endpoint: &'static str,
    /// Of the upstream, once it is known.
    pub(crate) counters: Option<Arc<RequestCounters>>,
    target: Option<Arc<Target>>,
    /// The client's user name; with `auth = "upstream"` one that the registry accepted.
    pub(crate) user: Option<Box<str>>,
    /// The OIDC issuer that vouches for the client.
    pub(crate) issuer: Option<Box<str>>,
    error: Option<String>,
    /// Counts the answer's bytes against the quotas.
    pub(crate) pass: Option<QuotaPass>,
    /// Counts it for the plots, where there are any.
    pub(crate) traffic: Option<Arc<Traffic>>,
    /// Of the request; it ends with its log entry.
    span: Span,
}

impl LogSubject {
    /// Takes the upstream and the target.
    pub(crate) fn name(&mut self, upstream: &Upstream, target: &Arc<Target>, method: &Method) {
        self.counters = Some(Arc::clone(upstream.counters()));
        self.target = Some(Arc::clone(target));
        let endpoint = match &target.endpoint {
            Endpoint::Manifest(_) => "manifest",
            Endpoint::Blob(_) => "blob",
            Endpoint::Referrers(_) => "referrers",
            Endpoint::Tags => "tags",
            Endpoint::Uploads | Endpoint::Upload => "upload",
        };
        self.is_for(endpoint, method);
    }

    /// Takes what the request is for.
    pub(crate) fn is_for(&mut self, endpoint: &'static str, method: &Method) {
        self.endpoint = endpoint;
        spans::name(&self.span, method, endpoint);
    }

    fn new(span: Span) -> Self {
        Self {
            endpoint: "",
            counters: None,
            target: None,
            user: None,
            issuer: None,
            error: None,
            pass: None,
            traffic: None,
            span,
        }
    }

    /// The repository, and what is wanted there.
    pub(crate) fn target(&self) -> Option<&Target> {
        self.target.as_deref()
    }

    fn repository(&self) -> &str {
        self.target.as_ref().map_or("", |target| target.name.as_str())
    }

    fn reference(&self) -> &str {
        match self.target.as_ref().map(|target| &target.endpoint) {
            Some(Endpoint::Manifest(reference)) => reference.as_str(),
            Some(Endpoint::Blob(digest) | Endpoint::Referrers(digest)) => digest.as_str(),
            Some(Endpoint::Tags | Endpoint::Uploads | Endpoint::Upload) | None => "",
        }
    }
}

/// What the log takes from a request.
pub(crate) struct RequestSummary<'a> {
    pub(crate) id: RequestId,
    pub(crate) method: &'a Method,
    /// `User-Agent`
    pub(crate) agent: Option<&'a HeaderValue>,
    /// The client, as `log.client` lets it be written.
    pub(crate) client: Option<LoggedClient>,
}

/// What all entries share.
pub(crate) struct AccessLog {
    clock: Arc<dyn Clock>,
    /// Counts requests that name no upstream.
    no_upstream: Arc<RequestCounters>,
}

impl AccessLog {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock: Arc::clone(clock), no_upstream: RequestCounters::new("") })
    }
}

/// The log entry of a request, written and counted when it is dropped.
pub(crate) struct LogEntry {
    started: Moment,
    id: RequestId,
    /// As the log may show it.
    pub(crate) client: Option<LoggedClient>,
    agent: Option<HeaderValue>,
    method: Method,
    status: StatusCode,
    outcome: Outcome,
    pub(crate) subject: LogSubject,
    sent_bytes: u64,
    expected_bytes: Option<u64>,
    is_broken: bool,
    log: Arc<AccessLog>,
}

/// nginx's status for a client that did not wait for its answer. It is only logged, never sent.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT)
}

impl LogEntry {
    /// Begins the entry of a new request, which has this span.
    pub(crate) fn begin(asked: RequestSummary<'_>, log: &Arc<AccessLog>, span: Span) -> Self {
        Self {
            started: log.clock.now(),
            id: asked.id,
            client: asked.client,
            agent: asked.agent.cloned(),
            method: asked.method.clone(),
            status: client_left(),
            outcome: Outcome::new(Action::Abandoned, Reason::ClientLeft),
            subject: LogSubject::new(span),
            sent_bytes: 0,
            expected_bytes: None,
            is_broken: false,
            log: Arc::clone(log),
        }
    }

    /// Where the request counts.
    pub(crate) fn counters(&self) -> &RequestCounters {
        self.subject.counters.as_ref().unwrap_or(&self.log.no_upstream)
    }

    /// Adds the headers that every response carries, and counts its bytes as they leave.
    pub(crate) fn finish(mut self, result: Result<HandlerResponse, Error>, path: &str) -> Response<Body> {
        let (response, outcome) = match result {
            Ok(answer) => (answer.response, answer.outcome),
            Err(error) => {
                self.subject.error = std::error::Error::source(&error).map(ToString::to_string);
                (error.to_response(self.counters().upstream()), error.outcome())
            }
        };
        (self.status, self.outcome) = (response.status(), outcome);
        if self.status == StatusCode::UNAUTHORIZED {
            // The login was not accepted, so the user name is not proven.
            self.subject.user = None;
        }
        self.expected_bytes = response.body().length();
        if let (Some(pass), Some(Linked(bytes))) = (&self.subject.pass, response.extensions().get()) {
            pass.sent(*bytes);
        }
        let mut response = if self.method == Method::HEAD { without_body(response) } else { response };
        let held = response.extensions().get().map(|HeldHeader(value)| value.clone());
        let headers = response.headers_mut();
        if self.subject.target.is_some() || path == "/v2" || path.contains("/v2/") || path.ends_with("/v2") {
            headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        }
        headers.insert(X_REGISTRY_PROXY, held.unwrap_or_else(|| outcome.to_header()));
        headers.insert(X_REQUEST_ID, self.id.to_header());
        response.map(|body| match body {
            Body::Empty => body,
            Body::Full(_) | Body::Stream(_) | Body::Native(_) => body.observed(self),
        })
    }
}

/// HEAD stays HEAD: the headers of a GET, and no body (P-79).
fn without_body(mut response: Response<Body>) -> Response<Body> {
    let length = match response.body() {
        // A handler that gives an empty body to a HEAD may not know the length.
        Body::Empty => None,
        body => body.length(),
    };
    if let (Some(length), false) = (length, response.headers().contains_key(CONTENT_LENGTH)) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response.map(|_| Body::Empty)
}

impl Drop for LogEntry {
    fn drop(&mut self) {
        let after: Duration = self.log.clock.now().since(self.started);
        self.counters().answered(&Answered {
            endpoint: self.subject.endpoint,
            method: &self.method,
            status: self.status,
            outcome: self.outcome,
            sent_bytes: self.sent_bytes,
            is_broken: self.is_broken,
        });
        if let Some(traffic) = &self.subject.traffic {
            traffic.count(self.outcome, self.sent_bytes, self.started.after(after));
        }
        let is_whole = self.outcome.action != Action::Abandoned
            && (self.method == Method::HEAD
                || self.expected_bytes.is_none_or(|expected| expected == self.sent_bytes));
        let end = match (self.is_broken, is_whole) {
            (true, _) => "broken",
            (false, false) => "client left",
            (false, true) => "complete",
        };
        let client = self.client.map(ShortText::of_client);
        let method = shown(self.method.as_str().as_bytes(), METHOD_BYTES);
        let user = self.subject.user.as_deref().map(|user| shown(user.as_bytes(), USER_BYTES));
        let agent = self.agent.as_ref().map(|agent| shown(agent.as_bytes(), AGENT_BYTES));
        let error = self.subject.error.as_deref().map(|error| shown(error.as_bytes(), ERROR_BYTES));
        if !self.subject.span.is_disabled() {
            let answered = AnsweredRequest {
                id: self.id.as_str(),
                client: client.as_ref().map(ShortText::as_str),
                endpoint: self.subject.endpoint,
                upstream: self.counters().upstream(),
                repository: self.subject.repository(),
                reference: self.subject.reference(),
                status: self.status,
                outcome: self.outcome,
                end,
                sent_bytes: self.sent_bytes,
            };
            answered.record(&self.subject.span);
        }
        let message = ShortText::joined(&[&*method, " ", self.status.as_str()]);
        tracing::info!(
            target: "registry_proxy::request",
            message = message.as_str(),
            request.id = self.id.as_str(),
            client = client.as_ref().map(ShortText::as_str),
            user = user.as_deref(),
            issuer = self.subject.issuer.as_deref(),
            agent = agent.as_deref(),
            method = &*method,
            endpoint = self.subject.endpoint,
            upstream = &**self.counters().upstream(),
            repository = self.subject.repository(),
            reference = self.subject.reference(),
            status = self.status.as_u16(),
            outcome = self.outcome.action.as_str(),
            why = self.outcome.reason.as_str(),
            end = end,
            size_bytes = self.sent_bytes,
            duration_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            error = error.as_deref()
        );
    }
}

impl Observe for LogEntry {
    fn arrived(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
        if let Some(pass) = &self.subject.pass {
            pass.sent(bytes);
        }
    }

    /// Bytes that may have been sent count against the quotas; the log says what was sent for sure.
    fn unfinished(&mut self, bytes: u64) {
        if let Some(pass) = &self.subject.pass {
            pass.sent(bytes);
        }
    }

    fn broke(&mut self) {
        self.is_broken = true;
    }
}
