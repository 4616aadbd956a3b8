//! One image for all platforms: its layers lie on either side of what each of them lets through.
//!
//! It is pushed once into a registry's storage, which every later registry reads. `LARGEST_MIB` adds a layer.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::Platform;
use super::layer::Content;
use super::layout::Layout;
use crate::Outcome;
use crate::client::Skopeo;
use crate::registry::{Access, Registry, Storage};

/// The repository and tag.
pub const IMAGE: &str = "library/tiers:v1";
/// The repository.
pub const REPOSITORY: &str = "library/tiers";

/// To be raised when anything below changes.
const VERSION: u32 = 2;
const MEGABYTES: [u64; 4] = [3, 20, 80, 300];
/// Adds a layer of so many MiB; 2048 takes some minutes.
const LARGEST_MIB: &str = "REGISTRY_PROXY_LARGEST_MIB";
/// What was made, beside the storage.
const MADE: &str = "made.json";

/// How long what usually takes so long at the most may take where the image has that layer, too.
#[must_use]
pub fn patience(usual: Duration) -> Duration {
    if env::var_os(LARGEST_MIB).is_some() { usual * 6 } else { usual }
}

/// The image.
pub struct Tiers {
    folder: PathBuf,
    pub platform: Platform,
}

impl Tiers {
    /// Makes it in `build_folder`, or finds it there.
    pub fn prepare(build_folder: &Path) -> Outcome<Self> {
        let largest: Option<u64> = env::var(LARGEST_MIB).ok().map(|text| text.parse()).transpose()?;
        fs::create_dir_all(build_folder)?;
        let lock = File::create(build_folder.join("tiers.lock"))?;
        lock.lock()?;
        let folder = build_folder.join(format!("tiers-{VERSION}-{}", largest.unwrap_or(0)));
        if !folder.exists() {
            let unfinished = TempDir::new_in(build_folder)?;
            make(unfinished.path(), largest)?;
            fs::rename(unfinished.keep(), &folder)?;
        }
        let platform = serde_json::from_slice(&fs::read(folder.join(MADE))?)?;
        Ok(Self { folder, platform })
    }

    /// A registry that has it.
    pub fn registry(&self) -> Outcome<Registry> {
        Registry::start(&Storage::Shared(&self.folder.join("storage")), &Access::Open)
    }

    /// The layers with their sizes in bytes, in order.
    pub fn layers(&self) -> impl Iterator<Item = (&str, u64)> {
        self.platform.layers.iter().map(String::as_str).zip(self.platform.sizes.iter().copied())
    }

    /// The first layer that is not smaller than so many bytes: its digest and size.
    pub fn layer_over(&self, bytes: u64) -> Option<(&str, u64)> {
        self.layers().find(|(_, size)| *size >= bytes)
    }
}

/// Writes an OCI layout with one image, called `image`, of layers with so many bytes.
pub fn write_layout(folder: &Path, layer_bytes: impl IntoIterator<Item = u64>) -> Outcome<Platform> {
    let mut layout = Layout::create(folder)?;
    let layers = (0..).zip(layer_bytes).map(|(number, bytes)| Content::Noise {
        name: format!("tier-{number}"),
        seed: 900 + number,
        bytes,
    });
    let (platform, manifest) = Platform::write(&layout, "tiers", "amd64", layers)?;
    layout.tag(&manifest, "image");
    layout.finish()?;
    Ok(platform)
}

fn make(folder: &Path, largest_mib: Option<u64>) -> Outcome {
    // It is as large as the storage, and needed no longer.
    let layout = TempDir::new_in(folder)?;
    let bytes = MEGABYTES.iter().map(|megabytes| megabytes * 1_000_000);
    let platform = write_layout(layout.path(), bytes.chain(largest_mib.map(|mebibytes| mebibytes << 20)))?;
    let registry = Registry::start(&Storage::At(&folder.join("storage")), &Access::Open)?;
    let source = format!("oci:{}:image", layout.path().display());
    Skopeo::new()?.push(&source, &format!("{}/{IMAGE}", registry.address()), &[])?;
    fs::write(folder.join(MADE), serde_json::to_vec_pretty(&platform)?)?;
    Ok(())
}
