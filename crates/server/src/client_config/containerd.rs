//! containerd: `hosts.toml` for each registry, and `config_path`, which tells CRI where they are.
//! Formats: <https://github.com/containerd/containerd/blob/main/docs/hosts.md> and …/docs/cri/registry.md.

use registry_proxy_core::client_snippets::{
    CONTAINERD_HOSTS, CRI_VERSION_2, CRI_VERSION_3, ContainerdHost, MirroredRegistry,
};
use registry_proxy_core::route::Mirrors;
use toml::{Table, Value};

use super::disk::ExistingFiles;
use super::plan::{ClientPlan, PlannedFile, Wanted, restart};
use super::toml_text;

const MAIN: &str = "/etc/containerd/config.toml";
/// The folder that counts for a registry without one of its own.
const EVERY: &str = "_default";

/// What the main configuration says of the directory with the hosts.
#[derive(Debug, PartialEq, Eq)]
enum MainFile {
    /// It names this directory.
    Names(String),
    /// It names none: this key must.
    Sets([&'static str; 3]),
    /// CRI is off: nothing reads it, and nerdctl knows the directory by itself.
    CriIsOff,
}

pub(super) fn plan(wanted: &Wanted<'_>, present: &dyn ExistingFiles) -> Result<ClientPlan, String> {
    let mut plan = ClientPlan::default();
    let directory = match wanted.home {
        Some(home) => {
            plan.notes
                .push("nerdctl without root reads this directory by itself; ctr needs --hosts-dir".to_owned());
            of_user(home)
        }
        None => main_file(present, &mut plan)?,
    };
    for (folder, host) in hosts(wanted, &present.list(&directory)) {
        let path = format!("{directory}/{folder}/hosts.toml");
        let before = present.read(&path)?.unwrap_or_default();
        let text = toml_text::add_before_siblings(&before, &["host", &host.url], host.lines)
            .map_err(|what| format!("{path}: {what}"))?;
        plan.files.push(PlannedFile { path, text });
    }
    if let Mirrors::Every { .. } = wanted.mirrors {
        plan.notes.push(
            "containerd asks the proxy for the images of every registry first; --registry names those it shall"
                .to_owned(),
        );
    }
    if plan.then.is_empty() {
        plan.then.push(restart(wanted.client, wanted.home.is_some()).to_owned());
    }
    plan.then.push(format!(
        "ctr images pull --hosts-dir {directory} docker.io/library/alpine:latest     pulls as CRI would"
    ));
    Ok(plan)
}

/// Which folder gets which host. For every registry one file is enough, but a registry that has a folder of its own already
/// is looked up there and nowhere else.
fn hosts(wanted: &Wanted<'_>, folders: &[String]) -> Vec<(String, ContainerdHost)> {
    let of_one = |mirrored: &MirroredRegistry<'_>| {
        (mirrored.registry.to_owned(), ContainerdHost::for_one(&wanted.address, mirrored))
    };
    match wanted.mirrors {
        Mirrors::These(registries) => registries.iter().map(of_one).collect(),
        Mirrors::Every { registries, .. } => {
            let own = registries.iter().filter(|mirrored| folders.iter().any(|name| name == mirrored.registry));
            let every = (EVERY.to_owned(), ContainerdHost::for_all(&wanted.address));
            std::iter::once(every).chain(own.map(of_one)).collect()
        }
    }
}

/// The main file, and the hosts of every registry that somebody has configured.
pub(super) fn places(home: Option<&str>, present: &dyn ExistingFiles) -> Vec<String> {
    let named = || match look(&toml_text::parse(&present.read(MAIN).ok()??).ok()?).ok()? {
        MainFile::Names(directory) => Some(directory),
        MainFile::Sets(_) | MainFile::CriIsOff => None,
    };
    let directory = home.map(of_user).or_else(named).unwrap_or_else(|| CONTAINERD_HOSTS.to_owned());
    let hosts = present.list(&directory).into_iter().map(|registry| format!("{directory}/{registry}/hosts.toml"));
    let main = home.is_none().then(|| MAIN.to_owned());
    main.into_iter().chain(hosts).collect()
}

fn of_user(home: &str) -> String {
    format!("{home}/.config/containerd/certs.d")
}

/// The directory, and the main file if it must name it first.
fn main_file(present: &dyn ExistingFiles, plan: &mut ClientPlan) -> Result<String, String> {
    let before = present.read(MAIN)?;
    let wrong = |what: String| format!("{MAIN}: {what}");
    let text = match &before {
        // Version 2 is what every containerd reads.
        None => "version = 2\n",
        Some(text) => text.as_str(),
    };
    let place = match look(&toml_text::parse(text).map_err(wrong)?).map_err(wrong)? {
        MainFile::Names(directory) => return Ok(directory),
        MainFile::CriIsOff => {
            plan.notes.push(format!(
                "{MAIN} has CRI off; nerdctl reads {CONTAINERD_HOSTS} by itself, ctr needs --hosts-dir"
            ));
            return Ok(CONTAINERD_HOSTS.to_owned());
        }
        MainFile::Sets(place) => place,
    };
    let text = toml_text::set(text, &place, "config_path", &Value::from(CONTAINERD_HOSTS)).map_err(wrong)?;
    plan.files.push(PlannedFile { path: MAIN.to_owned(), text });
    plan.then
        .push("sudo systemctl restart containerd     (once, for config_path; containers keep running)".to_owned());
    Ok(CONTAINERD_HOSTS.to_owned())
}

fn look(main: &Table) -> Result<MainFile, String> {
    let is_off = |name: &Value| matches!(name.as_str(), Some("cri" | "io.containerd.grpc.v1.cri"));
    if main.get("disabled_plugins").and_then(Value::as_array).is_some_and(|names| names.iter().any(is_off)) {
        return Ok(MainFile::CriIsOff);
    }
    let place = match main.get("version").and_then(Value::as_integer) {
        Some(2) => CRI_VERSION_2,
        Some(3) => CRI_VERSION_3,
        Some(_) | None => {
            return Err(
                "has no version = 2 or 3, and containerd 2 does not read it any more; run containerd config \
                        migrate, and check what it prints"
                    .to_owned(),
            );
        }
    };
    let registry = at(main, &place);
    let is_used = |name: &str| {
        registry.and_then(|table| table.get(name)).and_then(Value::as_table).is_some_and(|t| !t.is_empty())
    };
    if is_used("mirrors") {
        return Err(format!(
            "has mirrors under {}, which containerd refuses together with config_path: move them to {CONTAINERD_HOSTS} and remove \
             them there",
            toml_text::header(&place)
        ));
    }
    let named = registry.and_then(|table| table.get("config_path")).and_then(Value::as_str).unwrap_or_default();
    // A list, as PATH is: the first directory that has the registry counts.
    match named.split(':').find(|directory| !directory.is_empty()) {
        Some(directory) if directory.starts_with('/') => {
            Ok(MainFile::Names(directory.trim_end_matches('/').to_owned()))
        }
        Some(directory) => Err(format!("config_path = {directory:?} is no absolute path")),
        None => Ok(MainFile::Sets(place)),
    }
}

fn at<'a>(main: &'a Table, place: &[&str]) -> Option<&'a Table> {
    let mut table = main;
    for name in place {
        table = table.get(*name)?.as_table()?;
    }
    Some(table)
}
