//! What clients are configured with so that they pull through this proxy: the names of images, and the text of each client's
//! configuration file, for the address by which the client reaches us. Pure text, without the words around it.
//!
//! What each client makes of such a file is written down, with its source, in `docs/how-to`.
//!
//! - `address`: our address as it stands in a name, and as it stands in a URL
//! - `files`: the configuration files

mod address;
mod files;

pub use self::address::{MirroredRegistry, ProxyAddress};
pub use self::files::{
    CONTAINERD_HOSTS, CRI_VERSION_2, CRI_VERSION_3, ContainerdHost, DockerMirror, buildkitd, containerd_main,
    docker_daemon, docker_insecure, github_actions_buildx, github_actions_docker, rancher_login,
    rancher_registries, registries_conf, talos,
};
