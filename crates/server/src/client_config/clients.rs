//! Each client by its own module: what its files become, and where they are.

use registry_proxy_core::route::Mirrors;

use super::disk::ExistingFiles;
use super::plan::{ClientKind, ClientPlan, Wanted};
use super::{buildkit, containerd, docker, printed, registries_conf};

/// Where files may lie that an earlier write made, whatever it was asked for.
pub(crate) fn places(client: ClientKind, home: Option<&str>, present: &dyn ExistingFiles) -> Vec<String> {
    match client {
        ClientKind::Docker | ClientKind::DockerDesktop => vec![docker::place(client, home)],
        ClientKind::Containerd => containerd::places(home, present),
        ClientKind::Podman | ClientKind::Crio => vec![registries_conf::place(home)],
        ClientKind::Buildkit => vec![buildkit::place(home)],
        ClientKind::K3s | ClientKind::Rke2 => vec![printed::place_rancher(client.name())],
        ClientKind::PodmanMachine | ClientKind::Talos | ClientKind::Kind | ClientKind::GithubActions => Vec::new(),
    }
}

/// Plans the configuration of a client.
pub(crate) fn plan(wanted: &Wanted<'_>, present: &dyn ExistingFiles) -> Result<ClientPlan, String> {
    let name = wanted.client.name();
    if wanted.address.is_loopback()
        && let Some(example) = wanted.client.instead_of_loopback()
    {
        return Err(format!(
            "for {name}, {} is the client itself and not this machine: say by --url how it reaches the proxy, as in \
             --url {example}",
            wanted.address.host
        ));
    }
    if wanted.client.writes_names()
        && let Some(other) = wanted.mirrors.registries().iter().find(|mirrored| !mirrored.is_in_names())
    {
        return Err(format!(
            "--registry {}: {name} writes mirrors as names of images, in which no port can stand. Give the upstream a name \
             without one",
            other.registry
        ));
    }
    let mut plan = match wanted.client {
        ClientKind::Docker | ClientKind::DockerDesktop => docker::plan(wanted, present)?,
        ClientKind::Containerd => containerd::plan(wanted, present)?,
        ClientKind::Podman | ClientKind::PodmanMachine | ClientKind::Crio => {
            registries_conf::plan(wanted, present)?
        }
        ClientKind::Buildkit => buildkit::plan(wanted, present)?,
        ClientKind::K3s | ClientKind::Rke2 => printed::plan_rancher(wanted, present)?,
        ClientKind::Talos => printed::plan_talos(wanted),
        ClientKind::Kind => printed::plan_kind(wanted),
        ClientKind::GithubActions => printed::plan_github_actions(wanted),
    };
    if let Mirrors::Every { left_out, .. } = wanted.mirrors
        && !left_out.is_empty()
        && wanted.client.takes_registries()
    {
        plan.notes.push(format!(
            "left out, since images do not have these names: {}. --registry HOST names a registry as images do",
            left_out.join(", ")
        ));
    }
    if wanted.address.path_secret.is_some() {
        plan.notes
            .push("the address contains the path secret: whoever reads these lines can use the proxy".to_owned());
    }
    Ok(plan)
}
