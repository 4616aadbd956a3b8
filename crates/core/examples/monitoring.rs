//! Prints what watches the proxy, for `cargo xtask docs`: `dashboard` for Grafana, `rules` for Prometheus.

use std::io::{Error, ErrorKind, Write as _};

use registry_proxy_core::telemetry::monitoring;

fn main() -> std::io::Result<()> {
    let text = match std::env::args().nth(1).as_deref() {
        Some("dashboard") => monitoring::dashboard(),
        Some("rules") => monitoring::rules(),
        _ => return Err(Error::new(ErrorKind::InvalidInput, "expected dashboard or rules")),
    };
    std::io::stdout().write_all(text.as_bytes())
}
