//! What a client's configuration becomes: decided here, written by others.

use registry_proxy_core::client_snippets::ProxyAddress;
use registry_proxy_core::route::Mirrors;

/// A client that can be pointed at the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ClientKind {
    /// dockerd: Docker Hub through the proxy.
    Docker,
    /// Docker Desktop: the same, in its virtual machine.
    DockerDesktop,
    /// containerd, for Kubernetes (CRI), nerdctl and ctr.
    Containerd,
    /// podman, skopeo and buildah.
    Podman,
    /// podman on macOS and Windows: printed only.
    PodmanMachine,
    /// CRI-O.
    Crio,
    /// buildkitd, and builders of docker buildx.
    Buildkit,
    /// k3s.
    K3s,
    /// RKE2.
    Rke2,
    /// Talos Linux: printed only.
    Talos,
    /// kind: printed only.
    Kind,
    /// Steps of a workflow: printed only.
    GithubActions,
}

/// What is wanted.
pub(crate) struct Wanted<'a> {
    pub(crate) client: ClientKind,
    pub(crate) address: ProxyAddress<'a>,
    pub(crate) mirrors: &'a Mirrors<'a>,
    /// The proxy wants a login.
    pub(crate) needs_login: bool,
    /// The home directory of the user whose client it is; `None`: the system's.
    pub(crate) home: Option<&'a str>,
}

/// What to write, to print and to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientPlan {
    pub(crate) files: Vec<PlannedFile>,
    /// Text for people and pipes, where there is no file that we could write.
    pub(crate) printed: Option<String>,
    /// What the client must be told, and why: commands first.
    pub(crate) then: Vec<String>,
    /// What else a person should know.
    pub(crate) notes: Vec<String>,
}

/// One file as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlannedFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl ClientKind {
    /// As it is named on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::DockerDesktop => "docker-desktop",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
            Self::PodmanMachine => "podman-machine",
            Self::Crio => "crio",
            Self::Buildkit => "buildkit",
            Self::K3s => "k3s",
            Self::Rke2 => "rke2",
            Self::Talos => "talos",
            Self::Kind => "kind",
            Self::GithubActions => "github-actions",
        }
    }

    /// Whether it runs without root as well, with files in a home directory.
    pub(crate) fn can_be_rootless(self) -> bool {
        match self {
            Self::Docker | Self::Containerd | Self::Podman | Self::Buildkit => true,
            Self::DockerDesktop
            | Self::PodmanMachine
            | Self::Crio
            | Self::K3s
            | Self::Rke2
            | Self::Talos
            | Self::Kind
            | Self::GithubActions => false,
        }
    }

    /// Whether it is told of each registry by a name of its own.
    pub(crate) fn takes_registries(self) -> bool {
        match self {
            Self::Docker | Self::DockerDesktop | Self::Kind => false,
            Self::Containerd
            | Self::Podman
            | Self::PodmanMachine
            | Self::Crio
            | Self::Buildkit
            | Self::K3s
            | Self::Rke2
            | Self::Talos
            | Self::GithubActions => true,
        }
    }

    /// Whether its files have mirrors as the names of images are written.
    pub(crate) fn writes_names(self) -> bool {
        match self {
            Self::Podman | Self::PodmanMachine | Self::Crio | Self::Buildkit | Self::GithubActions => true,
            Self::Docker
            | Self::DockerDesktop
            | Self::Containerd
            | Self::K3s
            | Self::Rke2
            | Self::Talos
            | Self::Kind => false,
        }
    }

    /// What to write in place of an address of this machine, for clients that run on another one.
    pub(crate) fn instead_of_loopback(self) -> Option<&'static str> {
        match self {
            Self::DockerDesktop => Some("http://host.docker.internal:3000"),
            Self::PodmanMachine => Some("http://host.containers.internal:3000"),
            Self::Talos | Self::Kind | Self::GithubActions => Some("https://proxy.example.com"),
            Self::Docker
            | Self::Containerd
            | Self::Podman
            | Self::Crio
            | Self::Buildkit
            | Self::K3s
            | Self::Rke2 => None,
        }
    }
}

/// What makes a client read its files again.
pub(crate) fn restart(client: ClientKind, is_rootless: bool) -> &'static str {
    match (client, is_rootless) {
        (ClientKind::Docker, true) => "systemctl --user restart docker",
        (ClientKind::Docker, false) => "sudo systemctl reload docker     (containers keep running)",
        (ClientKind::DockerDesktop, _) => "restart Docker Desktop",
        (ClientKind::Containerd, _) => "nothing to restart: containerd reads hosts.toml at each pull",
        (ClientKind::Podman, _) => "nothing to restart: podman, skopeo and buildah read the file each time",
        (ClientKind::Crio, _) => "sudo systemctl reload crio",
        (ClientKind::Buildkit, _) => "restart buildkitd, or create the builder of buildx again",
        (ClientKind::K3s, _) => "sudo systemctl restart k3s     (on agents k3s-agent; pods keep running)",
        (ClientKind::Rke2, _) => {
            "sudo systemctl restart rke2-server     (on agents rke2-agent; pods keep running)"
        }
        (ClientKind::PodmanMachine | ClientKind::Talos | ClientKind::Kind | ClientKind::GithubActions, _) => {
            "nothing to restart"
        }
    }
}
