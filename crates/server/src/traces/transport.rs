//! Requests to upstreams, each with a span that ends when its answer begins.

use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
use registry_proxy_core::platform::{Outgoing, Reach, RequestPurpose, Transport, TransportError};
use registry_proxy_core::{Body, Config, spans};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::propagation;

/// A transport with spans.
pub(super) struct TracedTransport {
    inner: Arc<dyn Transport>,
    upstreams: Vec<TracedUpstream>,
}

struct TracedUpstream {
    name: String,
    /// Whether it is told the trace.
    is_told: bool,
}

impl TracedTransport {
    pub(super) fn new(inner: Arc<dyn Transport>, config: &Config) -> Self {
        let upstreams = config
            .upstream
            .iter()
            .map(|upstream| TracedUpstream { name: upstream.name.clone(), is_told: upstream.send_traceparent });
        Self { inner, upstreams: upstreams.collect() }
    }
}

/// Neither path nor query: what authorizes a request may stand there.
fn span_of(outgoing: &Outgoing, upstream: &str) -> Span {
    let uri = outgoing.request.uri();
    let method = outgoing.request.method().as_str();
    let usual_port = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    let purpose = match outgoing.purpose {
        RequestPurpose::Api => "api",
        RequestPurpose::Blob => "blob",
    };
    tracing::trace_span!(
        target: spans::TARGET,
        "upstream",
        otel.name = method,
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        server.address = uri.host().unwrap_or_default(),
        server.port = uri.port_u16().unwrap_or(usual_port),
        "error.type" = Empty,
        registry_proxy.upstream = upstream,
        registry_proxy.purpose = purpose
    )
}

#[async_trait]
impl Transport for TracedTransport {
    async fn send(&self, mut outgoing: Outgoing) -> Result<Response<Body>, TransportError> {
        let upstream = self.upstreams.get(outgoing.upstream);
        let span = span_of(&outgoing, upstream.map_or("", |upstream| &upstream.name));
        // Its own addresses only: hosts that its answers lead to are others'.
        if upstream.is_some_and(|upstream| upstream.is_told) && outgoing.reach == Reach::Configured {
            propagation::pass_on(&span.context(), outgoing.request.headers_mut());
        }
        let answer = self.inner.send(outgoing).instrument(span.clone()).await;
        match &answer {
            Ok(response) => {
                span.record("http.response.status_code", response.status().as_u16());
                if response.status().is_server_error() || response.status().is_client_error() {
                    span.record("otel.status_code", "ERROR");
                    span.record("error.type", response.status().as_str());
                }
            }
            Err(error) => {
                span.record("otel.status_code", "ERROR");
                span.record("error.type", error_type(error));
            }
        }
        answer
    }
}

/// A few words without an address.
fn error_type(error: &TransportError) -> &'static str {
    match error {
        TransportError::Connect { .. } => "connect",
        TransportError::AddressRefused { .. } => "address refused",
        TransportError::Busy => "busy",
        TransportError::Broken(_) => "broken",
    }
}
