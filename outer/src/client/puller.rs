//! The three clients that pull without a daemon of the system's, as one: each pulls an image, and what arrived is
//! compared.

use std::fmt;
use std::net::SocketAddr;

use super::{Containerd, Podman, Skopeo};
use crate::Outcome;
use crate::failure::equal;
use crate::image::Platform;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Puller {
    Skopeo,
    Podman,
    Ctr,
}

/// What an image is asked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Tag,
    Digest,
}

impl Puller {
    pub const ALL: [Self; 3] = [Self::Skopeo, Self::Podman, Self::Ctr];

    /// Pulls all of `platform`, which is `repository:v1` at `address`, into an empty folder, and compares what has
    /// arrived with what was made.
    pub fn pull(self, address: SocketAddr, repository: &str, platform: &Platform, by: By) -> Outcome {
        let image = match by {
            By::Tag => format!("{address}/{repository}:v1"),
            By::Digest => format!("{address}/{repository}@{}", platform.manifest),
        };
        match self {
            Self::Skopeo => equal("digests", &Skopeo::new()?.pull(&image, &[])?.digests()?, &platform.digests()),
            Self::Podman => Podman::new("")?.pull(&image, &["--tls-verify=false"])?.expect(platform),
            Self::Ctr => {
                let containerd = Containerd::start()?;
                containerd.pull(&image, &["--plain-http"])?.success()?;
                equal("digests", &containerd.digests()?, &platform.digests())
            }
        }
    }
}

impl fmt::Display for Puller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Skopeo => "skopeo",
            Self::Podman => "podman",
            Self::Ctr => "ctr",
        })
    }
}

impl fmt::Display for By {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Tag => "tag",
            Self::Digest => "digest",
        })
    }
}
