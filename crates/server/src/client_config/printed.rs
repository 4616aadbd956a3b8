//! Clients whose configuration is YAML. A new file is written; into an existing one nothing is merged, since no small YAML
//! library keeps comments: the lines are printed for a person to add.

use registry_proxy_core::client_snippets;
use registry_proxy_core::route::Mirrors;

use super::disk::ExistingFiles;
use super::docker;
use super::plan::{ClientPlan, PlannedFile, Wanted, restart};

/// k3s and RKE2: `registries.yaml`.
pub(super) fn plan_rancher(wanted: &Wanted<'_>, present: &dyn ExistingFiles) -> Result<ClientPlan, String> {
    let text = client_snippets::rancher_registries(&wanted.address, wanted.mirrors.registries());
    let path = place_rancher(wanted.client.name());
    if let Some(other) = present.read(&path)?.filter(|other| *other != text && !other.trim().is_empty()) {
        let lines = other.lines().count();
        return Err(format!(
            "{path}: exists with other content ({lines} lines), and YAML is not merged. Add these lines by hand:\n{text}"
        ));
    }
    let mut plan = ClientPlan::default();
    if wanted.needs_login {
        let login = client_snippets::rancher_login(&wanted.address);
        plan.notes.push(format!("this proxy wants a login (clients.auth); add to {path}:\n{}", login.trim_end()));
    }
    plan.files.push(PlannedFile { path, text });
    plan.then.push(restart(wanted.client, false).to_owned());
    Ok(plan)
}

/// `/etc/rancher/k3s/registries.yaml`
pub(super) fn place_rancher(distribution: &str) -> String {
    format!("/etc/rancher/{distribution}/registries.yaml")
}

/// Talos from 1.12 on: documents of the machine configuration.
pub(super) fn plan_talos(wanted: &Wanted<'_>) -> ClientPlan {
    ClientPlan {
        printed: Some(client_snippets::talos(&wanted.address, wanted.mirrors.registries())),
        then: vec![
            "registry-proxy client talos --url URL > mirrors.yaml".to_owned(),
            "talosctl patch mc --patch @mirrors.yaml".to_owned(),
        ],
        notes: vec!["before Talos 1.12 these are no documents but a patch: docs/how-to/talos.md".to_owned()],
        ..ClientPlan::default()
    }
}

/// kind: nodes with the directory of `client containerd --root`.
/// Format: <https://kind.sigs.k8s.io/docs/user/local-registry/>.
pub(super) fn plan_kind(wanted: &Wanted<'_>) -> ClientPlan {
    let text = "\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
containerdConfigPatches:
  # Needed before kind 0.27; later nodes have it.
  - |-
    [plugins.\"io.containerd.grpc.v1.cri\".registry]
      config_path = \"/etc/containerd/certs.d\"
nodes:
  - role: control-plane
    extraMounts:
      - hostPath: ./kind-nodes/etc/containerd/certs.d
        containerPath: /etc/containerd/certs.d
";
    let registries: Vec<String> = match wanted.mirrors {
        Mirrors::Every { .. } => Vec::new(),
        Mirrors::These(these) => these.iter().map(|one| format!(" --registry {}", one.registry)).collect(),
    };
    ClientPlan {
        printed: Some(text.to_owned()),
        then: vec![
            format!(
                "mkdir kind-nodes && registry-proxy client containerd --root kind-nodes --url {}{} --write",
                wanted.address.root(),
                registries.concat()
            ),
            "registry-proxy client kind --url URL > kind.yaml && kind create cluster --config kind.yaml"
                .to_owned(),
        ],
        ..ClientPlan::default()
    }
}

/// Steps of a workflow of GitHub Actions: the runner's dockerd, and a builder of buildx.
pub(super) fn plan_github_actions(wanted: &Wanted<'_>) -> ClientPlan {
    // dockerd does not log in to a mirror.
    let hub = docker::hub_mirror(wanted).filter(|_| !wanted.needs_login);
    let mut text = hub.as_ref().map(client_snippets::github_actions_docker).unwrap_or_default();
    text.push_str(&client_snippets::github_actions_buildx(&wanted.address, wanted.mirrors.registries()));
    let mut notes = vec![
        "containers in services: and container: start before the steps, and do not come through it".to_owned(),
    ];
    if wanted.needs_login {
        let host = wanted.address.host_in_names();
        notes.push(format!("this proxy wants a login (clients.auth): docker/login-action with registry: {host}"));
    }
    ClientPlan { printed: Some(text), notes, ..ClientPlan::default() }
}
