//! Clients whose configuration is YAML. A new file is written; into an existing one nothing is merged, since no small YAML
//! library keeps comments: the lines are printed for a person to add.

use std::fmt::Write as _;

use super::buildkit;
use super::disk::ExistingFiles;
use super::plan::{ClientPlan, HubRoute, PlannedFile, Wanted, restart};

/// k3s and RKE2: `registries.yaml`.
/// Format: <https://docs.k3s.io/installation/private-registry>, <https://docs.rke2.io/install/private_registry>.
pub(super) fn plan_rancher(wanted: &Wanted<'_>, present: &dyn ExistingFiles) -> Result<ClientPlan, String> {
    let mut text = "mirrors:\n".to_owned();
    for registry in wanted.registries {
        let url = wanted.address.api(registry);
        let _ = write!(text, "  \"{registry}\":\n    endpoint:\n      - \"{url}\"\n");
    }
    let path = place_rancher(wanted.client.name());
    if let Some(other) = present.read(&path)?.filter(|other| *other != text && !other.trim().is_empty()) {
        let lines = other.lines().count();
        return Err(format!(
            "{path}: exists with other content ({lines} lines), and YAML is not merged. Add these lines by hand:\n{text}"
        ));
    }
    let mut plan = ClientPlan::default();
    plan.files.push(PlannedFile { path, text });
    plan.then.push(restart(wanted.client, false).to_owned());
    Ok(plan)
}

/// `/etc/rancher/k3s/registries.yaml`
pub(super) fn place_rancher(distribution: &str) -> String {
    format!("/etc/rancher/{distribution}/registries.yaml")
}

/// Talos up to 1.11: a patch of the machine configuration. Later versions still read it.
/// Format: <https://www.talos.dev/v1.11/reference/configuration/v1alpha1/config/#RegistryMirrorConfig>.
pub(super) fn plan_talos(wanted: &Wanted<'_>) -> ClientPlan {
    let mut text = "machine:\n  registries:\n    mirrors:\n".to_owned();
    for registry in wanted.registries {
        let url = wanted.address.api(registry);
        let _ = write!(
            text,
            "      \"{registry}\":\n        endpoints:\n          - \"{url}\"\n        overridePath: true\n"
        );
    }
    ClientPlan {
        printed: Some(text),
        then: vec![
            "registry-proxy client talos --url URL > mirrors.yaml".to_owned(),
            "talosctl patch mc --patch @mirrors.yaml".to_owned(),
        ],
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
    let registries: Vec<String> =
        wanted.registries.iter().map(|registry| format!(" --registry {registry}")).collect();
    ClientPlan {
        printed: Some(text.to_owned()),
        then: vec![
            format!(
                "mkdir kind-nodes && registry-proxy client containerd --root kind-nodes --url {}{} --write",
                wanted.address.mirror(),
                registries.concat()
            ),
            "registry-proxy client kind --url URL > kind.yaml && kind create cluster --config kind.yaml"
                .to_owned(),
        ],
        ..ClientPlan::default()
    }
}

/// Steps of a workflow of GitHub Actions: the runner's dockerd, and a builder of buildx.
/// Inputs: <https://github.com/docker/setup-buildx-action#inputs>.
pub(super) fn plan_github_actions(wanted: &Wanted<'_>) -> ClientPlan {
    let mut text = String::new();
    let mirror = match wanted.hub {
        HubRoute::Default => Some(wanted.address.mirror()),
        HubRoute::Host(host) => Some(wanted.address.at_host(host).mirror()),
        HubRoute::Path => Some(format!("{}/docker.io", wanted.address.mirror())),
        HubRoute::Absent => None,
    };
    if let Some(mirror) = mirror.filter(|_| wanted.registries.iter().any(|registry| registry == "docker.io")) {
        let insecure = if wanted.address.is_trusted_by_docker() {
            String::new()
        } else {
            format!(
                " | .\"insecure-registries\" = [\"{}\"] + (.\"insecure-registries\" // [])",
                wanted.address.authority()
            )
        };
        let _ = write!(
            text,
            "\
- name: Pull from Docker Hub through registry-proxy
  run: |
    test -s /etc/docker/daemon.json || echo '{{}}' | sudo tee /etc/docker/daemon.json
    jq '.\"registry-mirrors\" = [\"{mirror}\"] + (.\"registry-mirrors\" // []){insecure}' /etc/docker/daemon.json > daemon.json
    sudo mv daemon.json /etc/docker/daemon.json
    sudo systemctl restart docker
"
        );
    }
    text.push_str(
        "\
- name: Build with base images from registry-proxy
  uses: docker/setup-buildx-action@v3
  with:
    buildkitd-config-inline: |
",
    );
    // A new file: nothing in it can refuse.
    for line in buildkit::text(wanted, String::new()).unwrap_or_default().lines() {
        let _ = writeln!(text, "{}{line}", if line.is_empty() { "" } else { "      " });
    }
    ClientPlan {
        printed: Some(text),
        notes: vec![
            "containers in services: and container: start before the steps, and do not come through it".to_owned(),
        ],
        ..ClientPlan::default()
    }
}
