//! The real clients, each with folders of its own, none with a way around the proxy.

mod containerd;
mod docker;
mod helper;
mod podman;
mod puller;
mod skopeo;

pub use containerd::Containerd;
pub use docker::Docker;
pub use podman::Podman;
pub use puller::{By, Puller};
pub use skopeo::{Copied, Skopeo};

use serde::Deserialize;

use crate::Outcome;
use crate::failure::equal;
use crate::image::Platform;

/// What an engine says about an image it has unpacked.
#[derive(Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the config, which is what engines call the image id.
    pub id: String,
    pub diff_ids: Vec<String>,
}

impl Unpacked {
    /// Fails unless this is the image that was made.
    pub fn expect(&self, platform: &Platform) -> Outcome {
        let expected = Self { id: platform.config.clone(), diff_ids: platform.diff_ids.clone() };
        equal("the unpacked image", self, &expected)
    }
}

/// The answer of `docker image inspect` and `podman image inspect`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(rename = "RootFS")]
    root_file_system: RootFileSystem,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFileSystem {
    layers: Vec<String>,
}

impl Inspected {
    fn parse(text: &str) -> Outcome<Unpacked> {
        let [inspected]: [Self; 1] = serde_json::from_str(text)?;
        let hex = crate::digest::hex(&inspected.id);
        Ok(Unpacked { id: format!("sha256:{hex}"), diff_ids: inspected.root_file_system.layers })
    }
}
