//! The command line.

mod doctor;
mod login;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueHint};

use registry_proxy_core::config::Span;
use registry_proxy_core::warm::USUAL_NEWEST;

pub(crate) use self::doctor::{DoctorArguments, PullingClient};
pub(crate) use self::login::{LoginArguments, LogoutArguments};
use crate::check::CheckArguments;
use crate::client_config::ClientArguments;
use crate::completions::CompletionShell;

/// A proxy for container registries.
#[derive(Parser)]
#[command(version = crate::version::text(), about, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`.
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "REGISTRY_PROXY_CONFIG",
        global = true,
        value_hint = ValueHint::FilePath
    )]
    pub(crate) config: Option<String>,

    /// Address and port to listen on; overrides PORT and the file. Port 0 takes any free port.
    #[arg(long, short, value_name = "ADDR", global = true)]
    pub(crate) listen: Option<String>,

    /// The command; the default is to serve.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The commands of the program.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve (the default).
    Serve,
    /// Print the effective configuration, secrets masked, and warn of dangerous settings.
    Check(CheckArguments),
    /// Explain what a pull of an image would do and why, without asking any registry.
    Explain {
        /// As in a pull: `alpine`, `ghcr.io/owner/image:tag`, `image@sha256:…`, with or without the proxy's host name.
        image: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Inspect, purge or verify the cache; carry images out of it and into it.
    Cache(CacheArguments),
    /// Fetch images into the cache before anybody pulls them.
    Warm(WarmArguments),
    /// Point a client at the proxy: print, write or undo its configuration.
    Client(ClientArguments),
    /// Look for what keeps pulls from working, and say what to do about it.
    Doctor(DoctorArguments),
    /// Ask the server at the configured address whether it runs: exit status 0 or 1. For HEALTHCHECK.
    Health,
    /// Answer kubelet's request for a login on standard input with the pod's service account token.
    #[command(after_help = CREDENTIAL_PROVIDER_EXAMPLE)]
    CredentialProvider,
    /// Log in at a proxy by the browser, and keep the login for docker, podman and others.
    Login(LoginArguments),
    /// Forget a login.
    Logout(LogoutArguments),
    /// Print what a shell completes this command line with.
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: CompletionShell,
    },
    /// Print the table of outcomes and their reasons, as Markdown.
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

    /// Print one JSON value per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do with the cache.
#[derive(Subcommand)]
pub(crate) enum CacheAction {
    /// Count blobs, manifests, tags and bytes; show the oldest entry and the downloads in progress.
    Stat,
    /// List images by name, with digest, age and how many of their layers are cached.
    List {
        /// Only matching names: `docker.io/library/*`, `ghcr.io/**`, `**:latest`.
        pattern: Option<String>,
    },
    /// Delete images, so that the next pull fetches them again. Does not prompt.
    #[command(group(ArgGroup::new("what").required(true)))]
    Purge {
        /// Matching tags, and the content that no other tag uses: `docker.io/library/alpine:*`.
        #[arg(group = "what")]
        pattern: Option<String>,
        /// One manifest or layer: `sha256:…`
        #[arg(long, group = "what")]
        digest: Option<String>,
        /// Everything.
        #[arg(long, group = "what")]
        all: bool,
        /// Only show what would be deleted.
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// List the tags that clients get otherwise than their registries have them: held, new or pinned.
    Held {
        /// Only tags that match: `docker.io/library/*`, `ghcr.io/**:latest`
        pattern: Option<String>,
    },
    /// Let clients have what held tags (`hold` in [[cache.tags]]) have moved to, now and not later.
    Release {
        /// A tag, all tags of a repository, or a pattern: `docker.io/library/alpine:3.20`, `ghcr.io/**`
        image: String,
    },
    /// Pin a held tag to a digest: clients get that, whatever the registry says, until `unpin`.
    Pin {
        /// `docker.io/library/alpine:3.20@sha256:…`
        image: String,
    },
    /// Take a pin back.
    Unpin {
        /// `docker.io/library/alpine:3.20`
        image: String,
    },
    /// Write images of the cache into one file, to carry them to a place without a network. Other tools read it, too.
    Export {
        /// As in a pull: `alpine:3.20`, `ghcr.io/owner/image@sha256:…`; or a pattern of cached tags: `ghcr.io/**`
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        /// The file, an OCI image layout in a tar; `-` for standard output.
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: String,
        /// Only these platforms, `linux/amd64,linux/arm64`, and all of them. Default: those that are complete in the cache.
        #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
        platform: Vec<String>,
        /// Leave out what this earlier bundle has. Can be given several times.
        #[arg(long, value_name = "BUNDLE", value_hint = ValueHint::AnyPath)]
        since: Vec<String>,
    },
    /// Take images from a file into the cache: what `export` wrote, and any other OCI image layout.
    Import {
        /// A tar or a directory; `-` for standard input. `docker save` writes such a tar from Docker 25 on.
        #[arg(value_name = "BUNDLE", value_hint = ValueHint::AnyPath)]
        bundle: String,
        /// The name of the image, where the bundle has none with a registry: `docker.io/library/alpine:3.20`
        #[arg(long = "as", value_name = "IMAGE")]
        name: Option<String>,
    },
    /// Read everything, check it against its digest and delete what does not match. Exit status 1 if anything did not match
    /// or could not be read; the unreadable is kept.
    Verify,
}

/// Arguments of `registry-proxy warm`.
#[derive(Args)]
#[command(after_help = WARM_EXAMPLES, group(ArgGroup::new("what").required(true).multiple(true)))]
pub(crate) struct WarmArguments {
    /// As in a pull: `alpine:3.20`, `ghcr.io/owner/image@sha256:…`; `alpine:3.*` means the newest tags of the registry's
    /// list; `-` reads a list from standard input.
    #[arg(group = "what", value_name = "IMAGE")]
    pub(crate) images: Vec<String>,

    /// A list: an image in each line, a JSON array of images, or what `kubectl get pods -o json` prints.
    #[arg(long, short, group = "what", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Vec<PathBuf>,

    /// A compose file.
    #[arg(long, group = "what", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) compose: Vec<PathBuf>,

    /// Platforms of each image, such as linux/amd64,linux/arm64, or `all`. The default is Linux on this machine's
    /// architecture, as a pull on this machine would get it.
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platform: Vec<String>,

    /// Signatures, attestations and SBOMs, too.
    #[arg(long)]
    pub(crate) referrers: bool,

    /// Images that are fetched at once.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) jobs: usize,

    /// How many tags a pattern such as `alpine:3.*` means: those with the highest version numbers.
    #[arg(long, value_name = "N", default_value_t = USUAL_NEWEST)]
    pub(crate) newest: usize,

    /// How long a manifest or layer waits for a registry that limits the rate of requests: 0s, 10m, 6h.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = span_of)]
    pub(crate) wait: Span,

    /// Print one JSON value per line.
    #[arg(long)]
    pub(crate) json: bool,
}

fn span_of(text: &str) -> Result<Span, String> {
    Span::parse(text).ok_or_else(|| "expected a whole number and s, m or h, such as 10m".to_owned())
}

const EXAMPLES: &str = "\
Without any configuration it serves Docker Hub and a catalogue of public registries on 127.0.0.1:3000:
  docker pull 127.0.0.1:3000/alpine
  docker pull 127.0.0.1:3000/ghcr.io/owner/image

Point a client at it, and take that back:
  registry-proxy client --help
  sudo registry-proxy client docker --write

One registry, as with the original Node.js project:
  REGISTRY_BACKEND=https://registry-1.docker.io PORT=3000 registry-proxy

Check before you serve:
  registry-proxy --config proxy.toml check
  registry-proxy explain alpine:3.20

Fetch images before they are needed:
  registry-proxy warm --help

Inspect the cache, and delete from it:
  registry-proxy cache --help

SIGHUP reloads configuration, password and certificate files; SIGTERM lets transfers finish, then stops.";

const CREDENTIAL_PROVIDER_EXAMPLE: &str = "\
kubelet runs it as a credential provider plugin. In the file of its --image-credential-provider-config:
  providers:
    - name: registry-proxy
      args: [\"credential-provider\"]
      apiVersion: credentialprovider.kubelet.k8s.io/v1
      matchImages: [\"proxy.example.com\"]
      defaultCacheDuration: \"0s\"
      tokenAttributes:
        serviceAccountTokenAudience: proxy.example.com
        cacheType: Token
        requireServiceAccount: true

It reads no configuration of registry-proxy. docs/how-to/kubernetes.md has the rest.";

const COMPLETION_EXAMPLES: &str = "\
  registry-proxy completions bash > /usr/share/bash-completion/completions/registry-proxy
  registry-proxy completions zsh > /usr/local/share/zsh/site-functions/_registry-proxy
  registry-proxy completions fish > ~/.config/fish/completions/registry-proxy.fish
  registry-proxy completions powershell >> $PROFILE
  registry-proxy completions elvish >> ~/.config/elvish/rc.elv";

const CACHE_EXAMPLES: &str = "\
If a server uses this cache, the command is sent to its admin_socket, so that the server's memory stays in step.
If none runs, the store is opened directly. Use the same --config as for serving: it says where both are.

  registry-proxy cache stat                                   what is cached, and how much space is left
  registry-proxy cache list 'ghcr.io/**'                      images of one registry; * matches within one segment
  registry-proxy cache purge 'docker.io/library/alpine:*'     the next pull asks the registry again
  registry-proxy cache purge --dry-run --all                  what would be deleted
  registry-proxy cache verify && echo sound                   exit status 1 unless everything was read and matched
  registry-proxy cache export alpine:3.20 -o bundle.tar       to be carried where there is no network
  registry-proxy cache import bundle.tar                      there
  registry-proxy cache list --json | jq -r 'select(.image) | .image.name'";

const WARM_EXAMPLES: &str = "\
If a server uses this cache, it fetches the images. If none runs, this command does, into the same store. Use the same
--config as for serving. What is cached already is not fetched again, so a warming that was stopped goes on where it was.

  registry-proxy warm alpine:3.20 ghcr.io/owner/image:v1
  registry-proxy warm --file images.txt --platform linux/amd64,linux/arm64
  registry-proxy warm 'alpine:3.*' --newest 2                 the newest tags that the registry lists
  registry-proxy warm --compose compose.yaml
  docker compose config --images | registry-proxy warm -      with .env, extends and include
  kubectl get pods -A -o json | registry-proxy warm -         what a cluster runs now
  registry-proxy warm --wait 6h --file images.txt             waits for Docker Hub's limit

Exit status: 0 all images are in the cache; 1 something is missing, each part named with the reason; 2 wrong usage.";
