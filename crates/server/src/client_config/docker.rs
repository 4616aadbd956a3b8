//! dockerd and Docker Desktop: `daemon.json`.
//! Keys: <https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file>.

use registry_proxy_core::client_snippets::{DockerMirror, MirroredRegistry, docker_daemon};
use registry_proxy_core::route::Mirrors;

use super::disk::ExistingFiles;
use super::json_text::with_first_in_list;
use super::plan::{ClientKind, ClientPlan, PlannedFile, Wanted, restart};

pub(super) fn plan(wanted: &Wanted<'_>, present: &dyn ExistingFiles) -> Result<ClientPlan, String> {
    let by_name = format!("docker pull {}", wanted.address.in_names(Some("ghcr.io/owner/image")));
    let others = |mirrored: &MirroredRegistry<'_>| mirrored.registry != "docker.io";
    if let Mirrors::These(registries) = wanted.mirrors
        && registries.iter().any(others)
    {
        return Err(format!(
            "dockerd has mirrors for Docker Hub only: leave --registry away, and pull from others by the proxy's name, as \
             in {by_name}"
        ));
    }
    if wanted.needs_login {
        return Err(format!(
            "this proxy wants a login (clients.auth), and dockerd does not log in to a mirror: log in by docker login {}, \
             and pull by the proxy's name, as in {by_name}",
            wanted.address.host_in_names()
        ));
    }
    let Some(mirror) = hub_mirror(wanted) else {
        return Err("dockerd has mirrors for Docker Hub only, and the proxy's configuration has no upstream \
                    docker.io: add [[upstream]] name = \"docker.io\""
            .to_owned());
    };
    let mut plan = ClientPlan::default();
    if mirror.has_path {
        plan.notes.push("Docker before 25 refuses a mirror with a path".to_owned());
    }
    let path = place(wanted.client, wanted.home);
    let before = present.read(&path)?.unwrap_or_default();
    let text = text(&mirror, &before).map_err(|what| format!("{path}: {what}"))?;
    plan.files.push(PlannedFile { path, text });
    plan.then.push(restart(wanted.client, wanted.home.is_some()).to_owned());
    plan.then.push("docker info --format '{{.RegistryConfig.Mirrors}}'     shows the mirror".to_owned());
    plan.notes.push(format!("dockerd mirrors Docker Hub only; from other registries: {by_name}"));
    Ok(plan)
}

/// Docker Hub through the proxy, if it serves it.
pub(super) fn hub_mirror(wanted: &Wanted<'_>) -> Option<DockerMirror> {
    let hub = wanted.mirrors.registries().iter().find(|mirrored| mirrored.registry == "docker.io")?;
    Some(DockerMirror::new(&wanted.address, hub))
}

/// A new file is the core's, into another one the same is added.
fn text(mirror: &DockerMirror, before: &str) -> Result<String, String> {
    if before.is_empty() {
        return Ok(docker_daemon(mirror));
    }
    let text = with_first_in_list(before, "registry-mirrors", &mirror.url)?;
    match &mirror.insecure {
        Some(host) => with_first_in_list(&text, "insecure-registries", host),
        None => Ok(text),
    }
}

pub(super) fn place(client: ClientKind, home: Option<&str>) -> String {
    match (client == ClientKind::DockerDesktop, home) {
        (true, Some(home)) => format!("{home}/.docker/daemon.json"),
        (false, Some(home)) => format!("{home}/.config/docker/daemon.json"),
        (_, None) => "/etc/docker/daemon.json".to_owned(),
    }
}
