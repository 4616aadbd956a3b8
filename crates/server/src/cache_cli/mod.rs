//! `registry-proxy cache …`: cache administration, through the running server or, if none runs, on the store itself.

mod show;

use std::process::ExitCode;
use std::sync::Arc;

use registry_proxy_core::Config;
use registry_proxy_core::admin::{CacheAdmin, Command, Event, Purge};

use self::show::Show;
use crate::admin_socket::{self, CacheHolder, SocketCommand, SocketEvent};
use crate::cli::{CacheAction, CacheArguments};
use crate::error_text::with_source;
use crate::runtime::SystemClock;
use crate::terminal::{WRONG_USAGE, complain};

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
    match done.and_then(|runtime| runtime.block_on(carry_out(config, command, &show))) {
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

async fn carry_out(config: &Config, command: Command, show: &Show) -> Result<(), String> {
    let tell = |event: Event| match &event {
        // Without a rule for it a record has no effect.
        Event::Held(tag) if !is_held(config, &tag.name) => {}
        _ => show.tell(event),
    };
    let holder = CacheHolder::find(config).await?;
    show.begin(&holder.place(config));
    match holder {
        CacheHolder::Server(stream, _) => {
            let tell = |event| match event {
                SocketEvent::Cache(event) => tell(event),
                // No cache command tells of any.
                SocketEvent::Warm(_) => {}
            };
            admin_socket::ask(stream, &SocketCommand::Cache(command), &tell).await
        }
        CacheHolder::Nobody(opened) => {
            let admin = CacheAdmin::of_store(opened.store, Arc::new(SystemClock));
            admin.run(&command, &tell).await.map_err(|error| with_source(&error))
        }
    }
}
