//! In place of `traces` in a build without the feature `otel`: no traces are exported, and all of this is compiled away.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use registry_proxy_core::config::ConfigError;
use registry_proxy_core::platform::{Store, Tasks, Transport};
use registry_proxy_core::{Config, Cx};
use tokio::runtime::Handle;
use tracing_subscriber::layer::Identity;

pub(crate) const fn is_on() -> bool {
    false
}

#[expect(clippy::unnecessary_wraps, reason = "as the other one has it")]
pub(crate) fn start(_: &Handle) -> Result<(), ConfigError> {
    Ok(())
}

pub(crate) fn log_start() {
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some_and(|endpoint| !endpoint.is_empty()) {
        tracing::warn!("OTEL_EXPORTER_OTLP_ENDPOINT is not used: this build has no traces (cargo feature otel)");
    }
}

pub(crate) fn layer() -> Identity {
    Identity::new()
}

pub(crate) fn transport(inner: Arc<dyn Transport>, _: &Config) -> Arc<dyn Transport> {
    inner
}

pub(crate) fn store(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    inner
}

pub(crate) fn tasks(inner: Arc<dyn Tasks>) -> Arc<dyn Tasks> {
    inner
}

/// Of no trace.
pub(crate) struct NoParent;

pub(crate) fn parent(_: &Cx, _: &Config, _: &HeaderMap) -> NoParent {
    NoParent
}

pub(crate) fn within<F: Future>(_: NoParent, work: F) -> F {
    work
}

pub(crate) fn flush(_: Duration) -> Ready<()> {
    ready(())
}

pub(crate) fn close() -> Ready<()> {
    ready(())
}
