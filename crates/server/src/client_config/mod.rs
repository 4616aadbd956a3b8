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

use registry_proxy_core::secret::Secret;
use registry_proxy_core::{Config, catalogue};

use self::address::ProxyAddress;
use self::arguments::ClientAction;
pub(crate) use self::arguments::ClientArguments;
use self::disk::{RootDirectory, Written};
use self::plan::{ClientKind, ClientPlan, HubRoute, Wanted};
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
    let choice = Choice::new(arguments, config, home).map_err(Failure::Usage)?;
    let plan = clients::plan(&choice.borrow(), &root).map_err(Failure::Files)?;
    if arguments.action.write {
        write(&root, &plan, &choice).map_err(Failure::Files)
    } else {
        Ok(show(&plan, &arguments.action))
    }
}

/// What the arguments and the configuration choose.
struct Choice {
    client: ClientKind,
    address: ProxyAddress,
    registries: Vec<String>,
    hub: HubRoute,
    home: Option<String>,
}

impl Choice {
    fn new(arguments: &ClientArguments, config: &Config, home: Option<String>) -> Result<Self, String> {
        let client = arguments.client;
        let secret = config.clients.path_secret.as_ref().map(Secret::expose);
        let address = match &arguments.url {
            Some(url) => ProxyAddress::parse(url)?,
            None => ProxyAddress::parse(&own_address(config)?)?,
        };
        Ok(Self {
            client,
            address: address.with_secret(secret),
            registries: registries(arguments, config)?,
            hub: hub(config),
            home,
        })
    }

    fn borrow(&self) -> Wanted<'_> {
        Wanted {
            client: self.client,
            address: &self.address,
            registries: &self.registries,
            hub: &self.hub,
            home: self.home.as_deref(),
        }
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

/// Those asked for, or else those of the configuration.
fn registries(arguments: &ClientArguments, config: &Config) -> Result<Vec<String>, String> {
    let for_docker = matches!(arguments.client, ClientKind::Docker | ClientKind::DockerDesktop);
    if config.upstream.iter().any(|upstream| upstream.backend.is_some()) && !for_docker {
        return Err(format!(
            "REGISTRY_BACKEND is set: such a proxy serves one registry and reads no registry's name in a path, which {} \
             needs. Use [[upstream]] in its place",
            arguments.client.name()
        ));
    }
    let mut names = arguments.registries.clone();
    if names.is_empty() && !for_docker {
        names = config.upstream.iter().map(|upstream| upstream.name.clone()).collect();
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

fn hub(config: &Config) -> HubRoute {
    let is_hub = |host: Option<&str>| host.is_some_and(catalogue::is_docker_hub);
    let Some(upstream) = config.upstream.iter().find(|upstream| {
        let is_only = upstream.backend.is_some() && upstream.urls.iter().any(|url| is_hub(url.host_str()));
        upstream.name == "docker.io" || is_only
    }) else {
        return HubRoute::Absent;
    };
    match upstream.hosts.first() {
        _ if upstream.default || upstream.backend.is_some() => HubRoute::Default,
        Some(host) => HubRoute::Host(host.clone()),
        None => HubRoute::Path,
    }
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

fn write(root: &RootDirectory, plan: &ClientPlan, wanted: &Choice) -> Result<String, String> {
    if plan.printed.is_some() {
        return Err(format!(
            "{} has no file on this machine that could be written. Leave --write away, and do this with what is printed: {}",
            wanted.client.name(),
            plan.then.join("; ")
        ));
    }
    // Users without root read the files of podman.
    let is_for_all = matches!(wanted.client, ClientKind::Podman | ClientKind::Crio);
    let mode = if wanted.address.has_secret() && !is_for_all { 0o600 } else { 0o644 };
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
