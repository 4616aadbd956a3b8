//! The log: standard error, one line an event, for people or for machines.

use std::io::IsTerminal as _;

use registry_proxy_core::config::{ConfigError, Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts it.
pub(crate) fn start(log: &Log) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| ConfigError {
        place: "log.level".to_owned(),
        what: format!("{error}; expected error, warn, info or debug"),
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init()
        }
    }
    Ok(())
}
