//! dockerd and its command line, with a containerd, data folder and login file of its own.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::{Containerd, Inspected, Unpacked};
use crate::Outcome;
use crate::process::{Finished, Program, Service, Tool};

const DEADLINE: Duration = Duration::from_mins(3);
const GRACE: Duration = Duration::from_secs(15);

/// A Docker engine. Fields are dropped in this order: the engine before its containerd.
pub struct Docker {
    _service: Service,
    _containerd: Containerd,
    folder: TempDir,
}

impl Docker {
    pub fn start(mirrors: &[String]) -> Outcome<Self> {
        Self::start_with(mirrors, "{}")
    }

    /// With this `daemon.json`.
    pub fn configured(daemon_json: &str) -> Outcome<Self> {
        Self::start_with(&[], daemon_json)
    }

    fn start_with(mirrors: &[String], daemon_json: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let containerd = Containerd::start()?;
        std::fs::write(folder.path().join("daemon.json"), daemon_json)?;
        let service = start(folder.path(), &containerd, mirrors)?;
        Ok(Self { _service: service, _containerd: containerd, folder })
    }

    pub fn pull(&self, image: &str) -> Outcome<Unpacked> {
        self.run(&["pull", "--quiet", image])?.success()?;
        let output = self.run(&["image", "inspect", image])?.success()?;
        Inspected::parse(&output)
    }

    /// Under which digests a registry gave it an image: `REGISTRY/REPOSITORY@DIGEST`.
    pub fn repository_digests(&self, image: &str) -> Outcome<Vec<String>> {
        let output = self.run(&["image", "inspect", "--format", "{{json .RepoDigests}}", image])?.success()?;
        Ok(serde_json::from_str(&output)?)
    }

    pub fn login(&self, registry: &str, user: &str, password: &str) -> Outcome<Finished> {
        self.program(&["login", "--username", user, "--password-stdin", registry])?.input(password).run(DEADLINE)
    }

    /// Any other command.
    pub fn run(&self, words: &[&str]) -> Outcome<Finished> {
        self.program(words)?.run(DEADLINE)
    }

    fn program(&self, words: &[&str]) -> Outcome<Program> {
        Ok(Program::tool(Tool::DOCKER)?
            .argument("--host")
            .argument(socket(self.folder.path()))
            .argument("--config")
            .argument(self.folder.path().join("client"))
            .arguments(words)
            .variable("HOME", self.folder.path()))
    }
}

fn start(folder: &Path, containerd: &Containerd, mirrors: &[String]) -> Outcome<Service> {
    let inside = |name: &str| folder.join(name);
    let mut program = Program::tool(Tool::DOCKERD)?
        .argument("--containerd")
        .argument(containerd.socket())
        .argument("--host")
        .argument(socket(folder))
        .argument("--data-root")
        .argument(inside("data"))
        .argument("--exec-root")
        .argument(inside("execution"))
        .argument("--pidfile")
        .argument(inside("pid"))
        .argument("--config-file")
        .argument(inside("daemon.json"))
        .arguments(["--storage-driver", "vfs", "--iptables=false", "--ip6tables=false"])
        .arguments(["--ip-forward=false", "--ip-masq=false", "--bridge=none"])
        .arguments(["--insecure-registry", "127.0.0.0/8"])
        .variable("HOME", folder);
    for mirror in mirrors {
        program = program.argument("--registry-mirror").argument(mirror);
    }
    let mut service = program.start(&inside("log"))?.with_grace(GRACE);
    service.wait_for_log("API listen on")?;
    Ok(service)
}

fn socket(folder: &Path) -> String {
    format!("unix://{}", folder.join("docker.sock").display())
}
