//! Every client against golden files, in roots of their own; write, write again, undo.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use registry_proxy_core::client_snippets::MirroredRegistry;
use registry_proxy_core::route::Mirrors;

use super::address::WrittenAddress;
use super::clients::{places, plan};
use super::disk::{RootDirectory, Written};
use super::plan::{ClientKind, ClientPlan, Wanted};

const HUB: MirroredRegistry<'_> =
    MirroredRegistry { registry: "docker.io", segment: Some("docker.io"), is_default: true, host: None };
const GITHUB: MirroredRegistry<'_> =
    MirroredRegistry { registry: "ghcr.io", segment: Some("ghcr.io"), is_default: false, host: None };

fn planned(client: ClientKind, url: &str, mirrors: &Mirrors<'_>, root: &Path) -> Result<ClientPlan, String> {
    let address = WrittenAddress::parse(url).unwrap();
    let home = (client == ClientKind::DockerDesktop).then_some("/home/alice");
    let wanted = Wanted { client, address: address.as_clients_see_it(), mirrors, needs_login: false, home };
    plan(&wanted, &RootDirectory::open(root).unwrap())
}

/// As with `--registry` for two of them; dockerd knows one.
fn ordinary(client: ClientKind, url: &str, root: &Path) -> Result<ClientPlan, String> {
    let is_docker = matches!(client, ClientKind::Docker | ClientKind::DockerDesktop);
    planned(client, url, &Mirrors::These(if is_docker { vec![HUB] } else { vec![HUB, GITHUB] }), root)
}

fn put(root: &Path, path: &str, text: &str) {
    let full = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(full, text).unwrap();
}

/// Every file and directory below a root.
fn tree(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let content = path.is_file().then(|| fs::read(&path).unwrap());
            if content.is_none() {
                open.push(path.clone());
            }
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), content);
        }
    }
    found
}

fn write_all(root: &Path, plan: &ClientPlan) -> Vec<Written> {
    let root = RootDirectory::open(root).unwrap();
    plan.files.iter().map(|file| root.write(&file.path, &file.text, 0o644).unwrap()).collect()
}

fn undo_all(root: &Path, client: ClientKind) -> usize {
    let home = (client == ClientKind::DockerDesktop).then_some("/home/alice");
    let root = RootDirectory::open(root).unwrap();
    let paths = places(client, home, &root);
    let found: Vec<_> = paths.iter().filter_map(|path| root.undoable(path).unwrap()).collect();
    let count = found.len();
    for undoable in found.into_iter().rev() {
        undoable.undo().unwrap();
    }
    count
}

/// The files of a plan, one after another, as `--print` shows them.
fn text(plan: &ClientPlan) -> String {
    let files: Vec<String> = plan.files.iter().map(|file| format!("# {}\n{}", file.path, file.text)).collect();
    plan.printed.clone().unwrap_or_else(|| files.join("\n"))
}

#[test]
fn each_client_gets_what_its_documentation_asks_for() {
    for (client, golden) in [
        (ClientKind::Docker, include_str!("golden/docker.txt")),
        (ClientKind::DockerDesktop, include_str!("golden/docker-desktop.txt")),
        (ClientKind::Containerd, include_str!("golden/containerd.txt")),
        (ClientKind::Podman, include_str!("golden/podman.txt")),
        (ClientKind::PodmanMachine, include_str!("golden/podman-machine.txt")),
        (ClientKind::Crio, include_str!("golden/podman.txt")),
        (ClientKind::Buildkit, include_str!("golden/buildkit.txt")),
        (ClientKind::K3s, include_str!("golden/k3s.txt")),
        (ClientKind::Rke2, include_str!("golden/rke2.txt")),
        (ClientKind::Talos, include_str!("golden/talos.txt")),
        (ClientKind::Kind, include_str!("golden/kind.txt")),
        (ClientKind::GithubActions, include_str!("golden/github-actions.txt")),
    ] {
        let root = tempfile::tempdir().unwrap();
        let plan = ordinary(client, "https://proxy.example.com", root.path()).unwrap();
        assert_eq!(text(&plan), golden, "{}", client.name());
        assert!(!plan.then.is_empty() || client == ClientKind::GithubActions, "{}", client.name());
    }
}

#[test]
fn plain_http_and_the_path_secret_are_written_where_each_client_wants_them() {
    let url = "http://192.168.1.10:3000/s3cret-of-the-path";
    for (client, parts) in [
        (
            ClientKind::Docker,
            &[
                "\"registry-mirrors\": [\"http://192.168.1.10:3000/s3cret-of-the-path\"]",
                "\"insecure-registries\": [\"192.168.1.10:3000\"]",
            ][..],
        ),
        (ClientKind::Containerd, &["[host.\"http://192.168.1.10:3000/v2/s3cret-of-the-path/ghcr.io\"]"]),
        (ClientKind::Podman, &["location = \"192.168.1.10:3000/s3cret-of-the-path/ghcr.io\"\ninsecure = true\n"]),
        (
            ClientKind::Buildkit,
            &[
                "mirrors = [\"192.168.1.10:3000/s3cret-of-the-path/ghcr.io\"]",
                "[registry.\"192.168.1.10:3000\"]\n  http = true\n",
            ],
        ),
        (ClientKind::K3s, &["- \"http://192.168.1.10:3000/v2/s3cret-of-the-path/ghcr.io\""]),
        (ClientKind::Talos, &["- url: http://192.168.1.10:3000/v2/s3cret-of-the-path/ghcr.io\n"]),
    ] {
        let root = tempfile::tempdir().unwrap();
        let plan = ordinary(client, url, root.path()).unwrap();
        for part in parts {
            assert!(text(&plan).contains(part), "{part} in {}", text(&plan));
        }
        assert!(plan.notes.iter().any(|note| note.contains("path secret")), "{:?}", plan.notes);
    }
}

#[test]
fn what_is_written_twice_is_written_once_and_undone_to_the_byte() {
    let before = [
        ("/etc/docker/daemon.json", "{\r\n\t\"debug\": true, \"log-opts\": {\"max-size\": \"1m\"}\r\n}"),
        ("/home/alice/.docker/daemon.json", "{\"registry-mirrors\":[\"https://other.test\"]}\n"),
        (
            "/etc/containerd/config.toml",
            "version = 3\n# of the site\n[plugins.'io.containerd.cri.v1.images']\n  snapshotter = 'overlayfs'\n",
        ),
        (
            "/etc/containerd/certs.d/ghcr.io/hosts.toml",
            "server = \"https://ghcr.io\"\n\n# the old one\n[host.\"https://old.test\"]\n",
        ),
        ("/etc/containers/registries.conf", "unqualified-search-registries = [\"docker.io\"]\n"),
        (
            "/etc/buildkit/buildkitd.toml",
            "debug = true # for now\n[registry.\"docker.io\"]\n  mirrors = [\n    \"old.test\",\n  ]\n",
        ),
    ];
    for client in [
        ClientKind::Docker,
        ClientKind::DockerDesktop,
        ClientKind::Containerd,
        ClientKind::Podman,
        ClientKind::Crio,
        ClientKind::Buildkit,
        ClientKind::K3s,
        ClientKind::Rke2,
    ] {
        for files in [&before[..], &[]] {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path();
            for (path, text) in files {
                put(root, path, text);
            }
            let as_before = tree(root);
            let url = "https://proxy.example.com";
            let name = client.name();
            write_all(root, &ordinary(client, url, root).unwrap());
            let once = tree(root);
            assert_ne!(once, as_before, "{name}");
            let again = write_all(root, &ordinary(client, url, root).unwrap());
            assert!(again.iter().all(|written| *written == Written::Unchanged), "{name}: {again:?}");
            assert_eq!(tree(root), once, "{name}");
            // Another address replaces the first one, and the beginning stays known.
            let other = ordinary(client, "https://other.example.com", root).unwrap();
            assert!(!text(&other).contains("proxy.example.com"), "{name}: {}", text(&other));
            write_all(root, &other);
            assert!(undo_all(root, client) > 0, "{name}");
            assert_eq!(tree(root), as_before, "{name}");
            assert_eq!(undo_all(root, client), 0, "{name}");
        }
    }
}

#[test]
fn comments_and_order_stay_and_the_proxy_is_asked_first() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    put(
        root,
        "/etc/containerd/config.toml",
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/srv/hosts:/etc/docker/certs.d\"\n",
    );
    put(
        root,
        "/srv/hosts/ghcr.io/hosts.toml",
        "server = \"https://ghcr.io\"\n\n# the old one\n[host.\"https://old.test\"]\n",
    );
    let plan =
        planned(ClientKind::Containerd, "http://127.0.0.1:3000", &Mirrors::These(vec![GITHUB]), root).unwrap();
    assert_eq!(plan.files.len(), 1, "the main file names a directory already");
    assert_eq!(plan.files[0].path, "/srv/hosts/ghcr.io/hosts.toml");
    assert_eq!(
        plan.files[0].text,
        "server = \"https://ghcr.io\"\n\n[host.\"http://127.0.0.1:3000/v2/ghcr.io\"]\n  capabilities = [\"pull\", \"resolve\"]\n  \
         override_path = true\n\n# the old one\n[host.\"https://old.test\"]\n"
    );
    write_all(root, &plan);
    assert_eq!(undo_all(root, ClientKind::Containerd), 1);
}

#[test]
fn a_file_that_cannot_be_merged_into_is_named_with_its_place_and_nothing_changes() {
    for (client, path, content, says) in [
        (ClientKind::Docker, "/etc/docker/daemon.json", "{\n  \"debug\": true,\n}\n", "line 3 column 1"),
        (ClientKind::Docker, "/etc/docker/daemon.json", "[]", "expected an object"),
        (ClientKind::Containerd, "/etc/containerd/config.toml", "version = \n", "line 1, column "),
        (ClientKind::Containerd, "/etc/containerd/config.toml", "root = '/x'\n", "containerd config migrate"),
        (
            ClientKind::Containerd,
            "/etc/containerd/config.toml",
            "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry.mirrors.'docker.io']\nendpoint = ['https://old.test']\n",
            "refuses together with config_path",
        ),
        (ClientKind::Containerd, "/etc/containerd/certs.d/ghcr.io/hosts.toml", "host = 1\n", "host is no table"),
        (
            ClientKind::Podman,
            "/etc/containers/registries.conf.d/10-site.conf",
            "[[registry]]\nlocation = 'ghcr.io'\n",
            "has a [[registry]] for ghcr.io already",
        ),
        (ClientKind::Podman, "/etc/containers/registries.conf", "[registries.search]\n", "old format"),
        (
            ClientKind::Crio,
            "/etc/containers/registries.conf.d/50-registry-proxy.conf",
            "a = 1\n",
            "exists with other content",
        ),
        (ClientKind::Buildkit, "/etc/buildkit/buildkitd.toml", "registry = 'x'\n", "registry is no table"),
        (ClientKind::K3s, "/etc/rancher/k3s/registries.yaml", "mirrors: {}\n", "\"ghcr.io\":\n    endpoint:"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), path, content);
        let before = tree(directory.path());
        let error = ordinary(client, "https://proxy.example.com", directory.path()).unwrap_err();
        assert!(error.starts_with(path) && error.contains(says), "{error}");
        assert_eq!(tree(directory.path()), before);
    }
}

#[test]
fn a_link_out_of_the_root_is_refused_and_one_within_it_is_followed() {
    let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = directory.path();
    fs::create_dir_all(root.join("etc")).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.join("etc/docker")).unwrap();
    let error = ordinary(ClientKind::Docker, "https://proxy.example.com", root).unwrap_err();
    assert!(error.contains("a symbolic link leads to") && error.contains("out of"), "{error}");
    assert!(tree(outside.path()).is_empty());
    fs::remove_file(root.join("etc/docker")).unwrap();
    fs::create_dir(root.join("etc/docker")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("absent"), root.join("etc/docker/daemon.json")).unwrap();
    let error = ordinary(ClientKind::Docker, "https://proxy.example.com", root).unwrap_err();
    assert!(error.contains("leads nowhere"), "{error}");
    fs::remove_file(root.join("etc/docker/daemon.json")).unwrap();
    put(root, "/srv/daemon.json", "{}");
    std::os::unix::fs::symlink("../../srv/daemon.json", root.join("etc/docker/daemon.json")).unwrap();
    write_all(root, &ordinary(ClientKind::Docker, "https://proxy.example.com", root).unwrap());
    assert!(fs::read_to_string(root.join("srv/daemon.json")).unwrap().contains("proxy.example.com"));
    assert!(root.join("etc/docker/daemon.json").is_symlink());
}

#[test]
fn a_written_file_keeps_its_mode_and_what_others_changed_since_is_never_lost() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let path = root.join("etc/docker/daemon.json");
    put(root, "/etc/docker/daemon.json", "{}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let plan = ordinary(ClientKind::Docker, "https://proxy.example.com", root).unwrap();
    write_all(root, &plan);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    let changed = fs::read_to_string(&path).unwrap().replace('{', "{ \"debug\": true,");
    fs::write(&path, &changed).unwrap();
    let opened = RootDirectory::open(root).unwrap();
    let error = opened.undoable("/etc/docker/daemon.json").map(|_| ()).unwrap_err();
    assert!(error.contains("was changed after registry-proxy wrote it") && error.contains("compare"), "{error}");
    // The mirror is there already: nothing to do.
    write_all(root, &ordinary(ClientKind::Docker, "https://proxy.example.com", root).unwrap());
    let other = ordinary(ClientKind::Docker, "https://other.example.com", root).unwrap();
    let error = opened.write(&other.files[0].path, &other.files[0].text, 0o644).unwrap_err();
    assert!(error.contains("Nothing is written"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), changed);
}

#[test]
fn docker_reaches_docker_hub_as_the_proxy_serves_it() {
    let root = tempfile::tempdir().unwrap();
    let mirror = |registries| {
        let mirrors = Mirrors::Every { registries, left_out: Vec::new() };
        planned(ClientKind::Docker, "https://proxy.example.com", &mirrors, root.path()).map(|plan| text(&plan))
    };
    let second = MirroredRegistry { is_default: false, ..HUB };
    for (hub, url) in [
        (HUB, "https://proxy.example.com"),
        (MirroredRegistry { host: Some("hub.proxy.example.com"), ..second }, "https://hub.proxy.example.com"),
        (second, "https://proxy.example.com/docker.io"),
    ] {
        assert!(mirror(vec![GITHUB, hub]).unwrap().contains(&format!("[\"{url}\"]")), "{hub:?}");
    }
    assert!(mirror(vec![GITHUB]).unwrap_err().contains("no upstream docker.io"));
    let other =
        planned(ClientKind::Docker, "https://proxy.example.com", &Mirrors::These(vec![GITHUB]), root.path());
    assert!(other.unwrap_err().contains("docker pull proxy.example.com/ghcr.io/owner/image"));
}

#[test]
fn containerd_has_one_file_for_every_registry_and_those_of_registries_that_have_a_folder() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let every = Mirrors::Every { registries: vec![HUB, GITHUB], left_out: Vec::new() };
    let planned = |root| planned(ClientKind::Containerd, "https://proxy.example.com", &every, root).unwrap();
    let paths = |plan: &ClientPlan| plan.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    let plan = planned(root);
    assert_eq!(paths(&plan), ["/etc/containerd/config.toml", "/etc/containerd/certs.d/_default/hosts.toml"]);
    assert_eq!(
        plan.files[1].text,
        "[host.\"https://proxy.example.com\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    let old = "[host.\"https://old.test\"]\n";
    put(root, "/etc/containerd/certs.d/ghcr.io/hosts.toml", old);
    put(root, "/etc/containerd/certs.d/reg.corp.example/hosts.toml", old);
    let before = tree(root);
    let plan = planned(root);
    assert_eq!(paths(&plan)[2..], ["/etc/containerd/certs.d/ghcr.io/hosts.toml"]);
    assert!(plan.files[2].text.starts_with("[host.\"https://proxy.example.com/v2/ghcr.io\"]\n"));
    write_all(root, &plan);
    assert_eq!(undo_all(root, ClientKind::Containerd), 3);
    assert_eq!(tree(root), before);
}

#[test]
fn a_client_on_another_machine_gets_no_address_of_this_one_and_no_name_gets_quotes() {
    let root = tempfile::tempdir().unwrap();
    for client in [
        ClientKind::DockerDesktop,
        ClientKind::PodmanMachine,
        ClientKind::Talos,
        ClientKind::Kind,
        ClientKind::GithubActions,
    ] {
        let error = ordinary(client, "http://127.0.0.1:3000", root.path()).unwrap_err();
        assert!(error.contains("--url http"), "{error}");
    }
    for name in ["ghcr.io\"]\nx = 1", "../../x", "", "GHCR.io", "a/b"] {
        let error = super::asked(&[name.to_owned()]).unwrap_err();
        assert!(error.contains("expected a host name"), "{name}");
    }
}

#[test]
fn a_name_with_a_port_is_refused_where_mirrors_are_written_as_names() {
    let root = tempfile::tempdir().unwrap();
    let ported = MirroredRegistry { registry: "reg.test:5000", segment: Some("reg.test:5000"), ..GITHUB };
    let plan_for = |client| {
        planned(client, "https://p.test", &Mirrors::These(vec![ported]), root.path()).map(|plan| text(&plan))
    };
    for client in [ClientKind::Podman, ClientKind::Crio, ClientKind::Buildkit, ClientKind::GithubActions] {
        assert!(plan_for(client).unwrap_err().contains("no port can stand"), "{}", client.name());
    }
    assert!(plan_for(ClientKind::K3s).unwrap().contains("https://p.test/v2/reg.test:5000"));
}
