//! The arguments of `registry-proxy client`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::plan::ClientKind;

/// Arguments of `registry-proxy client`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ClientArguments {
    /// The client to configure.
    #[arg(value_enum)]
    pub(crate) client: ClientKind,

    /// The configuration of the user (HOME), for docker, containerd, podman and buildkit without root.
    #[arg(long)]
    pub(crate) rootless: bool,

    /// How the client reaches the proxy; without it `public_url`, or the address to listen on.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,

    /// A registry to pull from through the proxy; may be repeated. Without it every upstream.
    #[arg(long = "registry", value_name = "REGISTRY")]
    pub(crate) registries: Vec<String>,

    #[command(flatten)]
    pub(crate) action: ClientAction,

    /// The directory that is the client's /, as a container sees its host.
    #[arg(long, value_name = "DIR", default_value = "/", value_hint = ValueHint::DirPath)]
    pub(crate) root: PathBuf,
}

/// What to do; one of these.
#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct ClientAction {
    /// Print what would be written (the default).
    #[arg(long)]
    pub(crate) print: bool,

    /// Add it to the client's files, and keep them as they were beside them.
    #[arg(long)]
    pub(crate) write: bool,

    /// Put back the files as they were.
    #[arg(long)]
    pub(crate) undo: bool,
}

const EXAMPLES: &str = "\
It never restarts anything: it says what to restart.

  registry-proxy client docker                                   what daemon.json would be
  sudo registry-proxy client docker --write                      on the proxy's own machine
  sudo registry-proxy client containerd --url https://proxy.example.com --registry docker.io --registry ghcr.io --write
  registry-proxy client podman --rootless --write
  registry-proxy client talos --url https://proxy.example.com > mirrors.yaml
  sudo registry-proxy client docker --undo                       byte for byte what was there";
