//! Spans of what a request does, for a platform that exports traces: `tracing` spans of the finest level, with a target of
//! their own. While nobody listens to the target, making one costs a comparison.
//!
//! Spans of requests to upstreams and of the store's operations are made by the platform around its transport and store.
//! A span contains what the log line contains, and no URL.

use http::{Method, StatusCode};
use tracing::Span;
use tracing::field::Empty;

use crate::outcome::{Action, Outcome};

/// The target of all spans.
pub const TARGET: &str = "registry_proxy::spans";

/// A client's request, to the last byte of its answer.
pub(crate) fn request(method: &Method) -> Span {
    tracing::trace_span!(
        target: TARGET,
        "request",
        otel.name = known(method),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = known(method),
        http.response.status_code = Empty,
        http.response.body.size = Empty,
        client.address = Empty,
        "error.type" = Empty,
        registry_proxy.request_id = Empty,
        registry_proxy.endpoint = Empty,
        registry_proxy.upstream = Empty,
        registry_proxy.repository = Empty,
        registry_proxy.reference = Empty,
        registry_proxy.outcome = Empty,
        registry_proxy.why = Empty,
        registry_proxy.end = Empty
    )
}

/// Names the span of a request, once it is known what it is about. Later than its first child a span has its name for good.
pub(crate) fn name(span: &Span, method: &Method, endpoint: &str) {
    if !span.is_disabled() {
        span.record("otel.name", format!("{} {endpoint}", known(method)));
    }
}

/// What is known of a request when its answer has been sent: the fields of its log line.
pub(crate) struct AnsweredRequest<'a> {
    pub(crate) id: &'a str,
    pub(crate) client: Option<&'a str>,
    pub(crate) endpoint: &'static str,
    pub(crate) upstream: &'a str,
    pub(crate) repository: &'a str,
    pub(crate) reference: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) outcome: Outcome,
    pub(crate) end: &'static str,
    pub(crate) sent_bytes: u64,
}

impl AnsweredRequest<'_> {
    /// Adds it to the span of the request.
    pub(crate) fn record(&self, span: &Span) {
        span.record("http.response.status_code", self.status.as_u16());
        span.record("http.response.body.size", self.sent_bytes);
        for (name, value) in [
            ("client.address", self.client.unwrap_or_default()),
            ("registry_proxy.request_id", self.id),
            ("registry_proxy.endpoint", self.endpoint),
            ("registry_proxy.upstream", self.upstream),
            ("registry_proxy.repository", self.repository),
            ("registry_proxy.reference", self.reference),
            ("registry_proxy.outcome", self.outcome.action.as_str()),
            ("registry_proxy.why", self.outcome.reason.as_str()),
            ("registry_proxy.end", self.end),
        ] {
            if !value.is_empty() {
                span.record(name, value);
            }
        }
        // A client's mistake is no error of ours (OpenTelemetry semantic conventions, HTTP server spans).
        if self.status.is_server_error() || self.outcome.action == Action::Failed {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", self.outcome.reason.as_str());
        }
    }
}

/// The method, from a closed set: any other is a client's own text.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "_OTHER",
    }
}

/// A token that is fetched from an upstream's token server, its redirects and a second try included.
pub(crate) fn token(upstream: &str) -> Span {
    tracing::trace_span!(
        target: TARGET,
        "token",
        registry_proxy.upstream = upstream,
        registry_proxy.result = Empty,
        otel.status_code = Empty
    )
}

/// A blob that is brought into the store, whole or in ranges: it may outlast the request that began it.
pub(crate) fn fill(name: &'static str, upstream: &str, digest: &str, size_bytes: u64) -> Span {
    tracing::trace_span!(
        target: TARGET,
        "fill",
        otel.name = name,
        registry_proxy.upstream = upstream,
        registry_proxy.reference = digest,
        registry_proxy.size_bytes = size_bytes,
        registry_proxy.result = Empty,
        otel.status_code = Empty
    )
}

/// Adds how the work of the current span ended.
pub(crate) fn ended(result: &'static str, is_error: bool) {
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    span.record("registry_proxy.result", result);
    if is_error {
        span.record("otel.status_code", "ERROR");
    }
}
