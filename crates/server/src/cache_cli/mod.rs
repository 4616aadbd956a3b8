//! `registry-proxy cache …`: cache administration, through the running server or, if none runs, on the store itself.

mod access;
mod archive;
mod export;
mod import;
mod plan;
mod show;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use registry_proxy_core::Config;
use registry_proxy_core::admin::{Command, Event, Purge};
use registry_proxy_core::bundle::{BundleImage, PlatformFilter};
use registry_proxy_core::explain::image_in_full;

use self::access::CacheAccess;
use self::export::Export;
use self::import::Import;
use self::show::Show;
use self::source::BundleSource;
use crate::admin_socket::CacheHolder;
use crate::cli::{CacheAction, CacheArguments};
use crate::terminal::{WRONG_USAGE, complain};

/// What is to be done.
enum Task {
    Command(Command),
    Export { images: Vec<String>, output: String, platforms: PlatformFilter, since: Vec<String> },
    Import { bundle: String, name: Option<BundleImage> },
}

/// The task that the arguments describe, or what is wrong with them.
fn task_of(action: CacheAction, config: &Config) -> Result<Task, String> {
    Ok(Task::Command(match action {
        CacheAction::Export { images, output, platform, since } => {
            return Ok(Task::Export { images, output, platforms: PlatformFilter::parse(&platform)?, since });
        }
        CacheAction::Import { bundle, name } => {
            let name = name.map(|name| in_full(config, &name)).transpose()?;
            return Ok(Task::Import { bundle, name });
        }
        CacheAction::Stat => Command::Stat,
        CacheAction::List { pattern } => Command::List(pattern),
        CacheAction::Purge { digest: Some(digest), dry_run, .. } => {
            Command::Purge { what: Purge::Digest(digest), dry_run }
        }
        CacheAction::Purge { pattern: Some(pattern), dry_run, .. } => {
            Command::Purge { what: Purge::Pattern(pattern), dry_run }
        }
        CacheAction::Purge { dry_run, .. } => Command::Purge { what: Purge::All, dry_run },
        CacheAction::Held { pattern } => Command::Held(pattern),
        CacheAction::Release { image } => Command::Release(image),
        CacheAction::Pin { image } => {
            let (image, digest) = image.split_once('@').unwrap_or((&image, ""));
            Command::Pin { image: image.to_owned(), digest: digest.to_owned() }
        }
        CacheAction::Unpin { image } => Command::Unpin(image),
        CacheAction::Verify => Command::Verify,
    }))
}

/// An image's name in full.
fn in_full(config: &Config, image: &str) -> Result<BundleImage, String> {
    let none = || format!("this configuration serves no image {image:?}; expected docker.io/library/alpine:3.20");
    image_in_full(config, image).ok_or_else(none)
}

/// Whether a command can be carried out at all; otherwise why not.
fn check(command: &Command, config: &Config) -> Result<(), String> {
    command.check()?;
    match command {
        Command::Pin { image, .. } if !is_held(config, image) => Err(format!(
            "no rule of [[cache.tags]] holds {image}, so a pin would have no effect; add one:\n\
             [[cache.tags]]\nmatch = \"{image}\"\nhold = \"3d\""
        )),
        Command::Pin { .. }
        | Command::Stat
        | Command::List(_)
        | Command::Held(_)
        | Command::Purge { .. }
        | Command::Release(_)
        | Command::Unpin(_)
        | Command::Verify => Ok(()),
    }
}

/// Runs the command.
pub(crate) fn run(arguments: CacheArguments, config: &Config) -> ExitCode {
    let task = task_of(arguments.action, config).and_then(|task| {
        if let Task::Command(command) = &task {
            check(command, config)?;
        }
        Ok(task)
    });
    let task = match task {
        Ok(task) => task,
        Err(what) => {
            complain(&what);
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let show = Show::new(arguments.json);
    let show = match &task {
        Task::Export { output, .. } if output == "-" => show.beside_output(),
        Task::Export { .. } | Task::Import { .. } | Task::Command(_) => show,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(|error| error.to_string());
    match done.and_then(|runtime| runtime.block_on(carry_out(config, task, &show))) {
        Ok(()) => show.finish(),
        Err(what) => {
            show.clear();
            complain(&what);
            ExitCode::FAILURE
        }
    }
}

/// Whether a rule holds this tag: only then its records are read.
fn is_held(config: &Config, image: &str) -> bool {
    let names = image.rsplit_once(':').and_then(|(name, tag)| Some((name.split_once('/')?, tag)));
    names.is_some_and(|((upstream, repository), tag)| config.cache.hold_for(upstream, repository, tag).is_some())
}

async fn carry_out(config: &Config, task: Task, show: &Show) -> Result<(), String> {
    let holder = CacheHolder::find(config).await?;
    show.begin(&holder.place(config));
    let access = &CacheAccess::of(holder);
    match task {
        Task::Command(command) => {
            let tell = |event: Event| match &event {
                // Without a rule for it a record has no effect.
                Event::Held(tag) if !is_held(config, &tag.name) => {}
                _ => show.tell(event),
            };
            access.run(command, &tell).await
        }
        Task::Export { images, output, platforms, since } => {
            let images = named(access, config, &images).await?;
            Export { access, config, images, platforms, since, show }.run(&output).await
        }
        Task::Import { bundle, name } => {
            let (source, total) = BundleSource::open(&bundle)?;
            Import { access, config, name, show }.run(source, total).await
        }
    }
}

/// The images of an export, each once: patterns mean tags in the cache, as with `list`.
async fn named(access: &CacheAccess, config: &Config, wanted: &[String]) -> Result<Vec<BundleImage>, String> {
    let mut images = Vec::new();
    for text in wanted {
        if !text.contains('*') {
            images.push(in_full(config, text)?);
            continue;
        }
        let found = Mutex::new(Vec::new());
        let tell = |event| {
            if let Event::Image(image) = event {
                found.lock().unwrap_or_else(PoisonError::into_inner).push(image.name);
            }
        };
        access.run(Command::List(Some(text.clone())), &tell).await?;
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if found.is_empty() {
            return Err(format!("no cached tag matches {text}; see registry-proxy cache list"));
        }
        images.extend(found.iter().filter_map(|name| BundleImage::parse(name).ok()));
    }
    let mut seen = HashSet::new();
    images.retain(|image| seen.insert(image.clone()));
    Ok(images)
}
