//! dockerd and Docker Desktop: `daemon.json`.
//! Keys: <https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file>.

use super::disk::ExistingFiles;
use super::json_text::with_first_in_list;
use super::plan::{ClientKind, ClientPlan, HubRoute, PlannedFile, Wanted, restart};

pub(super) fn plan(wanted: &Wanted<'_>, present: &dyn ExistingFiles) -> Result<ClientPlan, String> {
    if wanted.registries.iter().any(|registry| registry != "docker.io") {
        return Err(format!(
            "dockerd has mirrors for Docker Hub only: leave --registry away, and pull from others by the proxy's name, as \
             in docker pull {}",
            wanted.address.location("ghcr.io/owner/image")
        ));
    }
    let mut plan = ClientPlan::default();
    let (mirror, at) = match wanted.hub {
        HubRoute::Default => (wanted.address.mirror(), wanted.address.clone()),
        HubRoute::Host(host) => (wanted.address.at_host(host).mirror(), wanted.address.at_host(host)),
        HubRoute::Path => (format!("{}/docker.io", wanted.address.mirror()), wanted.address.clone()),
        HubRoute::Absent => {
            return Err("dockerd has mirrors for Docker Hub only, and the proxy's configuration has no upstream \
                        docker.io: add [[upstream]] name = \"docker.io\""
                .to_owned());
        }
    };
    if wanted.address.has_secret() || *wanted.hub == HubRoute::Path {
        plan.notes.push("Docker before 25 refuses a mirror with a path".to_owned());
    }
    let path = place(wanted.client, wanted.home);
    let before = present.read(&path)?.unwrap_or_default();
    let wrong = |what: String| format!("{path}: {what}");
    let mut text = with_first_in_list(&before, "registry-mirrors", &mirror).map_err(wrong)?;
    if !at.is_trusted_by_docker() {
        text = with_first_in_list(&text, "insecure-registries", at.authority()).map_err(wrong)?;
    }
    plan.files.push(PlannedFile { path, text });
    plan.then.push(restart(wanted.client, wanted.home.is_some()).to_owned());
    plan.then.push("docker info --format '{{.RegistryConfig.Mirrors}}'     shows the mirror".to_owned());
    plan.notes.push(format!(
        "dockerd mirrors Docker Hub only; from other registries: docker pull {}",
        wanted.address.location("ghcr.io/owner/image")
    ));
    Ok(plan)
}

pub(super) fn place(client: ClientKind, home: Option<&str>) -> String {
    match (client == ClientKind::DockerDesktop, home) {
        (true, Some(home)) => format!("{home}/.docker/daemon.json"),
        (false, Some(home)) => format!("{home}/.config/docker/daemon.json"),
        (_, None) => "/etc/docker/daemon.json".to_owned(),
    }
}
