//! `registry-proxy cache …`: cache administration, through the running server or, if none runs, on the store itself.

mod show;

use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::Arc;

use registry_proxy_core::Config;
use registry_proxy_core::admin::{CacheAdmin, Command, Event, Purge};
use registry_proxy_core::config::StoreAddress;
use tokio::net::UnixStream;

use self::show::Show;
use crate::cli::{CacheAction, CacheArguments};
use crate::error_text::with_source;
use crate::runtime::SystemClock;
use crate::terminal::{WRONG_USAGE, complain};
use crate::{admin_socket, store};

/// The command that the arguments describe.
fn command_of(action: CacheAction) -> Command {
    match action {
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
    }
}

/// Runs the command.
pub(crate) fn run(arguments: CacheArguments, config: &Config) -> ExitCode {
    let command = command_of(arguments.action);
    if let Err(what) = command.check() {
        complain(&what);
        return ExitCode::from(WRONG_USAGE);
    }
    if let Command::Pin { image, .. } = &command
        && !is_held(config, image)
    {
        complain(&format!(
            "no rule of [[cache.tags]] holds {image}, so a pin would have no effect; add one:\n\
             [[cache.tags]]\nmatch = \"{image}\"\nhold = \"3d\""
        ));
        return ExitCode::from(WRONG_USAGE);
    }
    let show = Show::new(arguments.json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(|error| error.to_string());
    match done.and_then(|runtime| runtime.block_on(carry_out(config, &command, &show))) {
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

async fn carry_out(config: &Config, command: &Command, show: &Show) -> Result<(), String> {
    if config.cache.store == StoreAddress::None {
        return Err("nothing is cached: cache.store is none".to_owned());
    }
    let tell = |event: Event| match &event {
        // Without a rule for it a record has no effect.
        Event::Held(tag) if !is_held(config, &tag.name) => {}
        _ => show.tell(event),
    };
    // A server may have access to a store that we cannot open. So the store is opened only if no server answers, or if
    // opening it is the only way to find the directory with the socket.
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
            Err(error) => return Err(format!("admin_socket: cannot connect to {}: {error}", path.display())),
        }
    }
    if config.cache.store == StoreAddress::Memory {
        let place = path.map_or("admin_socket".to_owned(), |path| path.display().to_string());
        return Err(format!("the cache is in a server's memory, and no server answers at {place}"));
    }
    let opened = looked_for.unwrap_or_else(|| store::open(&config.cache)).map_err(|error| error.to_string())?;
    let opened = opened.ok_or("nothing is cached: no cache directory is writable; set cache.store")?;
    show.begin(&store::place(&config.cache, opened.directory.as_deref()));
    let admin = CacheAdmin::of_store(opened.store, Arc::new(SystemClock));
    admin.run(command, &tell).await.map_err(|error| with_source(&error))
}
