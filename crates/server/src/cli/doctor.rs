//! The arguments of `registry-proxy doctor`.

use clap::{Args, ValueEnum};

/// Arguments of `registry-proxy doctor`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArguments {
    /// Also fetch the manifest and the config of this image, past the cache: login, token server and storage.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,

    /// Also pull an image with this client of the machine, and say whether it came through the running server.
    #[arg(long, value_enum, value_name = "CLIENT")]
    pub(crate) client: Option<PullingClient>,

    /// Only this upstream; may be repeated.
    #[arg(long = "upstream", value_name = "NAME")]
    pub(crate) upstreams: Vec<String>,

    /// Print JSON: a list of findings with severity, subject, what and next.
    #[arg(long)]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "\
Exit status: 0 if nothing is broken, 1 if something is, 2 if the configuration or the command line is wrong.

  registry-proxy doctor
  registry-proxy doctor --client docker                          did the pull come through the proxy?
  registry-proxy doctor --upstream docker.io --image alpine:3.20
  registry-proxy doctor --json | jq -r '.[] | select(.severity == \"error\") | .what'";

/// A client that can pull from the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullingClient {
    /// docker pull
    Docker,
    /// podman pull
    Podman,
    /// crictl pull, of containerd or CRI-O
    Crictl,
    /// nerdctl pull
    Nerdctl,
}
