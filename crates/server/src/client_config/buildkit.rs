//! buildkitd: `buildkitd.toml`, as the core has it, added to what is there.

use registry_proxy_core::client_snippets;
use toml::Value;

use super::disk::ExistingFiles;
use super::plan::{ClientPlan, PlannedFile, Wanted, restart};
use super::toml_text;

pub(super) fn plan(wanted: &Wanted<'_>, present: &dyn ExistingFiles) -> Result<ClientPlan, String> {
    let path = place(wanted.home);
    let before = present.read(&path)?.unwrap_or_default();
    let text = text(wanted, before).map_err(|what| format!("{path}: {what}"))?;
    let mut plan = ClientPlan::default();
    plan.then.push(restart(wanted.client, wanted.home.is_some()).to_owned());
    plan.then.push(format!(
        "docker buildx create --name NAME --driver docker-container --buildkitd-config {path}     for a builder of buildx, \
         which keeps the file as it was when it was created"
    ));
    if wanted.address.is_loopback() {
        plan.notes.push(format!(
            "in a builder's container {} is the container itself: add --driver-opt network=host, or use --url",
            wanted.address.host
        ));
    }
    plan.files.push(PlannedFile { path, text });
    Ok(plan)
}

pub(super) fn place(home: Option<&str>) -> String {
    match home {
        Some(home) => format!("{home}/.config/buildkit/buildkitd.toml"),
        None => "/etc/buildkit/buildkitd.toml".to_owned(),
    }
}

/// A new file is the core's, into another one the same is added.
fn text(wanted: &Wanted<'_>, before: String) -> Result<String, String> {
    let registries = wanted.mirrors.registries();
    if before.trim().is_empty() {
        return Ok(client_snippets::buildkitd(&wanted.address, registries));
    }
    let mut text = before;
    for mirrored in registries {
        let mirror = wanted.address.in_names(mirrored.segment);
        text = toml_text::put_first(&text, &["registry", mirrored.registry], "mirrors", &mirror)?;
    }
    if !wanted.address.is_https {
        let host = wanted.address.host_in_names();
        text = toml_text::set(&text, &["registry", &host], "http", &Value::Boolean(true))?;
    }
    Ok(text)
}
