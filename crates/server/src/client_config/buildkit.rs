//! buildkitd: `buildkitd.toml`. Format: <https://github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md>.

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
            wanted.address.authority()
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

/// The file with the mirrors, and with plain http for the proxy where it has no https.
pub(super) fn text(wanted: &Wanted<'_>, before: String) -> Result<String, String> {
    let mut text = before;
    for registry in wanted.registries {
        let mirror = wanted.address.location(registry);
        text = toml_text::put_first(&text, &["registry", registry], "mirrors", &mirror)?;
    }
    if !wanted.address.is_https() {
        text = toml_text::set(&text, &["registry", wanted.address.authority()], "http", &Value::Boolean(true))?;
    }
    Ok(text)
}
