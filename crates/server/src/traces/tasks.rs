//! Work that outlives its request: its spans belong to the request's trace, and do not keep the request's span open.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::TraceContextExt as _;
use registry_proxy_core::platform::Tasks;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Tasks that know the trace they were begun in.
pub(super) struct TracedTasks(pub(super) Arc<dyn Tasks>);

impl Tasks for TracedTasks {
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        let span = Span::current();
        let current = if span.is_disabled() { Context::current() } else { span.context() };
        // The identity alone: the span itself ends when its request does.
        let identity = current.span().span_context().clone();
        if !identity.is_valid() {
            return self.0.spawn(work);
        }
        let context = Context::new().with_remote_span_context(identity);
        self.0.spawn(Box::pin(work.with_context(context)));
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        self.0.compute(work)
    }
}
