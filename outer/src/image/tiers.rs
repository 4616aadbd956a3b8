//! One image for all platforms: its layers lie on either side of what each of them lets through.
//!
//! It is pushed once into a registry's storage, which every later registry reads. `LARGEST_MIB` adds a layer.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempDir;

use super::Platform;
use super::layer::Content;
use super::layout::{CONFIG, LAYER, Layout, MANIFEST};
use crate::Outcome;
use crate::client::Skopeo;
use crate::registry::{Access, Registry, Storage};

/// The repository and tag.
pub const IMAGE: &str = "library/tiers:v1";
/// The repository.
pub const REPOSITORY: &str = "library/tiers";

/// To be raised when anything below changes.
const VERSION: u32 = 1;
const MEGABYTES: [u64; 4] = [3, 20, 80, 300];
/// Adds a layer of so many MiB; 2048 takes some minutes.
const LARGEST_MIB: &str = "REGISTRY_PROXY_LARGEST_MIB";

/// The image.
pub struct Tiers {
    folder: PathBuf,
    pub made: Made,
}

/// What was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    pub platform: Platform,
    /// Of the layers, in order.
    pub sizes: Vec<u64>,
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
        let made = serde_json::from_slice(&fs::read(folder.join("made.json"))?)?;
        Ok(Self { folder, made })
    }

    /// A registry that has it.
    pub fn registry(&self) -> Outcome<Registry> {
        Registry::start(&Storage::Shared(&self.folder.join("storage")), &Access::Open)
    }

    /// The layer of the first size that is not smaller than so many bytes: its digest and size.
    pub fn layer_over(&self, bytes: u64) -> Option<(&str, u64)> {
        let mut layers = self.made.platform.layers.iter().map(String::as_str).zip(self.made.sizes.iter().copied());
        layers.find(|(_, size)| *size >= bytes)
    }
}

fn make(folder: &Path, largest_mib: Option<u64>) -> Outcome {
    // It is as large as the storage, and needed no longer.
    let layout_folder = TempDir::new_in(folder)?;
    let mut layout = Layout::create(layout_folder.path())?;
    let bytes = MEGABYTES.iter().map(|megabytes| megabytes * 1_000_000);
    let bytes = bytes.chain(largest_mib.map(|mebibytes| mebibytes << 20));
    let layers = (0..)
        .zip(bytes)
        .map(|(number, bytes)| {
            layout.layer(&Content::Noise { name: format!("tier-{number}"), seed: 900 + number, bytes })
        })
        .collect::<Outcome<Vec<_>>>()?;
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let config = layout.json(
        CONFIG,
        &json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": { "Cmd": ["/none"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        }),
    )?;
    let descriptors: Vec<_> = layers
        .iter()
        .map(|layer| json!({ "mediaType": LAYER, "digest": layer.digest, "size": layer.size }))
        .collect();
    let manifest = layout.json(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": descriptors,
        }),
    )?;
    layout.tag(&manifest, "tiers");
    layout.finish()?;
    let registry = Registry::start(&Storage::At(&folder.join("storage")), &Access::Open)?;
    let source = format!("oci:{}:tiers", layout_folder.path().display());
    Skopeo::new()?.push(&source, &format!("{}/{IMAGE}", registry.address()), &[])?;
    let made = Made {
        sizes: layers.iter().map(|layer| layer.size).collect(),
        platform: Platform {
            architecture: "amd64".to_owned(),
            manifest: manifest.digest,
            config: config.digest,
            layers: layers.into_iter().map(|layer| layer.digest).collect(),
            diff_ids,
        },
    };
    fs::write(folder.join("made.json"), serde_json::to_vec_pretty(&made)?)?;
    Ok(())
}
