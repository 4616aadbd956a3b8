//! The programs the tests need, and the Debian package each comes from.

use std::env;
use std::path::PathBuf;

use crate::{Context, Outcome};

/// A program that must be installed.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    pub name: &'static str,
    pub debian_package: &'static str,
}

impl Tool {
    pub const CHROMIUM: Self = Self::new("chromium", "chromium");
    pub const CHROOT: Self = Self::new("chroot", "coreutils");
    pub const CONTAINERD: Self = Self::new("containerd", "containerd");
    pub const CTR: Self = Self::new("ctr", "containerd");
    pub const DOCKER: Self = Self::new("docker", "docker.io");
    pub const DOCKERD: Self = Self::new("dockerd", "docker.io");
    pub const DOCKER_REGISTRY: Self = Self::new("docker-registry", "docker-registry");
    pub const HAPROXY: Self = Self::new("haproxy", "haproxy");
    pub const MANDOC: Self = Self::new("mandoc", "mandoc");
    pub const MOUNT: Self = Self::new("mount", "mount");
    pub const NGINX: Self = Self::new("nginx", "nginx-light");
    pub const PODMAN: Self = Self::new("podman", "podman");
    pub const PROMETHEUS: Self = Self::new("prometheus", "prometheus");
    pub const PROMTOOL: Self = Self::new("promtool", "prometheus");
    pub const PYTHON: Self = Self::new("python3", "python3");
    pub const READELF: Self = Self::new("readelf", "binutils");
    pub const RUNC: Self = Self::new("runc", "runc");
    pub const SETPRIV: Self = Self::new("setpriv", "util-linux");
    pub const SHELL: Self = Self::new("sh", "dash");
    pub const SKOPEO: Self = Self::new("skopeo", "skopeo");
    pub const SQUID: Self = Self::new("squid", "squid");
    pub const TINYPROXY: Self = Self::new("tinyproxy", "tinyproxy");
    pub const UNSHARE: Self = Self::new("unshare", "util-linux");
    pub const VARNISHD: Self = Self::new("varnishd", "varnish");

    const fn new(name: &'static str, debian_package: &'static str) -> Self {
        Self { name, debian_package }
    }

    /// Where it is. A missing tool fails the test and is never a reason to skip one.
    pub fn path(self) -> Outcome<PathBuf> {
        search_path()
            .into_iter()
            .map(|folder| folder.join(self.name))
            .find(|candidate| candidate.is_file())
            .context(format_args!(
                "`{}` is not installed: apt-get install {} (or `cargo xtask test --install`)",
                self.name, self.debian_package
            ))
    }
}

/// All of them, for the test which says what a machine lacks.
pub const REQUIRED_TOOLS: [Tool; 24] = [
    Tool::CHROMIUM,
    Tool::CHROOT,
    Tool::CONTAINERD,
    Tool::CTR,
    Tool::DOCKER,
    Tool::DOCKERD,
    Tool::DOCKER_REGISTRY,
    Tool::HAPROXY,
    Tool::MANDOC,
    Tool::MOUNT,
    Tool::NGINX,
    Tool::PODMAN,
    Tool::PROMETHEUS,
    Tool::PROMTOOL,
    Tool::PYTHON,
    Tool::READELF,
    Tool::RUNC,
    Tool::SETPRIV,
    Tool::SHELL,
    Tool::SKOPEO,
    Tool::SQUID,
    Tool::TINYPROXY,
    Tool::UNSHARE,
    Tool::VARNISHD,
];

/// PATH and the folders for system programs, which are missing from an ordinary user's PATH.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
    env::split_paths(&path).chain(system.into_iter().map(PathBuf::from)).collect()
}
