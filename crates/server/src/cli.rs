//! The command line.

use clap::{ArgGroup, Args, Parser, Subcommand};

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
    Cache(CacheArguments),
    /// Print the reference of every configuration key, as Markdown.
    #[command(hide = true)]
    Reference,
    /// Print the table of what can be done and why, as Markdown.
    #[command(hide = true)]
    Outcomes,
}

/// Arguments of `registry-proxy cache`.
#[derive(Args)]
#[command(after_help = CACHE_EXAMPLES)]
pub(crate) struct CacheArguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: CacheAction,

    /// One JSON value a line, for machines.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do with the cache.
#[derive(Subcommand)]
pub(crate) enum CacheAction {
    /// How much is here: blobs, manifests, tags, bytes, what is oldest, what is arriving.
    Stat,
    /// Images by name, with digest, age and what of their layers is here.
    List {
        /// Only names that fit: `docker.io/library/*`, `ghcr.io/**`, `**:latest`.
        pattern: Option<String>,
    },
    /// Throw away images, so that the next pull fetches them anew. Asks nothing.
    #[command(group(ArgGroup::new("what").required(true)))]
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

const CACHE_EXAMPLES: &str = "\
Where a server uses this cache it is asked, through its admin_socket, so that its memory forgets what is thrown away.
Where none runs, the store itself is opened. Both are found by the configuration: give the same --config as to serve.

  registry-proxy cache stat                                   how much is there, and how much more may be
  registry-proxy cache list 'ghcr.io/**'                      images of one registry; * stays within a segment
  registry-proxy cache purge 'docker.io/library/alpine:*'     the next pull asks the registry again
  registry-proxy cache purge --dry-run --all                  what would go
  registry-proxy cache verify && echo sound                   status 1 unless all of it was read and right
  registry-proxy cache list --json | jq -r 'select(.image) | .image.name'";
