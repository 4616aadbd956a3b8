//! The command line.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use registry_proxy_core::Config;

/// A proxy for container registries.
#[derive(Parser)]
#[command(version, about, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`.
    #[arg(long, short, value_name = "FILE", env = "REGISTRY_PROXY_CONFIG", global = true)]
    pub(crate) config: Option<String>,

    /// Address and port to listen on; wins over PORT and the file. Port 0 takes any free one.
    #[arg(long, short, value_name = "ADDR", global = true)]
    pub(crate) listen: Option<String>,

    /// What to do; without one, serve.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What the program can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve (the default).
    Serve,
    /// Print the effective configuration, secrets masked, with warnings of what is dangerous.
    Check,
    /// Say what would be done for an image and why, without asking any registry.
    Explain {
        /// As in a pull: `alpine`, `ghcr.io/owner/image:tag`, `image@sha256:…`, with or without our own host before it.
        image: String,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Look into the cache, purge it, verify it.
    Cache(crate::cache_cli::Arguments),
    /// Print the reference of every configuration key, as Markdown.
    #[command(hide = true)]
    Reference,
    /// Print the table of what can be done and why, as Markdown.
    #[command(hide = true)]
    Outcomes,
}

const EXAMPLES: &str = "\
Without any configuration it serves Docker Hub and a catalogue of public registries on 127.0.0.1:3000:
  docker pull 127.0.0.1:3000/alpine
  docker pull 127.0.0.1:3000/ghcr.io/owner/image

One registry, as with the original Node.js project:
  REGISTRY_BACKEND=https://registry-1.docker.io PORT=3000 registry-proxy

Look before you serve:
  registry-proxy --config proxy.toml check
  registry-proxy explain alpine:3.20

What is kept, and how to be rid of it:
  registry-proxy cache --help

SIGHUP reads configuration, password and certificate files again; SIGTERM lets transfers end, then stops.";

/// Writes to standard output.
pub(crate) fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has gone away: there is nobody left to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

/// One line to standard error.
pub(crate) fn complain(what: &(impl Display + ?Sized)) {
    let _ = writeln!(std::io::stderr(), "registry-proxy: {what}");
}

/// `registry-proxy check`
pub(crate) fn check(config: &Config) -> ExitCode {
    for warning in config.warnings() {
        complain(&format_args!("warning: {warning}"));
    }
    // What stands there was read when the configuration was: this says what of it counts.
    if let Ok(Some(credentials)) = crate::credentials::DockerCredentials::load(config) {
        for line in credentials.found(config) {
            complain(&line);
        }
    }
    if let Some(what) = crate::store::warnings(&config.cache) {
        complain(&format_args!("warning: cache.store: {what}"));
    }
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        if let Some(what) = runtime.block_on(crate::store::check(config)) {
            complain(&format_args!("warning: cache.store: {what}"));
        }
        // Nobody waits for a name that is still being looked up.
        runtime.shutdown_background();
    }
    print(&config.to_toml())
}
