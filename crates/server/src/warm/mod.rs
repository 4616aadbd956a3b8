//! `registry-proxy warm`: fetches images into the cache, through the running server or, if none runs, by a proxy in this
//! process on the same store.
//!
//! - [`list`]: reads lists of images · [`compose`]: the images of a compose file
//! - [`queue`]: what was asked for by HTTP
//! - [`show`]: prints what happens · [`bars`]: and draws it on a terminal

mod bars;
mod compose;
mod list;
mod queue;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueHint};
use registry_proxy_core::Config;
use registry_proxy_core::config::Span;
use registry_proxy_core::notification::Notifications;
use registry_proxy_core::warm::{USUAL_NEWEST, WarmEvent, WarmRequest};

use self::list::ImageList;
pub(crate) use self::queue::follow;
use self::show::WarmShow;
use crate::admin_socket::{self, SocketCommand, SocketEvent};
use crate::assemble;
use crate::cache_holder::CacheHolder;
use crate::store::OpenedStore;
use crate::terminal::{WRONG_USAGE, complain};

/// How long what was fetched may be on its way into the store at the end.
const FLUSH_LIMIT: Duration = Duration::from_mins(1);
/// Every platform of an image.
const ALL: &str = "all";

/// Arguments of `registry-proxy warm`.
#[derive(Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("what").required(true).multiple(true)))]
pub(crate) struct WarmArguments {
    /// As in a pull: `alpine:3.20`, `ghcr.io/owner/image@sha256:…`; `alpine:3.*` means the newest tags of the registry's
    /// list; `-` reads a list from standard input.
    #[arg(group = "what", value_name = "IMAGE")]
    images: Vec<String>,

    /// A list: an image in each line, a JSON array of images, or what `kubectl get pods -o json` prints.
    #[arg(long, short, group = "what", value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Vec<PathBuf>,

    /// A compose file.
    #[arg(long, group = "what", value_name = "FILE", value_hint = ValueHint::FilePath)]
    compose: Vec<PathBuf>,

    /// Platforms of each image, such as linux/amd64,linux/arm64, or `all`. The default is Linux on this machine's
    /// architecture, as a pull on this machine would get it.
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<String>,

    /// Signatures, attestations and SBOMs, too.
    #[arg(long)]
    referrers: bool,

    /// Images that are fetched at once.
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,

    /// How many tags a pattern such as `alpine:3.*` means: those with the highest version numbers.
    #[arg(long, value_name = "N", default_value_t = USUAL_NEWEST)]
    newest: usize,

    /// How long a manifest or layer waits for a registry that limits the rate of requests: 0s, 10m, 6h.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = span_of)]
    wait: Span,

    /// Print one JSON value per line.
    #[arg(long)]
    json: bool,
}

fn span_of(text: &str) -> Result<Span, String> {
    Span::parse(text).ok_or_else(|| "expected a whole number and s, m or h, such as 10m".to_owned())
}

/// Fetches the images. Exit status 0: all are in the store; 1: something is missing; 2: the arguments or a list are wrong.
pub(crate) fn run(arguments: WarmArguments, config: &Config) -> ExitCode {
    let is_json = arguments.json;
    let request = request_of(arguments).and_then(|request| request.check().map(|()| request));
    let request = match request {
        Ok(request) => request,
        Err(what) => {
            complain(&what);
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let show = WarmShow::new(is_json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(|error| error.to_string());
    match done.and_then(|runtime| runtime.block_on(carry_out(config, request, &show))) {
        Ok(()) => show.finish(),
        Err(what) => {
            show.clear();
            complain(&what);
            ExitCode::FAILURE
        }
    }
}

fn request_of(arguments: WarmArguments) -> Result<WarmRequest, String> {
    let WarmArguments { images, file, compose, platform, referrers, jobs, newest, wait, json: _ } = arguments;
    let mut list = ImageList::default();
    for image in images {
        match image.as_str() {
            "-" => list.read("standard input", std::io::stdin().lock())?,
            _ => list.add(image)?,
        }
    }
    for path in file {
        list.read_file(&path)?;
    }
    for path in compose {
        let variable = |name: &str| std::env::var(name).ok();
        for image in compose::read(&path, &variable)? {
            list.add(image)?;
        }
    }
    Ok(WarmRequest {
        images: list.into_images()?,
        platforms: platforms_of(platform, std::env::consts::ARCH),
        referrers,
        jobs,
        wait_seconds: wait.0.as_secs(),
        newest,
    })
}

/// The platforms that are wanted; none: all.
fn platforms_of(given: Vec<String>, machine: &str) -> Vec<String> {
    if given.iter().any(|platform| platform == ALL) {
        return Vec::new();
    }
    if given.is_empty() { vec![platform_of(machine)] } else { given }
}

/// The platform of this machine, as a pull would choose it.
pub(crate) fn own_platform() -> String {
    platform_of(std::env::consts::ARCH)
}

fn platform_of(machine: &str) -> String {
    // As image indexes call it: the names of Go.
    let architecture = match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    format!("linux/{architecture}")
}

async fn carry_out(config: &Config, request: WarmRequest, show: &WarmShow) -> Result<(), String> {
    let holder = CacheHolder::find(config).await?;
    show.begin(&request, &holder.place(config));
    match holder {
        CacheHolder::Server(stream, _) => {
            let tell = |event| match event {
                SocketEvent::Warm(event) => show.tell(event),
                // No warming tells of any.
                SocketEvent::Cache(_) => {}
            };
            admin_socket::ask(stream, &SocketCommand::Warm(request), &tell).await
        }
        CacheHolder::Nobody(opened) => alone(config, opened, &request, show).await,
    }
}

/// By a proxy in this process, which keeps the store within its limits meanwhile.
async fn alone(
    config: &Config,
    opened: OpenedStore,
    request: &WarmRequest,
    show: &WarmShow,
) -> Result<(), String> {
    let proxy = assemble::proxy(config, Some(opened.store), Notifications::default());
    let proxy = proxy.map_err(|error| error.to_string())?;
    let janitor = proxy.janitor().map(|janitor| tokio::spawn(janitor.run()));
    let tell = |event: WarmEvent| show.tell(event);
    let done = proxy.warm(config, request, &tell).await;
    let is_kept = proxy.close(FLUSH_LIMIT).await;
    if let Some(janitor) = janitor {
        janitor.abort();
    }
    done?;
    if is_kept { Ok(()) } else { Err("some of it is still on its way into the store; warm again".to_owned()) }
}

const EXAMPLES: &str = "\
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_is_this_machines_unless_others_are_named() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        for (given, machine, expected) in [
            (&[][..], "x86_64", &["linux/amd64"][..]),
            (&[], "aarch64", &["linux/arm64"]),
            (&[], "arm", &["linux/arm"]),
            (&[], "riscv64", &["linux/riscv64"]),
            (&["linux/arm64", "linux/s390x"], "x86_64", &["linux/arm64", "linux/s390x"]),
            (&["all"], "x86_64", &[]),
            (&["linux/arm64", "all"], "x86_64", &[]),
        ] {
            assert_eq!(platforms_of(words(given), machine), words(expected), "{given:?} on {machine}");
        }
    }
}
