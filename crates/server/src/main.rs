//! registry-proxy: one binary between your clients and the registries.
//!
//! The life of the process: arguments, configuration, parts, service, drain.
#![cfg_attr(feature = "libfuzzer", no_main, allow(dead_code))]

mod admin_socket;
mod assemble;
mod audit;
mod cache_cli;
mod check;
mod cli;
mod client_config;
#[cfg(feature = "logins")]
mod client_logins;
mod cloud_logins;
mod completions;
mod config_excerpt;
mod config_source;
mod connection;
mod connection_limits;
mod credentials;
mod doctor;
mod egress;
mod environment;
mod error_text;
mod events;
mod explain;
mod file_descriptors;
mod files;
mod first_steps;
mod health;
mod http;
mod incoming;
mod issuers;
mod lambda;
mod listen_address;
mod logging;
mod metrics;
#[cfg(not(feature = "logins"))]
mod no_client_logins;
#[cfg(not(feature = "otel"))]
mod no_traces;
mod own_platform;
mod passwords;
mod rate_limited_warnings;
mod reload;
mod reload_triggers;
mod runtime;
mod self_invoke;
mod service;
mod signature_keys;
mod store;
mod terminal;
mod text_response;
mod timer;
mod timetables;
mod tls;
#[cfg(feature = "otel")]
mod traces;
mod transport;
mod verdict_services;
mod version;
mod warm;
mod warm_queue;
mod watched_files;
mod workers;

use std::process::ExitCode;

use clap::Parser as _;
use registry_proxy_core::human;
#[cfg(target_os = "linux")]
use registry_proxy_musl_memory as _;

use crate::cli::{Cli, Command};
use crate::config_source::ConfigSource;
#[cfg(not(feature = "logins"))]
use crate::no_client_logins as client_logins;
#[cfg(not(feature = "otel"))]
use crate::no_traces as traces;
use crate::terminal::{Palette, WRONG_USAGE, complain, print};

/// musl's allocator has one lock for all threads: a cached manifest cost 98 µs of CPU with it, and 37 µs with mimalloc,
/// about the same as with glibc's. Built without huge pages (feature `no_thp`), which would double the idle memory.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Under libFuzzer, which has a `main` of its own, this program is a fuzz target.
#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| connection::fuzzing::http2(bytes));

fn main() -> ExitCode {
    if let Some(status) = client_logins::as_docker_helper() {
        return status;
    }
    let cli = Cli::parse();
    if let Some(Command::Outcomes) = cli.command {
        return print(&registry_proxy_core::outcome::markdown());
    }
    if let Some(Command::Completions { shell }) = cli.command {
        return completions::run(shell);
    }
    if let Some(status) = cli.command.as_ref().and_then(for_clients) {
        return status;
    }
    let source = ConfigSource::new(cli.config, cli.listen);
    let config = match source.load() {
        Ok(config) => config,
        Err(error) => {
            let palette = Palette::of(&std::io::stderr());
            let shown = source.excerpt(&error, palette).map(|shown| format!("\n{shown}")).unwrap_or_default();
            complain(&format_args!("{error}{shown}"));
            // HEALTHCHECK knows 0 and 1 only.
            let is_health = matches!(cli.command, Some(Command::Health));
            return if is_health { ExitCode::FAILURE } else { ExitCode::from(WRONG_USAGE) };
        }
    };
    match cli.command {
        Some(Command::Client(arguments)) => client_config::run(&arguments, &config),
        Some(Command::Doctor(arguments)) => doctor::run(&arguments, &config),
        Some(Command::Health) => health::run(&config),
        Some(Command::Check(arguments)) => check::run(&arguments, &config),
        Some(Command::Explain { image, json }) => explain::run(&config, &image, json),
        Some(Command::Cache(arguments)) => cache_cli::run(arguments, &config),
        Some(Command::Warm(arguments)) => warm::run(arguments, &config),
        Some(
            Command::Serve
            | Command::Outcomes
            | Command::Completions { .. }
            | Command::CredentialProvider
            | Command::Login(_)
            | Command::Logout(_),
        )
        | None => serve(source, config),
    }
}

/// Carries out what is for clients: a configuration of the proxy on this machine, right or wrong, has nothing to do with it.
fn for_clients(command: &Command) -> Option<ExitCode> {
    match command {
        Command::CredentialProvider => Some(client_logins::credential_provider()),
        Command::Login(arguments) => Some(client_logins::login(arguments)),
        Command::Logout(arguments) => Some(client_logins::logout(arguments)),
        Command::Serve
        | Command::Check(_)
        | Command::Explain { .. }
        | Command::Cache(_)
        | Command::Warm(_)
        | Command::Client(_)
        | Command::Doctor(_)
        | Command::Health
        | Command::Completions { .. }
        | Command::Outcomes => None,
    }
}

fn serve(source: ConfigSource, config: registry_proxy_core::Config) -> ExitCode {
    if let Err(error) = timetables::load(&config) {
        complain(&error);
        return ExitCode::from(WRONG_USAGE);
    }
    // This runtime accepts connections and handles signals; the workers' runtimes serve the connections.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(workers::BLOCKING_THREADS)
        .build();
    // Before the log, which makes spans for the traces.
    let exported = runtime.as_ref().map_or(Ok(()), |runtime| traces::start(runtime.handle()));
    if let Err(error) = exported.and_then(|()| logging::start(&config.log)) {
        complain(&error);
        return ExitCode::from(WRONG_USAGE);
    }
    traces::log_start();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| {
        let outcome = match lambda::runtime_api() {
            Some(address) => runtime.block_on(lambda::serve(source, config, &address)),
            None => runtime.block_on(http::serve(source, config)),
        };
        // Work that is still running after the drain ends with the process.
        runtime.shutdown_background();
        outcome
    });
    logging::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}
