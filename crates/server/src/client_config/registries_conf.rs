//! podman, skopeo, buildah and CRI-O: a file of our own in `registries.conf.d`.

use registry_proxy_core::client_snippets;
use toml::Value;

use super::disk::ExistingFiles;
use super::plan::{ClientKind, ClientPlan, PlannedFile, Wanted, restart};
use super::toml_text::{self, string};

const OURS: &str = "50-registry-proxy.conf";

pub(super) fn plan(wanted: &Wanted<'_>, present: &dyn ExistingFiles) -> Result<ClientPlan, String> {
    let folder = folder(wanted.home);
    let path = place(wanted.home);
    let text = client_snippets::registries_conf(&wanted.address, wanted.mirrors.registries());
    let mut plan = ClientPlan::default();
    if wanted.client == ClientKind::PodmanMachine {
        plan.printed = Some(text);
        plan.then.push(format!(
            "registry-proxy client podman-machine --url URL | podman machine ssh 'sudo tee {path}'"
        ));
        return Ok(plan);
    }
    plan.then.push(restart(wanted.client, wanted.home.is_some()).to_owned());
    refuse_conflicts(wanted, present, &folder)?;
    if let Some(other) = present.read(&path)?.filter(|other| *other != text) {
        let lines = other.lines().count();
        return Err(format!("{path}: exists with other content ({lines} lines): rename or remove it first"));
    }
    plan.files.push(PlannedFile { path, text });
    Ok(plan)
}

fn folder(home: Option<&str>) -> String {
    match home {
        Some(home) => format!("{home}/.config/containers"),
        None => "/etc/containers".to_owned(),
    }
}

pub(super) fn place(home: Option<&str>) -> String {
    format!("{}/registries.conf.d/{OURS}", folder(home))
}

/// Of the directory only files with this ending are read.
fn is_read(name: &str) -> bool {
    name.strip_suffix(".conf").is_some()
}

/// A later file replaces what an earlier one says of a prefix: mirrors of others would be lost.
fn refuse_conflicts(wanted: &Wanted<'_>, present: &dyn ExistingFiles, folder: &str) -> Result<(), String> {
    let within = format!("{folder}/registries.conf.d");
    let others = present.list(&within).into_iter().filter(|name| is_read(name) && name != OURS);
    let others = others.map(|name| format!("{within}/{name}"));
    for path in std::iter::once(format!("{folder}/registries.conf")).chain(others) {
        let Some(text) = present.read(&path)? else { continue };
        let table = toml_text::parse(&text).map_err(|what| format!("{path}: {what}"))?;
        if table.contains_key("registries") {
            return Err(format!(
                "{path}: is of the old format ([registries.search]), which has no mirrors by prefix"
            ));
        }
        let tables = table.get("registry").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for name in
            tables.iter().filter_map(|table| table.get("prefix").or_else(|| table.get("location"))?.as_str())
        {
            let of_name = wanted.mirrors.registries().iter().find(|mirrored| mirrored.registry == name);
            if let Some(mirrored) = of_name {
                return Err(format!(
                    "{path}: has a [[registry]] for {name} already. Add there: [[registry.mirror]] location = {}; and leave \
                     {name} away here, by --registry for each of the others",
                    string(&wanted.address.in_names(mirrored.segment))
                ));
            }
        }
    }
    Ok(())
}
