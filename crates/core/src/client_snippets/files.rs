//! The configuration files of clients, whole, and the values that are added to files which are there already.

use std::fmt::Write as _;

use super::{MirroredRegistry, ProxyAddress};

/// Where CRI is told of the directory with the hosts: the table of version 2, which containerd 1.x reads and 2.x converts, and
/// of version 3. <https://github.com/containerd/containerd/blob/main/docs/cri/registry.md>
pub const CRI_VERSION_2: [&str; 3] = ["plugins", "io.containerd.grpc.v1.cri", "registry"];
/// See [`CRI_VERSION_2`].
pub const CRI_VERSION_3: [&str; 3] = ["plugins", "io.containerd.cri.v1.images", "registry"];
/// The directory with containerd's hosts.
pub const CONTAINERD_HOSTS: &str = "/etc/containerd/certs.d";

/// What a table of containerd's hosts says of us where the address is a root, and where it ends with the path of a registry.
const HOST_BY_NS: &str = "  capabilities = [\"pull\", \"resolve\"]\n";
const HOST_BY_PATH: &str = "  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n";

/// Docker Hub through us, as dockerd has it in `registry-mirrors`.
#[derive(Debug, PartialEq, Eq)]
pub struct DockerMirror {
    /// The mirror.
    pub url: String,
    /// Its host, for `insecure-registries`, where dockerd must be told to speak plain HTTP.
    pub insecure: Option<String>,
    /// Only Docker 25 and later takes it.
    pub has_path: bool,
}

impl DockerMirror {
    /// `hub` is Docker Hub among our registries.
    pub fn new(address: &ProxyAddress<'_>, hub: &MirroredRegistry<'_>) -> Self {
        let own_host = hub.host.filter(|_| !hub.is_default).map(|host| address.host_beside(host));
        let address = ProxyAddress { host: own_host.as_deref().unwrap_or(address.host), ..*address };
        let segment = hub.segment.filter(|_| !hub.is_default && own_host.is_none());
        let path = segment.map(|segment| format!("/{segment}")).unwrap_or_default();
        Self {
            url: format!("{}{path}", address.root()),
            insecure: address.is_insecure_to_docker().then(|| address.host_in_names()),
            has_path: segment.is_some() || address.path_secret.is_some(),
        }
    }
}

/// A table of containerd's hosts: its name within `host`, and its lines.
#[derive(Debug, PartialEq, Eq)]
pub struct ContainerdHost {
    /// Our address.
    pub url: String,
    /// What is said of it.
    pub lines: &'static str,
}

impl ContainerdHost {
    /// For `_default/hosts.toml`: all registries by one file, which containerd names by `ns`.
    pub fn for_all(address: &ProxyAddress<'_>) -> Self {
        Self { url: address.root(), lines: HOST_BY_NS }
    }

    /// For the `hosts.toml` of this registry. It names no `server`: by itself containerd asks the registry last.
    pub fn for_one(address: &ProxyAddress<'_>, mirrored: &MirroredRegistry<'_>) -> Self {
        Self { url: address.api(mirrored.segment), lines: HOST_BY_PATH }
    }

    /// The file that has this host alone.
    pub fn file(&self) -> String {
        format!("[host.\"{}\"]\n{}", self.url, self.lines)
    }
}

/// `/etc/docker/daemon.json` with us as the mirror of Docker Hub, and leave to speak plain HTTP where that is needed.
pub fn docker_daemon(mirror: &DockerMirror) -> String {
    let insecure = mirror.insecure.as_ref().map(|host| format!(",\n{}", insecure(host))).unwrap_or_default();
    format!("{{\n  \"registry-mirrors\": [\"{}\"]{insecure}\n}}\n", mirror.url)
}

/// The same with leave to speak plain HTTP alone.
pub fn docker_insecure(address: &ProxyAddress<'_>) -> String {
    format!("{{\n{}\n}}\n", insecure(&address.host_in_names()))
}

fn insecure(host: &str) -> String {
    format!("  \"insecure-registries\": [\"{host}\"]")
}

/// The lines of containerd's main file that name [`CONTAINERD_HOSTS`].
pub fn containerd_main(table: [&str; 3]) -> String {
    let [plugins, plugin, registry] = table;
    format!("[{plugins}.\"{plugin}\".{registry}]\n  config_path = \"{CONTAINERD_HOSTS}\"\n")
}

/// `/etc/containers/registries.conf.d/50-registry-proxy.conf`, for Podman, Buildah, skopeo and CRI-O.
/// Format: <https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md>.
pub fn registries_conf(address: &ProxyAddress<'_>, mirrored: &[MirroredRegistry<'_>]) -> String {
    let insecure = if address.is_https { "" } else { "insecure = true\n" };
    let sections = mirrored.iter().map(|mirrored| {
        let (registry, location) = (mirrored.registry, address.in_names(mirrored.segment));
        format!(
            "[[registry]]\nlocation = \"{registry}\"\n[[registry.mirror]]\nlocation = \"{location}\"\n{insecure}"
        )
    });
    sections.collect::<Vec<_>>().join("\n")
}

/// `buildkitd.toml`. Format: <https://github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md>.
pub fn buildkitd(address: &ProxyAddress<'_>, mirrored: &[MirroredRegistry<'_>]) -> String {
    let mirrors = mirrored.iter().map(|mirrored| {
        let location = address.in_names(mirrored.segment);
        format!("[registry.\"{}\"]\n  mirrors = [\"{location}\"]\n", mirrored.registry)
    });
    let plain =
        (!address.is_https).then(|| format!("[registry.\"{}\"]\n  http = true\n", address.host_in_names()));
    mirrors.chain(plain).collect::<Vec<_>>().join("\n")
}

/// A step of a GitHub Actions workflow: Docker Hub through us for the runner's dockerd.
pub fn github_actions_docker(mirror: &DockerMirror) -> String {
    let insecure = mirror
        .insecure
        .as_ref()
        .map(|host| format!(" | .\"insecure-registries\" = [\"{host}\"] + (.\"insecure-registries\" // [])"));
    format!(
        "\
- name: Pull from Docker Hub through registry-proxy
  run: |
    test -s /etc/docker/daemon.json || echo '{{}}' | sudo tee /etc/docker/daemon.json
    jq '.\"registry-mirrors\" = [\"{}\"] + (.\"registry-mirrors\" // []){}' /etc/docker/daemon.json > daemon.json
    sudo mv daemon.json /etc/docker/daemon.json
    sudo systemctl restart docker
",
        mirror.url,
        insecure.unwrap_or_default()
    )
}

/// A step of a GitHub Actions workflow: `buildkitd.toml` for the builder of docker/setup-buildx-action.
/// Inputs: <https://github.com/docker/setup-buildx-action#inputs>.
pub fn github_actions_buildx(address: &ProxyAddress<'_>, mirrored: &[MirroredRegistry<'_>]) -> String {
    let mut text = "\
- name: Build with base images from registry-proxy
  uses: docker/setup-buildx-action@v3
  with:
    buildkitd-config-inline: |
"
    .to_owned();
    for line in buildkitd(address, mirrored).lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}{line}", if line.is_empty() { "" } else { "      " });
    }
    text
}

/// `/etc/rancher/k3s/registries.yaml`, and RKE2's.
/// Format: <https://docs.k3s.io/installation/private-registry>, <https://docs.rke2.io/install/private_registry>.
pub fn rancher_registries(address: &ProxyAddress<'_>, mirrored: &[MirroredRegistry<'_>]) -> String {
    let mut text = "mirrors:\n".to_owned();
    for mirrored in mirrored {
        let endpoint = address.api(mirrored.segment);
        let _ = writeln!(text, "  \"{}\":\n    endpoint:\n      - \"{endpoint}\"", mirrored.registry);
    }
    text
}

/// What belongs behind [`rancher_registries`] where clients log in. The host is that of the endpoint's address.
pub fn rancher_login(address: &ProxyAddress<'_>) -> String {
    format!(
        "configs:\n  \"{}\":\n    auth:\n      username: YOUR-NAME\n      password: YOUR-PASSWORD\n",
        address.host
    )
}

/// Documents of Talos' machine configuration, from Talos 1.12 on.
/// Format: <https://docs.siderolabs.com/talos/v1.12/reference/configuration/cri/registrymirrorconfig>.
pub fn talos(address: &ProxyAddress<'_>, mirrored: &[MirroredRegistry<'_>]) -> String {
    let documents = mirrored.iter().map(|mirrored| {
        format!(
            "apiVersion: v1alpha1\nkind: RegistryMirrorConfig\nname: {}\nendpoints:\n  - url: {}\n    overridePath: true\n",
            mirrored.registry,
            address.api(mirrored.segment)
        )
    });
    documents.collect::<Vec<_>>().join("---\n")
}

#[cfg(test)]
mod tests;
