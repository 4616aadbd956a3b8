//! A container image, written without an engine: one index for all processors, as an OCI layout in a tar.
//!
//! Older Docker (before 25) reads `manifest.json` instead of the index; it is there for it, with the image of the first
//! processor, and everybody else ignores it. In the image are the binary, Mozilla's certificates, the names of its user,
//! and a place for the cache that this user may write: nothing else.

mod layer;

use serde_json::{Value, json};

use crate::artefact::sha256;
use crate::elf::Binary;
use crate::error::Error;
use crate::files::{self, Entry};

/// As a person finds it in `docker images`.
const NAME: &str = "registry-proxy";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const SOURCE: &str = env!("CARGO_PKG_REPOSITORY");
const LICENCES: &str = env!("CARGO_PKG_LICENSE");

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The image of these binaries, one for each processor.
pub(crate) fn archive(binaries: &[Binary], licence: &[u8]) -> Result<Vec<u8>, Error> {
    let mut blobs = Blobs::default();
    let (mut manifests, mut first) = (Vec::new(), None);
    for binary in binaries {
        let made = image(binary, licence, &mut blobs)?;
        first.get_or_insert((made.config.clone(), made.layer.clone()));
        manifests.push(made.descriptor);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests,
        "annotations": labels(),
    });
    let mut index = blobs.put(INDEX, to_bytes(&index)?);
    let full_name = format!("docker.io/library/{NAME}:{VERSION}");
    index["annotations"] = json!({
        "org.opencontainers.image.ref.name": VERSION,
        "io.containerd.image.name": full_name,
    });
    let (config, layer) = first.ok_or_else(|| Error::Usage("an image needs a binary".to_owned()))?;
    let for_older_docker = json!([{
        "Config": config,
        "RepoTags": [format!("{NAME}:{VERSION}")],
        "Layers": [layer],
    }]);
    let entries = [
        Entry::text(
            "index.json",
            to_bytes(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [index] }))?,
        ),
        Entry::text("manifest.json", to_bytes(&for_older_docker)?),
        Entry::text("oci-layout", to_bytes(&json!({ "imageLayoutVersion": "1.0.0" }))?),
    ];
    let mut tar = tar::Builder::new(Vec::new());
    for entry in blobs.0.iter().chain(&entries) {
        files::add(&mut tar, entry, tar::EntryType::Regular, 0)?;
    }
    tar.into_inner().map_err(|error| Error::io("the image", error))
}

/// What is in the image for this binary's processor, for a `Dockerfile` to add.
pub(crate) fn root(binary: &Binary, licence: &[u8]) -> Result<Vec<u8>, Error> {
    files::gzip(&layer::tar(binary, licence)?)
}

/// What an image for one processor became.
struct Made {
    descriptor: Value,
    /// Paths inside of the layout.
    config: String,
    layer: String,
}

fn image(binary: &Binary, licence: &[u8], blobs: &mut Blobs) -> Result<Made, Error> {
    let tar = layer::tar(binary, licence)?;
    let diff = sha256(&tar);
    let layer = blobs.put(LAYER, files::gzip(&tar)?);
    let config = json!({
        "created": layer::timestamp(files::time()?),
        "architecture": binary.machine.in_images(),
        "os": "linux",
        "config": {
            "User": format!("{0}:{0}", layer::USER),
            "ExposedPorts": { "3000/tcp": {} },
            // Not PORT, which wins over the port of the platform that the image runs on.
            "Env": [
                "PATH=/usr/local/bin",
                "REGISTRY_PROXY_LISTEN=0.0.0.0:3000",
                format!("CACHE_DIRECTORY=/{}", layer::CACHE),
            ],
            "Entrypoint": [format!("/{}", layer::PROGRAM)],
            "WorkingDir": "/",
            "StopSignal": "SIGTERM",
            // Of Docker's own; others ignore it. Durations are nanoseconds.
            "Healthcheck": {
                "Test": ["CMD", format!("/{}", layer::PROGRAM), "health"],
                "Interval": 30_000_000_000_u64,
                "Timeout": 5_000_000_000_u64,
                "StartPeriod": 5_000_000_000_u64,
                "Retries": 3,
            },
            "Labels": labels(),
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff}")] },
        "history": [{
            "created": layer::timestamp(files::time()?),
            "created_by": "cargo xtask package container",
        }],
    });
    let config = blobs.put(CONFIG, to_bytes(&config)?);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [layer],
        "annotations": labels(),
    });
    let mut descriptor = blobs.put(MANIFEST, to_bytes(&manifest)?);
    descriptor["platform"] = json!({ "architecture": binary.machine.in_images(), "os": "linux" });
    Ok(Made { descriptor, config: place(&config), layer: place(&layer) })
}

fn labels() -> Value {
    json!({
        "org.opencontainers.image.title": NAME,
        "org.opencontainers.image.description": "A proxy and cache for container registries",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.licenses": LICENCES,
        "org.opencontainers.image.source": SOURCE,
    })
}

fn to_bytes(value: &Value) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::io("JSON", error.into()))
}

/// Where the layout has the blob of a descriptor.
fn place(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    format!("blobs/{}", digest.replace(':', "/"))
}

/// What the layout holds under its digest.
#[derive(Default)]
struct Blobs(Vec<Entry>);

impl Blobs {
    fn put(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = sha256(&bytes);
        let descriptor =
            json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() });
        let entry = Entry::text(&place(&descriptor), bytes);
        if self.0.iter().all(|other| other.name != entry.name) {
            self.0.push(entry);
        }
        descriptor
    }
}

#[cfg(test)]
mod tests;
