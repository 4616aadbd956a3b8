//! Prometheus metrics: recorded through the facade, rendered here.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use registry_proxy_core::telemetry;

/// Bounds of the histogram of upstream answers, in seconds.
const SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 25.0];

/// Connections from clients, now.
pub(crate) const CONNECTIONS: &str = "registry_proxy_connections";
/// Always 1; its labels say what runs.
const BUILD: &str = "registry_proxy_build_info";

/// Starts recording.
pub(crate) fn start() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(telemetry::UPSTREAM_SECONDS.to_owned()), &SECONDS)?
        .install_recorder()?;
    for (name, meaning) in telemetry::DESCRIPTIONS {
        if name == telemetry::UPSTREAM_SECONDS {
            metrics::describe_histogram!(name, meaning);
        } else {
            metrics::describe_counter!(name, meaning);
        }
    }
    for (name, meaning) in telemetry::GAUGES {
        metrics::describe_gauge!(name, meaning);
    }
    metrics::describe_gauge!(CONNECTIONS, "Connections from clients");
    metrics::gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
