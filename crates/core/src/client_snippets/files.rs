//! The configuration files of clients, whole.

use std::fmt::Write as _;

use super::{MirroredRegistry, ProxyAddress};

/// `/etc/docker/daemon.json` with us as the mirror of Docker Hub, and leave to speak plain HTTP where that is needed. `hub` is
/// Docker Hub among our registries. A mirror's path needs Docker 25.
pub fn docker_daemon(address: &ProxyAddress<'_>, hub: &MirroredRegistry<'_>) -> String {
    let path = hub.segment.filter(|_| !hub.is_default).map(|segment| format!("/{segment}")).unwrap_or_default();
    let mirror = format!("  \"registry-mirrors\": [\"{}{path}\"]", address.root());
    let insecure =
        if address.is_insecure_to_docker() { format!(",\n{}", insecure(address)) } else { String::new() };
    format!("{{\n{mirror}{insecure}\n}}\n")
}

/// The same with leave to speak plain HTTP alone.
pub fn docker_insecure(address: &ProxyAddress<'_>) -> String {
    format!("{{\n{}\n}}\n", insecure(address))
}

fn insecure(address: &ProxyAddress<'_>) -> String {
    format!("  \"insecure-registries\": [\"{}\"]", address.host_in_names())
}

/// `/etc/containerd/certs.d/_default/hosts.toml`: all registries by one file, which containerd names by `ns`.
pub fn containerd_for_all(address: &ProxyAddress<'_>) -> String {
    format!("[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n", address.root())
}

/// `/etc/containerd/certs.d/<registry>/hosts.toml`
pub fn containerd_for_one(address: &ProxyAddress<'_>, mirrored: &MirroredRegistry<'_>) -> String {
    // This is where containerd looks for Docker Hub.
    let server = if mirrored.registry == "docker.io" { "registry-1.docker.io" } else { mirrored.registry };
    format!(
        "server = \"https://{server}\"\n\n[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n",
        address.api(mirrored.segment)
    )
}

/// `/etc/containers/registries.conf.d/50-registry-proxy.conf`, for Podman, Buildah, skopeo and CRI-O.
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

/// `buildkitd.toml`
pub fn buildkitd(address: &ProxyAddress<'_>, mirrored: &[MirroredRegistry<'_>]) -> String {
    let mut text = String::new();
    for mirrored in mirrored {
        let location = address.in_names(mirrored.segment);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "[registry.\"{}\"]\n  mirrors = [\"{location}\"]", mirrored.registry);
    }
    if !address.is_https {
        let _ = writeln!(text, "[registry.\"{}\"]\n  http = true", address.host_in_names());
    }
    text
}

/// A step of a GitHub Actions workflow: the same file for the builder of docker/setup-buildx-action.
pub fn github_actions(address: &ProxyAddress<'_>, mirrored: &[MirroredRegistry<'_>]) -> String {
    let mut text = "- uses: docker/setup-buildx-action@v3\n  with:\n    buildkitd-config-inline: |\n".to_owned();
    for line in buildkitd(address, mirrored).lines() {
        let _ = writeln!(text, "      {line}");
    }
    text
}

/// `/etc/rancher/k3s/registries.yaml`, and RKE2's. With `has_login`, also the place of the login.
pub fn rancher_registries(
    address: &ProxyAddress<'_>,
    mirrored: &[MirroredRegistry<'_>],
    has_login: bool,
) -> String {
    let mut text = "mirrors:\n".to_owned();
    for mirrored in mirrored {
        let endpoint = address.api(mirrored.segment);
        let _ = writeln!(text, "  {}:\n    endpoint:\n      - \"{endpoint}\"", mirrored.registry);
    }
    if has_login {
        let host = address.host_in_names();
        let _ = writeln!(
            text,
            "configs:\n  \"{host}\":\n    auth:\n      username: YOUR-NAME\n      password: YOUR-PASSWORD"
        );
    }
    text
}

/// Documents of Talos' machine configuration, from Talos 1.12 on.
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
mod tests {
    use super::*;

    const HUB: MirroredRegistry<'_> =
        MirroredRegistry { registry: "docker.io", segment: Some("docker.io"), is_default: true };
    const GITHUB: MirroredRegistry<'_> =
        MirroredRegistry { registry: "ghcr.io", segment: Some("ghcr.io"), is_default: false };
    const PUBLIC: ProxyAddress<'_> = ProxyAddress { is_https: true, host: "p.example", path_secret: None };
    const GUARDED: ProxyAddress<'_> = ProxyAddress { path_secret: Some("s3cret"), ..PUBLIC };
    const NEAR: ProxyAddress<'_> = ProxyAddress { is_https: false, host: "192.0.2.7:3000", path_secret: None };

    #[test]
    fn docker_has_one_mirror_and_plain_http_only_where_it_is_needed() {
        assert_eq!(docker_daemon(&PUBLIC, &HUB), "{\n  \"registry-mirrors\": [\"https://p.example\"]\n}\n");
        let second = MirroredRegistry { is_default: false, ..HUB };
        assert_eq!(
            docker_daemon(&GUARDED, &second),
            "{\n  \"registry-mirrors\": [\"https://p.example/s3cret/docker.io\"]\n}\n"
        );
        assert_eq!(
            docker_daemon(&NEAR, &HUB),
            "{\n  \"registry-mirrors\": [\"http://192.0.2.7:3000\"],\n  \"insecure-registries\": [\"192.0.2.7:3000\"]\n}\n"
        );
        assert_eq!(docker_insecure(&NEAR), "{\n  \"insecure-registries\": [\"192.0.2.7:3000\"]\n}\n");
        for address in [PUBLIC, GUARDED, NEAR] {
            let text = docker_daemon(&address, &HUB);
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn containerd_names_all_registries_by_one_address_or_each_by_its_own() {
        assert_eq!(
            containerd_for_all(&GUARDED),
            "[host.\"https://p.example/s3cret\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        );
        assert_eq!(
            containerd_for_one(&NEAR, &GITHUB),
            "server = \"https://ghcr.io\"\n\n[host.\"http://192.0.2.7:3000/v2/ghcr.io\"]\n  \
             capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n"
        );
        assert!(containerd_for_one(&PUBLIC, &HUB).starts_with("server = \"https://registry-1.docker.io\"\n"));
    }

    #[test]
    fn podman_and_buildkit_are_told_of_plain_http() {
        assert_eq!(
            registries_conf(&NEAR, &[HUB, GITHUB]),
            "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"192.0.2.7:3000/docker.io\"\n\
             insecure = true\n\n\
             [[registry]]\nlocation = \"ghcr.io\"\n[[registry.mirror]]\nlocation = \"192.0.2.7:3000/ghcr.io\"\n\
             insecure = true\n"
        );
        assert_eq!(
            buildkitd(&NEAR, &[GITHUB]),
            "[registry.\"ghcr.io\"]\n  mirrors = [\"192.0.2.7:3000/ghcr.io\"]\n\
             [registry.\"192.0.2.7:3000\"]\n  http = true\n"
        );
        assert_eq!(
            github_actions(&GUARDED, &[GITHUB]),
            "- uses: docker/setup-buildx-action@v3\n  with:\n    buildkitd-config-inline: |\n      \
             [registry.\"ghcr.io\"]\n        mirrors = [\"p.example/s3cret/ghcr.io\"]\n"
        );
    }

    #[test]
    fn nodes_of_kubernetes_have_an_endpoint_for_each_registry() {
        assert_eq!(
            rancher_registries(&GUARDED, &[GITHUB], true),
            "mirrors:\n  ghcr.io:\n    endpoint:\n      - \"https://p.example/v2/s3cret/ghcr.io\"\n\
             configs:\n  \"p.example\":\n    auth:\n      username: YOUR-NAME\n      password: YOUR-PASSWORD\n"
        );
        let alone = MirroredRegistry { registry: "ghcr.io", segment: None, is_default: true };
        assert_eq!(
            rancher_registries(&PUBLIC, &[alone], false),
            "mirrors:\n  ghcr.io:\n    endpoint:\n      - \"https://p.example/v2\"\n"
        );
        assert_eq!(
            talos(&PUBLIC, &[HUB, GITHUB]),
            "apiVersion: v1alpha1\nkind: RegistryMirrorConfig\nname: docker.io\nendpoints:\n  \
             - url: https://p.example/v2/docker.io\n    overridePath: true\n---\n\
             apiVersion: v1alpha1\nkind: RegistryMirrorConfig\nname: ghcr.io\nendpoints:\n  \
             - url: https://p.example/v2/ghcr.io\n    overridePath: true\n"
        );
    }

    #[test]
    fn what_is_written_as_toml_is_toml() {
        for address in [PUBLIC, GUARDED, NEAR] {
            for text in [
                containerd_for_all(&address),
                containerd_for_one(&address, &HUB),
                registries_conf(&address, &[HUB, GITHUB]),
                buildkitd(&address, &[HUB, GITHUB]),
            ] {
                assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
            }
        }
    }
}
