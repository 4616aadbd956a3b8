//! `registry-proxy cache …`: looking after the cache, through the server that uses it or, where none runs, directly.

mod show;

use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use registry_proxy_core::Config;
use registry_proxy_core::cache::{CacheAdmin, Command, Event, Purge};
use registry_proxy_core::config::StoreAddress;
use tokio::net::UnixStream;

use self::show::Show;
use crate::runtime::SystemClock;
use crate::{WRONG_USAGE, admin_socket, cli, store};

const EXAMPLES: &str = "\
Where a server uses this cache it is asked, through its admin_socket, so that its memory forgets what is thrown away.
Where none runs, the store itself is opened. Both are found by the configuration: give the same --config as to serve.

  registry-proxy cache stat                                   how much is there, and how much more may be
  registry-proxy cache list 'ghcr.io/**'                      images of one registry; * stays within a segment
  registry-proxy cache purge 'docker.io/library/alpine:*'     the next pull asks the registry again
  registry-proxy cache purge --dry-run --all                  what would go
  registry-proxy cache verify && echo sound                   status 1 unless all of it was read and right
  registry-proxy cache list --json | jq -r 'select(.image) | .image.name'";

/// What stands behind `cache`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,

    /// One JSON value a line, for machines.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Action {
    /// How much is here: blobs, manifests, tags, bytes, what is oldest, what is arriving.
    Stat,
    /// Images by name, with digest, age and what of their layers is here.
    List {
        /// Only names that fit: `docker.io/library/*`, `ghcr.io/**`, `**:latest`.
        pattern: Option<String>,
    },
    /// Throw away images, so that the next pull fetches them anew. Asks nothing.
    #[command(group(clap::ArgGroup::new("what").required(true)))]
    Purge {
        /// Tags that fit, with what nothing else needs: `docker.io/library/alpine:*`.
        #[arg(group = "what")]
        pattern: Option<String>,
        /// A manifest or a layer: `sha256:…`
        #[arg(long, group = "what")]
        digest: Option<String>,
        /// Everything.
        #[arg(long, group = "what")]
        all: bool,
        /// Only show what would go.
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Read everything, hold it against its digest and throw away what is wrong. Status 1 if anything was, or could not be
    /// read; that stays.
    Verify,
}

impl Action {
    fn into_command(self) -> Command {
        match self {
            Self::Stat => Command::Stat,
            Self::List { pattern } => Command::List(pattern),
            Self::Purge { digest: Some(digest), dry_run, .. } => {
                Command::Purge { what: Purge::Digest(digest), dry_run }
            }
            Self::Purge { pattern: Some(pattern), dry_run, .. } => {
                Command::Purge { what: Purge::Pattern(pattern), dry_run }
            }
            Self::Purge { dry_run, .. } => Command::Purge { what: Purge::All, dry_run },
            Self::Verify => Command::Verify,
        }
    }
}

/// Does what the command line says.
pub(crate) fn run(arguments: Arguments, config: &Config) -> ExitCode {
    let command = arguments.action.into_command();
    if let Err(what) = command.check() {
        cli::complain(&what);
        return ExitCode::from(WRONG_USAGE);
    }
    let show = Show::new(arguments.json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(|error| error.to_string());
    match done.and_then(|runtime| runtime.block_on(carry_out(config, &command, &show))) {
        Ok(()) => show.finish(),
        Err(what) => {
            show.clear();
            cli::complain(&what);
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(config: &Config, command: &Command, show: &Show) -> Result<(), String> {
    if config.cache.store == StoreAddress::None {
        return Err("nothing is kept: cache.store is none".to_owned());
    }
    let tell = |event: Event| show.tell(event);
    // A server may have opened what we cannot: whether we could is asked only where none answers, or where its place,
    // and so the socket's, is known by opening it.
    let is_looked_for = config.cache.store == StoreAddress::Auto && config.admin_socket.is_none();
    let looked_for = is_looked_for.then(|| store::open(&config.cache));
    let found = looked_for.as_ref().and_then(|opened| opened.as_ref().ok()?.as_ref()?.directory.as_deref());
    let path = admin_socket::path(config, found);
    if let Some(path) = &path {
        match UnixStream::connect(path).await {
            Ok(stream) => {
                show.begin(&format!("the server at {}", path.display()));
                return admin_socket::ask(stream, command, &tell).await;
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
            Err(error) => return Err(format!("admin_socket: cannot ask at {}: {error}", path.display())),
        }
    }
    if config.cache.store == StoreAddress::Memory {
        let place = path.map_or("admin_socket".to_owned(), |path| path.display().to_string());
        return Err(format!("the cache is in a server's memory, and no server answers at {place}"));
    }
    let opened = looked_for.unwrap_or_else(|| store::open(&config.cache)).map_err(|error| error.to_string())?;
    let opened = opened.ok_or("nothing is kept: no directory for a cache can be written; set cache.store")?;
    show.begin(&store::place(&config.cache, opened.directory.as_deref()));
    let admin = CacheAdmin::of_store(opened.store, Arc::new(SystemClock));
    admin.run(command, &tell).await.map_err(|error| describe(&error))
}

/// An error and why, in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
