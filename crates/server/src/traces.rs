//! OpenTelemetry: the core's spans, and those of upstreams and the store, exported by OTLP over HTTP as the variables
//! `OTEL_…` say. Without an endpoint nothing here runs, and no span is made.
//!
//! - [`environment`] `o`: what the variables say; [`exporter`]: sends over this server's own transport
//! - [`propagation`]: the trace that a request belongs to: read where its sender is trusted, passed on where configured
//! - [`transport`], [`store`], [`tasks`]: the platform's parts, with a span for what they do

mod environment;
mod exporter;
mod propagation;
mod store;
mod tasks;
mod transport;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use registry_proxy_core::config::ConfigError;
use registry_proxy_core::platform::{Store, Tasks, Transport};
use registry_proxy_core::{Config, spans};
use tokio::runtime::Handle;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use self::environment::TraceVariables;
use self::exporter::Collector;
pub(crate) use self::propagation::{parent, within};

/// How long the last spans may take before the process ends.
const LAST_EXPORT: Duration = Duration::from_secs(2);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Whether traces are exported.
pub(crate) fn is_on() -> bool {
    PROVIDER.get().is_some()
}

/// Begins to export, if the variables say so. `runtime` sends; it lasts as long as the process.
pub(crate) fn start(runtime: &Handle) -> Result<(), ConfigError> {
    let environment = TraceVariables::read(&|name| std::env::var(name).ok());
    let Some(endpoint) = environment.endpoint()? else { return Ok(()) };
    let collector = Collector::new(&endpoint, &environment, runtime)?;
    let exporter = SpanExporter::builder().with_http().with_http_client(collector).build();
    // Whatever it says, a header's value may stand in it.
    let exporter =
        exporter.map_err(|_| endpoint.wrong("these settings of OTEL_EXPORTER_OTLP_… cannot be used"))?;
    let mut resource = Resource::builder();
    if !environment.names_service() {
        resource = resource.with_service_name("registry-proxy");
    }
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    let _ = PROVIDER.set(provider);
    Ok(())
}

/// What the log says of it at the start.
pub(crate) fn log_start() {
    if is_on() {
        for warning in TraceVariables::read(&|name| std::env::var(name).ok()).warnings() {
            tracing::warn!("{warning}");
        }
        tracing::info!("traces are exported by OTLP");
    }
}

/// The layer that makes OpenTelemetry's spans of the core's, and of nothing else: a log line never enters a trace.
pub(crate) fn layer<S>() -> Option<impl Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let tracer: SdkTracer = PROVIDER.get()?.tracer("registry-proxy");
    let layer = OpenTelemetryLayer::new(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false);
    Some(layer.with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == spans::TARGET)))
}

/// The transport with spans, if traces are exported.
pub(crate) fn transport(inner: Arc<dyn Transport>, config: &Config) -> Arc<dyn Transport> {
    if is_on() { Arc::new(transport::TracedTransport::new(inner, config)) } else { inner }
}

/// The store with spans, if traces are exported.
pub(crate) fn store(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    if is_on() { Arc::new(store::TracedStore(inner)) } else { inner }
}

/// Tasks that belong to the trace of the request that began them.
pub(crate) fn tasks(inner: Arc<dyn Tasks>) -> Arc<dyn Tasks> {
    if is_on() { Arc::new(tasks::TracedTasks(inner)) } else { inner }
}

/// Exports what is finished; for platforms that freeze the process.
pub(crate) async fn flush(limit: Duration) {
    let Some(provider) = PROVIDER.get() else { return };
    // It blocks while this runtime sends.
    let flushed = tokio::task::spawn_blocking(|| provider.force_flush());
    let _ = tokio::time::timeout(limit, flushed).await;
}

/// Exports the last spans before the process ends.
pub(crate) async fn close() {
    flush(LAST_EXPORT).await;
}
