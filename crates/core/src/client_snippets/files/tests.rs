//! Each file as its client wants it, written by hand.

use super::*;

const HUB: MirroredRegistry<'_> =
    MirroredRegistry { registry: "docker.io", segment: Some("docker.io"), is_default: true, host: None };
const GITHUB: MirroredRegistry<'_> =
    MirroredRegistry { registry: "ghcr.io", segment: Some("ghcr.io"), is_default: false, host: None };
const PUBLIC: ProxyAddress<'_> = ProxyAddress { is_https: true, host: "p.example", path_secret: None };
const GUARDED: ProxyAddress<'_> = ProxyAddress { path_secret: Some("s3cret"), ..PUBLIC };
const NEAR: ProxyAddress<'_> = ProxyAddress { is_https: false, host: "192.0.2.7:3000", path_secret: None };
/// A name that clients would read as a repository's.
const SHORT: ProxyAddress<'_> = ProxyAddress { is_https: false, host: "proxy", path_secret: None };

fn daemon(address: &ProxyAddress<'_>, hub: &MirroredRegistry<'_>) -> String {
    docker_daemon(&DockerMirror::new(address, hub))
}

#[test]
fn docker_has_one_mirror_and_plain_http_only_where_it_is_needed() {
    assert_eq!(daemon(&PUBLIC, &HUB), "{\n  \"registry-mirrors\": [\"https://p.example\"]\n}\n");
    assert_eq!(
        daemon(&NEAR, &HUB),
        "{\n  \"registry-mirrors\": [\"http://192.0.2.7:3000\"],\n  \"insecure-registries\": [\"192.0.2.7:3000\"]\n}\n"
    );
    assert_eq!(
        daemon(&SHORT, &HUB),
        "{\n  \"registry-mirrors\": [\"http://proxy\"],\n  \"insecure-registries\": [\"proxy:80\"]\n}\n"
    );
    assert_eq!(docker_insecure(&NEAR), "{\n  \"insecure-registries\": [\"192.0.2.7:3000\"]\n}\n");
    for address in [PUBLIC, GUARDED, NEAR, SHORT] {
        let text = daemon(&address, &HUB);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    }
}

#[test]
fn docker_reaches_docker_hub_without_a_path_wherever_that_is_possible() {
    let second = MirroredRegistry { is_default: false, segment: Some("hub"), ..HUB };
    let hosted = MirroredRegistry { host: Some("hub.p.example"), ..second };
    for (address, hub, url, has_path) in [
        (PUBLIC, HUB, "https://p.example", false),
        (GUARDED, HUB, "https://p.example/s3cret", true),
        (PUBLIC, second, "https://p.example/hub", true),
        (GUARDED, second, "https://p.example/s3cret/hub", true),
        (PUBLIC, hosted, "https://hub.p.example", false),
        (NEAR, hosted, "http://hub.p.example:3000", false),
        (PUBLIC, MirroredRegistry { is_default: true, ..hosted }, "https://p.example", false),
    ] {
        let mirror = DockerMirror::new(&address, &hub);
        assert_eq!((mirror.url.as_str(), mirror.has_path), (url, has_path));
    }
    let plain = DockerMirror::new(&NEAR, &hosted);
    assert_eq!(plain.insecure.as_deref(), Some("hub.p.example:3000"));
}

#[test]
fn containerd_names_all_registries_by_one_address_or_each_by_its_own() {
    assert_eq!(
        ContainerdHost::for_all(&GUARDED).file(),
        "[host.\"https://p.example/s3cret\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    assert_eq!(
        ContainerdHost::for_one(&NEAR, &GITHUB).file(),
        "[host.\"http://192.0.2.7:3000/v2/ghcr.io\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n"
    );
    assert_eq!(
        containerd_main(CRI_VERSION_3),
        "[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n"
    );
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
        buildkitd(&SHORT, &[GITHUB]),
        "[registry.\"ghcr.io\"]\n  mirrors = [\"proxy:80/ghcr.io\"]\n\n[registry.\"proxy:80\"]\n  http = true\n"
    );
}

#[test]
fn a_workflow_sets_up_the_runners_docker_and_its_builder() {
    assert_eq!(
        github_actions_buildx(&NEAR, &[GITHUB]),
        "- name: Build with base images from registry-proxy\n  uses: docker/setup-buildx-action@v3\n  with:\n    \
         buildkitd-config-inline: |\n      [registry.\"ghcr.io\"]\n        mirrors = [\"192.0.2.7:3000/ghcr.io\"]\n\n      \
         [registry.\"192.0.2.7:3000\"]\n        http = true\n"
    );
    let step = github_actions_docker(&DockerMirror::new(&NEAR, &HUB));
    let filter = ".\"registry-mirrors\" = [\"http://192.0.2.7:3000\"] + (.\"registry-mirrors\" // []) \
                  | .\"insecure-registries\" = [\"192.0.2.7:3000\"] + (.\"insecure-registries\" // [])";
    assert!(step.contains(&format!("jq '{filter}' /etc/docker/daemon.json")), "{step}");
    assert!(!github_actions_docker(&DockerMirror::new(&PUBLIC, &HUB)).contains("insecure"));
}

#[test]
fn nodes_of_kubernetes_have_an_endpoint_for_each_registry() {
    assert_eq!(
        rancher_registries(&GUARDED, &[GITHUB]),
        "mirrors:\n  \"ghcr.io\":\n    endpoint:\n      - \"https://p.example/v2/s3cret/ghcr.io\"\n"
    );
    assert_eq!(
        rancher_login(&SHORT),
        "configs:\n  \"proxy\":\n    auth:\n      username: YOUR-NAME\n      password: YOUR-PASSWORD\n"
    );
    let alone = MirroredRegistry { segment: None, is_default: true, ..GITHUB };
    assert_eq!(
        rancher_registries(&PUBLIC, &[alone]),
        "mirrors:\n  \"ghcr.io\":\n    endpoint:\n      - \"https://p.example/v2\"\n"
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
    for address in [PUBLIC, GUARDED, NEAR, SHORT] {
        for text in [
            ContainerdHost::for_all(&address).file(),
            ContainerdHost::for_one(&address, &HUB).file(),
            containerd_main(CRI_VERSION_2),
            registries_conf(&address, &[HUB, GITHUB]),
            buildkitd(&address, &[HUB, GITHUB]),
        ] {
            assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
        }
    }
}
