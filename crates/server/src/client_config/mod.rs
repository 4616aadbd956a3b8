//! `registry-proxy client …`: writes what a client needs to pull through the proxy, shows it, or puts back what was there.

mod address;
mod arguments;
mod buildkit;
mod clients;
mod containerd;
mod disk;
mod docker;
mod json_text;
mod plan;
mod printed;
mod registries_conf;
#[cfg(test)]
mod tests;
mod toml_text;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use registry_proxy_core::Config;
use registry_proxy_core::client_snippets::ProxyAddress;
use registry_proxy_core::config::Auth;
use registry_proxy_core::route::{Mirrors, MirrorsError, Routes};
use registry_proxy_core::secret::Secret;

use self::address::WrittenAddress;
use self::arguments::ClientAction;
pub(crate) use self::arguments::ClientArguments;
#[cfg(feature = "logins")]
pub(crate) use self::disk::replace as replace_file;
use self::disk::{RootDirectory, Written};
#[cfg(feature = "logins")]
pub(crate) use self::json_text::with_field_in_object;
use self::plan::{ClientKind, ClientPlan, Wanted};
use crate::listen_address;
use crate::terminal::{WRONG_USAGE, complain, print};

/// Runs the command. Exit status 1 if nothing could be written, 2 if it is not clear what is wanted.
pub(crate) fn run(arguments: &ClientArguments, config: &Config) -> ExitCode {
    let (status, what) = match carry_out(arguments, config) {
        Ok(text) => return print(&text),
        Err(Failure::Usage(what)) => (WRONG_USAGE, what),
        Err(Failure::Files(what)) => (1, what),
    };
    complain(&what);
    ExitCode::from(status)
}

/// Why nothing was done.
enum Failure {
    /// The arguments do not go together.
    Usage(String),
    /// The client's files cannot be what they should be.
    Files(String),
}

fn carry_out(arguments: &ClientArguments, config: &Config) -> Result<String, Failure> {
    let home = home(arguments).map_err(Failure::Usage)?;
    let root = RootDirectory::open(&arguments.root).map_err(Failure::Usage)?;
    if arguments.action.undo {
        return undo(&root, arguments.client, home.as_deref()).map_err(Failure::Files);
    }
    let client = arguments.client;
    let secret = config.clients.path_secret.as_ref().map(Secret::expose);
    let url = arguments.url.clone().map_or_else(|| own_address(config), Ok).map_err(Failure::Usage)?;
    let written = WrittenAddress::parse(&url).map_err(Failure::Usage)?.with_secret(secret);
    let address = written.as_clients_see_it();
    let routes = Routes::new(config);
    let asked = asked(&arguments.registries).map_err(Failure::Usage)?;
    let mirrors = mirrors(client, &routes, &address, &asked).map_err(Failure::Usage)?;
    let needs_login = match config.clients.auth {
        Auth::Open => false,
        Auth::Users | Auth::Upstream => true,
    };
    let wanted = Wanted { client, address, mirrors: &mirrors, needs_login, home: home.as_deref() };
    let plan = clients::plan(&wanted, &root).map_err(Failure::Files)?;
    if arguments.action.write {
        write(&root, &plan, &wanted).map_err(Failure::Files)
    } else {
        Ok(show(&plan, &arguments.action))
    }
}

/// The home directory, for clients whose configuration is a user's own.
fn home(arguments: &ClientArguments) -> Result<Option<String>, String> {
    let client = arguments.client;
    if arguments.rootless && !client.can_be_rootless() {
        return Err(format!("--rootless: {} has no configuration of a user's own", client.name()));
    }
    if !(arguments.rootless || client == ClientKind::DockerDesktop) {
        return Ok(None);
    }
    let home = std::env::var("HOME").unwrap_or_default();
    if !Path::new(&home).is_absolute() {
        return Err("HOME is not set".to_owned());
    }
    Ok(Some(home.trim_end_matches('/').to_owned()))
}

/// `public_url`, or else the address that we listen on.
fn own_address(config: &Config) -> Result<String, String> {
    if let Some(url) = &config.public_url {
        return Ok(url.to_string());
    }
    let listen = listen_address::shown(&config.listen);
    if listen.ends_with(":0") {
        return Err("with port 0 nobody knows the port: say by --url how clients reach the proxy".to_owned());
    }
    if config.tls.cert_file.is_some() {
        return Err("the certificate is for a name, which public_url or --url must say".to_owned());
    }
    Ok(format!("http://{listen}"))
}

/// The registries that were asked for, each once.
fn asked(names: &[String]) -> Result<Vec<String>, String> {
    let mut names = names.to_vec();
    if let Some(wrong) = names.iter().find(|name| !is_registry(name)) {
        return Err(format!("--registry {wrong:?}: expected a host name such as ghcr.io"));
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

/// A host name, with a port if need be. So it needs no quoting in any of the formats.
fn is_registry(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b':');
    name.len() <= 255 && name.bytes().all(is_part) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Those asked for, or else all that the proxy serves at this address.
fn mirrors<'a>(
    client: ClientKind,
    routes: &'a Routes,
    address: &ProxyAddress<'_>,
    asked: &'a [String],
) -> Result<Mirrors<'a>, String> {
    routes.mirrors(address.host, asked).map_err(|error| match error {
        MirrorsError::Unnamed => {
            let name = client.name();
            format!("{error}: say by --registry what images call it, as in client {name} --registry ghcr.io")
        }
        MirrorsError::OtherRegistry { .. } => format!("--registry: {error}"),
        MirrorsError::NotInNames(_) => format!("--registry: {error}: say the registry's host"),
    })
}

/// The configuration alone goes to standard output where it is one piece, so that it can be piped.
fn show(plan: &ClientPlan, action: &ClientAction) -> String {
    let mut text = plan.printed.clone().unwrap_or_default();
    let is_one = plan.files.len() == 1;
    for file in &plan.files {
        if is_one {
            complain(&format_args!("{} would be:", file.path));
        } else {
            let _ = writeln!(text, "# {}", file.path);
        }
        text.push_str(&file.text);
        if !is_one {
            text.push('\n');
        }
    }
    tell(plan);
    if plan.printed.is_none() && !action.print {
        complain(&"nothing is written yet: add --write");
    }
    text
}

fn tell(plan: &ClientPlan) {
    for line in &plan.then {
        complain(&format_args!("then: {line}"));
    }
    for line in &plan.notes {
        complain(&format_args!("note: {line}"));
    }
}

fn write(root: &RootDirectory, plan: &ClientPlan, wanted: &Wanted<'_>) -> Result<String, String> {
    if plan.printed.is_some() {
        return Err(format!(
            "{} has no file on this machine that could be written. Leave --write away, and do this with what is printed: {}",
            wanted.client.name(),
            plan.then.join("; ")
        ));
    }
    // Users without root read the files of podman.
    let is_for_all = matches!(wanted.client, ClientKind::Podman | ClientKind::Crio);
    let mode = if wanted.address.path_secret.is_some() && !is_for_all { 0o600 } else { 0o644 };
    let mut text = String::new();
    for file in &plan.files {
        let written = root.write(&file.path, &file.text, mode).map_err(|what| {
            if text.is_empty() { what } else { format!("{what}\n{text}to put back what was written: --undo") }
        })?;
        let _ = match written {
            Written::Unchanged => writeln!(text, "unchanged  {}", file.path),
            Written::Created => writeln!(text, "created    {}", file.path),
            Written::Changed(before) => writeln!(text, "changed    {}, before: {}", file.path, before.display()),
        };
    }
    tell(plan);
    Ok(text)
}

/// The files of this machine's containerd that exist or would be read if they did.
pub(crate) fn places_of_containerd() -> Vec<String> {
    RootDirectory::open(Path::new("/")).map(|root| containerd::places(None, &root)).unwrap_or_default()
}

fn undo(root: &RootDirectory, client: ClientKind, home: Option<&str>) -> Result<String, String> {
    let mut found = Vec::new();
    for path in clients::places(client, home, root) {
        found.extend(root.undoable(&path)?);
    }
    if found.is_empty() {
        return Ok(format!("nothing to undo: registry-proxy has written nothing for {}\n", client.name()));
    }
    let mut text = String::new();
    // The last first, so that directories are empty when their turn comes.
    for undoable in found.into_iter().rev() {
        let _ = writeln!(text, "as before  {}", undoable.undo()?.display());
    }
    complain(&format_args!("then: {}", plan::restart(client, home.is_some())));
    Ok(text)
}
