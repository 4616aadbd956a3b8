//! `registry-proxy check`: prints the effective configuration and warns of what is wrong with it.

use std::process::ExitCode;

use registry_proxy_core::Config;

use crate::credentials::DockerCredentials;
use crate::store;
use crate::terminal::{complain, print};

/// Warnings go to standard error, the configuration to standard output.
pub(crate) fn run(config: &Config) -> ExitCode {
    for warning in config.warnings() {
        complain(&format_args!("warning: {warning}"));
    }
    // What stands there was read when the configuration was: this says what of it counts.
    if let Ok(Some(credentials)) = DockerCredentials::load(config) {
        for line in credentials.found(config) {
            complain(&line);
        }
    }
    if let Some(what) = store::warnings(&config.cache) {
        complain(&format_args!("warning: cache.store: {what}"));
    }
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        if let Some(what) = runtime.block_on(store::check(config)) {
            complain(&format_args!("warning: cache.store: {what}"));
        }
        // Do not wait for name lookups that still run.
        runtime.shutdown_background();
    }
    print(&config.to_toml())
}
