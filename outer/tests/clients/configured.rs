//! `registry-proxy client`: real clients pull with the files that it wrote, and then there is what was there before.

use std::fs;
use std::path::Path;

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::{Containerd, Docker, Podman};
use registry_proxy_outer::failure::equal;
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::Registry;
use tempfile::TempDir;

use crate::stage::{engine_turn, proxy_to, seed};

/// A root with one file in it, which a client has had before.
struct Node {
    root: TempDir,
    path: &'static str,
    before: &'static str,
}

impl Node {
    fn new(path: &'static str, before: &'static str) -> Outcome<Self> {
        let root = tempfile::tempdir()?;
        let file = root.path().join(path);
        fs::create_dir_all(file.parent().unwrap_or(root.path()))?;
        fs::write(file, before)?;
        Ok(Self { root, path, before })
    }

    fn write(&self, proxy: &Proxy, client: &[&str]) -> Outcome {
        let (root, url) = (self.root.path().display().to_string(), proxy.url(""));
        let words = [&["client"], client, &["--url", &url, "--root", &root, "--write"]].concat();
        proxy.command(&words)?.success()?;
        // Once more changes nothing.
        let said = proxy.command(&words)?.success()?;
        let again = said.lines().filter(|line| line.starts_with("created") || line.starts_with("changed"));
        equal("files written again", &again.count(), &0)
    }

    fn undo(&self, proxy: &Proxy, client: &str, gone: &str) -> Outcome {
        let root = self.root.path().display().to_string();
        proxy.command(&["client", client, "--root", &root, "--undo"])?.success()?;
        equal("what was there before", &self.read(self.path)?.as_str(), &self.before)?;
        equal("what was made", &Path::new(&root).join(gone).exists(), &false)
    }

    fn read(&self, path: &str) -> Outcome<String> {
        Ok(fs::read_to_string(self.root.path().join(path))?)
    }
}

#[test]
fn docker_pulls_with_the_daemon_json_that_client_wrote() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = Setup::new().upstream("docker.io", registry.address(), &["default = true"]).start()?;
    let node = Node::new("etc/docker/daemon.json", "{\n    \"max-concurrent-downloads\": 2\n}\n")?;
    node.write(&proxy, &["docker"])?;
    let docker = Docker::configured(&node.read("etc/docker/daemon.json")?)?;
    docker.pull("sample:v1")?.expect(seed.catalogue().sample.amd64()?)?;
    node.undo(&proxy, "docker", "etc/docker/daemon.json.before-registry-proxy")
}

#[test]
fn containerd_pulls_with_the_hosts_that_client_wrote() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    // A directory of the operator's choice, and a mirror that does not answer.
    let node = Node::new(
        "etc/containerd/config.toml",
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/srv/hosts\"\n",
    )?;
    fs::create_dir_all(node.root.path().join("srv/hosts/reg.test"))?;
    let other = "server = \"http://127.0.0.1:1\"\n\n[host.\"http://127.0.0.1:2\"]\n  capabilities = [\"pull\"]\n";
    fs::write(node.root.path().join("srv/hosts/reg.test/hosts.toml"), other)?;
    node.write(&proxy, &["containerd", "--registry", "reg.test"])?;
    let containerd = Containerd::start()?;
    containerd.hosts("reg.test", &node.read("srv/hosts/reg.test/hosts.toml")?)?;
    containerd.pull("reg.test/library/sample:v1", &[])?.success()?;
    let sample = &seed.catalogue().sample;
    let mut expected = sample.amd64()?.digests();
    expected.insert(sample.index.clone());
    equal("content", &containerd.digests()?, &expected)?;
    node.undo(&proxy, "containerd", "srv/hosts/reg.test/hosts.toml.before-registry-proxy")?;
    equal("the operator's hosts.toml", &node.read("srv/hosts/reg.test/hosts.toml")?.as_str(), &other)
}

#[test]
fn podman_pulls_with_the_file_that_client_wrote() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    let before = "unqualified-search-registries = [\"docker.io\"]\n";
    let node = Node::new("etc/containers/registries.conf", before)?;
    node.write(&proxy, &["podman", "--registry", "reg.test"])?;
    let written = node.read("etc/containers/registries.conf.d/50-registry-proxy.conf")?;
    let podman = Podman::new(&written)?;
    podman.pull("reg.test/library/sample:v1", &[])?.expect(seed.catalogue().sample.amd64()?)?;
    node.undo(&proxy, "podman", "etc/containers/registries.conf.d")
}
