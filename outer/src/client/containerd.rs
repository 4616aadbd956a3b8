//! containerd with `ctr`, which reads the same `hosts.toml` files as Kubernetes nodes do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::digest::{self, Digests};
use crate::image::tiers::patience;
use crate::process::{Finished, Program, Service, Tool};
use crate::{Context, Outcome};

const DEADLINE: Duration = Duration::from_mins(3);
const GRACE: Duration = Duration::from_secs(10);

/// A containerd of the test's own.
pub struct Containerd {
    service: Service,
    folder: TempDir,
}

impl Containerd {
    pub fn start() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let service = start(&folder)?;
        Ok(Self { service, folder })
    }

    /// Sends the pulls for `registry` where this hosts.toml says.
    pub fn hosts(&self, registry: &str, text: &str) -> Outcome {
        let folder = self.hosts_folder().join(registry);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("hosts.toml"), text)?;
        Ok(())
    }

    /// Pulls and unpacks one platform.
    pub fn pull(&self, image: &str, options: &[&str]) -> Outcome<Finished> {
        Program::tool(Tool::CTR)?
            .argument("--address")
            .argument(socket(&self.folder))
            .arguments(["images", "pull", "--snapshotter", "native"])
            .arguments(["--platform", "linux/amd64", "--hosts-dir"])
            .argument(self.hosts_folder())
            .arguments(options)
            .argument(image)
            .run(patience(DEADLINE))
    }

    /// Imports and unpacks what an archive has for this machine.
    pub fn import(&self, archive: &Path) -> Outcome<Finished> {
        self.ctr()?
            .arguments(["images", "import", "--snapshotter", "native", "--platform", "linux/amd64"])
            .argument(archive)
            .run(patience(DEADLINE))
    }

    /// Exports one platform of what was pulled.
    pub fn export(&self, image: &str, archive: &Path) -> Outcome {
        let program = self.ctr()?.arguments(["images", "export", "--platform", "linux/amd64"]);
        program.argument(archive).argument(image).run(patience(DEADLINE))?.success()?;
        Ok(())
    }

    /// Gives what was pulled another name.
    pub fn tag(&self, image: &str, name: &str) -> Outcome {
        self.ctr()?.arguments(["images", "tag", image, name]).run(patience(DEADLINE))?.success()?;
        Ok(())
    }

    fn ctr(&self) -> Outcome<Program> {
        Ok(Program::tool(Tool::CTR)?.argument("--address").argument(socket(&self.folder)))
    }

    /// Pushes one platform of what was pulled to `ADDRESS/REPOSITORY:TAG`.
    pub fn push(&self, image: &str, target: &str, options: &[&str]) -> Outcome {
        Program::tool(Tool::CTR)?
            .argument("--address")
            .argument(socket(&self.folder))
            .arguments(["images", "push", "--plain-http", "--platform", "linux/amd64"])
            .arguments(options)
            .arguments([target, image])
            .run(patience(DEADLINE))?
            .success()?;
        Ok(())
    }

    /// Everything in its content store, hashed again.
    pub fn digests(&self) -> Outcome<Digests> {
        let store = self.folder.path().join("root/io.containerd.content.v1.content/blobs/sha256");
        fs::read_dir(store)
            .context("containerd holds nothing")?
            .map(|entry| digest::of_file(&entry?.path()))
            .collect()
    }

    /// The socket, for a dockerd that should not start a containerd by itself.
    pub(super) fn socket(&self) -> PathBuf {
        socket(&self.folder)
    }

    /// Its messages.
    pub fn log(&self) -> String {
        self.service.log()
    }

    fn hosts_folder(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("containerd.sock")
}

fn start(folder: &TempDir) -> Outcome<Service> {
    let inside = |name: &str| folder.path().join(name).display().to_string();
    let config = format!(
        "version = 2\nroot = '{}'\nstate = '{}'\n\
         disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.snapshotter.v1.aufs', \
         'io.containerd.snapshotter.v1.btrfs', 'io.containerd.snapshotter.v1.devmapper', \
         'io.containerd.snapshotter.v1.zfs', 'io.containerd.internal.v1.opt', \
         'io.containerd.tracing.processor.v1.otlp']\n\
         [grpc]\naddress = '{}'\n[ttrpc]\naddress = '{}'\n",
        inside("root"),
        inside("state"),
        inside("containerd.sock"),
        inside("containerd.sock.ttrpc"),
    );
    fs::write(folder.path().join("config.toml"), config)?;
    let mut service = Program::tool(Tool::CONTAINERD)?
        .argument("--config")
        .argument(inside("config.toml"))
        .start(&folder.path().join("log"))?
        .with_grace(GRACE);
    service.wait_for_log("containerd successfully booted")?;
    Ok(service)
}
