//! What all tests start from.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::digest::Digests;
use registry_proxy_outer::image::layer::Content;
use registry_proxy_outer::image::layout::{CONFIG, LAYER, Layout, MANIFEST};
use registry_proxy_outer::registry::{Access, Registry, Storage};
use registry_proxy_outer::worker::{Setup, Worker};
use serde_json::json;
use tempfile::TempDir;

/// To be raised when anything about the image changes.
const VERSION: u32 = 1;
/// Layers, in bytes.
const LAYERS: [u64; 4] = [3_000_000, 20_000_000, 80_000_000, 300_000_000];

/// The runtime takes a processor for itself, and what it takes is measured: one at a time.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A Worker before one upstream, with a bucket in this folder.
pub(crate) fn worker(upstream: SocketAddr, bucket: &Path) -> Outcome<Worker> {
    Setup::new().upstream("reg.test", upstream).bucket(bucket).start()
}

/// An image with layers up to 300 MB, in a registry's storage.
pub(crate) struct Tall {
    storage: PathBuf,
    pub(crate) manifest: String,
    pub(crate) layers: Vec<String>,
    pub(crate) digests: Digests,
}

impl Tall {
    /// Makes it in the build folder, or finds it there.
    pub(crate) fn prepare() -> Outcome<Self> {
        let build_folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(build_folder)?;
        let lock = File::create(build_folder.join("tall.lock"))?;
        lock.lock()?;
        let folder = build_folder.join(format!("tall-{VERSION}"));
        if !folder.exists() {
            let unfinished = TempDir::new_in(build_folder)?;
            let digests = make(unfinished.path())?;
            fs::write(unfinished.path().join("digests.json"), serde_json::to_vec(&digests)?)?;
            fs::rename(unfinished.keep(), &folder)?;
        }
        let (manifest, config, layers): (String, String, Vec<String>) =
            serde_json::from_slice(&fs::read(folder.join("digests.json"))?)?;
        let digests = layers.iter().cloned().chain([manifest.clone(), config]).collect();
        Ok(Self { storage: folder.join("storage"), manifest, layers, digests })
    }

    /// A registry that has it, as `library/tall:v1`.
    pub(crate) fn registry(&self) -> Outcome<Registry> {
        Registry::start(&Storage::At(&self.storage), &Access::Open)
    }
}

/// Digests of manifest, config and layers.
type Digested = (String, String, Vec<String>);

fn make(folder: &Path) -> Outcome<Digested> {
    let layout = TempDir::new_in(folder)?;
    let digests = write_image(layout.path(), &LAYERS)?;
    let registry = Registry::start(&Storage::At(&folder.join("storage")), &Access::Open)?;
    let source = format!("oci:{}:image", layout.path().display());
    Skopeo::new()?.push(&source, &format!("{}/library/tall:v1", registry.address()), &[])?;
    Ok(digests)
}

/// Writes an OCI layout with one image, called `image`, of layers with so many bytes.
pub(crate) fn write_image(folder: &Path, layer_bytes: &[u64]) -> Outcome<Digested> {
    let mut layout = Layout::create(folder)?;
    let layers = (0..)
        .zip(layer_bytes.iter().copied())
        .map(|(number, bytes)| {
            layout.layer(&Content::Noise { name: format!("file{number}"), seed: 700 + number, bytes })
        })
        .collect::<Outcome<Vec<_>>>()?;
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = layout.json(CONFIG, &config)?;
    let descriptors: Vec<_> = layers
        .iter()
        .map(|layer| json!({ "mediaType": LAYER, "digest": layer.digest, "size": layer.size }))
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": descriptors,
    });
    let manifest = layout.json(MANIFEST, &manifest)?;
    layout.tag(&manifest, "image");
    layout.finish()?;
    Ok((manifest.digest, config.digest, layers.into_iter().map(|layer| layer.digest).collect()))
}
