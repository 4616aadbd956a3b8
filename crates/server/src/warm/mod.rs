//! `registry-proxy warm`: fetches images into the cache, through the running server or, if none runs, by a proxy in this
//! process on the same store.
//!
//! - [`list`]: reads lists of images · [`compose`]: the images of a compose file
//! - [`show`]: prints what happens · [`bars`]: and draws it on a terminal

mod bars;
mod compose;
mod list;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use registry_proxy_core::Config;
use registry_proxy_core::notification::Notifications;
use registry_proxy_core::warm::{WarmEvent, WarmRequest};

use self::list::ImageList;
use self::show::WarmShow;
use crate::admin_socket::{self, CacheHolder, SocketCommand, SocketEvent};
use crate::assemble;
use crate::cli::WarmArguments;
use crate::own_platform::platform_of;
use crate::store::OpenedStore;
use crate::terminal::{WRONG_USAGE, complain};

/// How long what was fetched may be on its way into the store at the end.
const FLUSH_LIMIT: Duration = Duration::from_mins(1);
/// Every platform of an image.
const ALL: &str = "all";

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

async fn carry_out(config: &Config, request: WarmRequest, show: &WarmShow) -> Result<(), String> {
    let holder = CacheHolder::find(config).await?;
    show.begin(&request, &holder.place(config));
    match holder {
        CacheHolder::Server(stream, _) => {
            let tell = |event| match event {
                SocketEvent::Warm(event) => show.tell(&event),
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
    let tell = |event: WarmEvent| show.tell(&event);
    let done = proxy.warm(config, request, &tell).await;
    let is_kept = proxy.close(FLUSH_LIMIT).await;
    if let Some(janitor) = janitor {
        janitor.abort();
    }
    done?;
    if is_kept { Ok(()) } else { Err("some of it is still on its way into the store; warm again".to_owned()) }
}

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
