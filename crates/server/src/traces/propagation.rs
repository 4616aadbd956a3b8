//! The trace that a request belongs to (W3C Trace Context, <https://www.w3.org/TR/trace-context/>).

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::context::{FutureExt as _, WithContext};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use registry_proxy_core::{Config, Cx};

/// What a request's span hangs from.
pub(crate) struct TraceParent(Context);

/// The span that the request's sender names in `traceparent`, if it is one of `trusted_proxies`. Anybody else could write
/// into the traces of others, or have every request recorded.
pub(crate) fn parent(cx: &Cx, config: &Config, headers: &HeaderMap) -> TraceParent {
    let is_trusted = cx.introduced.is_none() && cx.peer.is_some_and(|peer| config.is_trusted(peer));
    let none = Context::new();
    TraceParent(if is_trusted {
        TraceContextPropagator::new().extract_with_context(&none, &HeaderExtractor(headers))
    } else {
        none
    })
}

/// Runs the work of a request below its parent.
pub(crate) fn within<F: Future>(parent: TraceParent, work: F) -> WithContext<F> {
    work.with_context(parent.0)
}

/// Names the trace of `context` to the receiver of these headers, as `traceparent` and `tracestate`.
pub(super) fn pass_on(context: &Context, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(context, &mut HeaderInjector(headers));
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceContextExt as _;
    use registry_proxy_core::config::Sources;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    /// The trace of a request from this peer, perhaps introduced by the PROXY protocol.
    fn trace(header: &str, peer: &str, introduced: Option<&str>) -> Option<String> {
        let text = Some("trusted_proxies = ['10.0.0.0/8']");
        let config = Config::load(&Sources { text, variables: Vec::new(), read: &|_| Ok(String::new()) }).unwrap();
        let address = |text: &str| text.parse().ok();
        let cx = Cx { peer: address(peer), introduced: introduced.and_then(address), is_tls: false, id: 0 };
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", header.parse().unwrap());
        let TraceParent(context) = parent(&cx, &config, &headers);
        let span = context.span().span_context().clone();
        span.is_valid().then(|| span.trace_id().to_string())
    }

    #[test]
    fn a_trace_is_believed_only_where_its_sender_is_trusted() {
        let header = format!("00-{TRACE}-00f067aa0ba902b7-01");
        for (peer, introduced, expected) in [
            ("10.1.2.3", None, Some(TRACE)),
            ("192.0.2.1", None, None),
            ("127.0.0.1", None, None),
            // Whoever passes bytes on writes no headers: this one is the client's own.
            ("10.1.2.3", Some("192.0.2.1"), None),
            ("10.1.2.3", Some("10.1.2.4"), None),
        ] {
            assert_eq!(trace(&header, peer, introduced).as_deref(), expected, "{peer} {introduced:?}");
        }
    }

    #[test]
    fn what_is_no_trace_is_passed_over() {
        for header in ["", "00", "nonsense", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            assert_eq!(trace(header, "10.1.2.3", None), None, "{header}");
        }
    }
}
