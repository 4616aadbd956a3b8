//! Which images there are.
//!
//! * `sample`: two platforms, small layers, one of them empty. Most tests need no more.
//! * `large`: the same with a layer over 200 MB, which no cache or buffer holds by chance.
//! * `secret`: has blobs that no other image has, to see who may read them.
//! * `artifact`: not an image; a manifest whose `subject` is `sample`, and the tag that lists it
//!   for registries without a referrers API.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::layer::Content;
use super::layout::{Blob, INDEX, Layout, MANIFEST};
use super::platform::Platform;
use crate::digest::{self, Digests};
use crate::{Context, Outcome};

/// Part of the name of what is kept: to be raised when anything below changes.
pub const VERSION: u32 = 2;

const SMALL_BYTES: u64 = 300_000;
const LARGE_BYTES: u64 = 205_000_000;

/// Everything that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Catalogue {
    pub sample: Image,
    pub large: Image,
    pub secret: Image,
    pub artifact: Artifact,
}

/// An image of several platforms.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    pub index: String,
    pub platforms: Vec<Platform>,
}

/// A referrer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Artifact {
    pub manifest: String,
    pub blobs: Vec<String>,
    /// `sha256-<hex of the subject>`.
    pub fallback_tag: String,
    pub fallback_index: String,
}

impl Image {
    /// What a copy of all platforms consists of.
    pub fn digests(&self) -> Digests {
        let platforms = self.platforms.iter().flat_map(Platform::digests);
        platforms.chain([self.index.clone()]).collect()
    }

    /// The one for the machines which run these tests' engines.
    pub fn amd64(&self) -> Outcome<&Platform> {
        let mut platforms = self.platforms.iter();
        platforms.find(|platform| platform.architecture == "amd64").context("no amd64 image was made")
    }
}

impl Artifact {
    /// What a copy of the artifact consists of.
    pub fn digests(&self) -> Digests {
        let blobs = self.blobs.iter().cloned();
        blobs.chain([self.manifest.clone()]).collect()
    }
}

impl Catalogue {
    /// Writes all of them into a layout at `folder`, tagged by their names.
    pub fn write(folder: &Path) -> Outcome<Self> {
        let mut layout = Layout::create(folder)?;
        let (sample, subject) = write_image(&mut layout, "sample", 1, SMALL_BYTES)?;
        let catalogue = Self {
            sample,
            large: write_image(&mut layout, "large", 2, LARGE_BYTES)?.0,
            secret: write_image(&mut layout, "secret", 3, SMALL_BYTES)?.0,
            artifact: write_artifact(&mut layout, &subject)?,
        };
        layout.finish()?;
        Ok(catalogue)
    }
}

fn write_image(layout: &mut Layout, name: &str, seed: u64, last_layer_bytes: u64) -> Outcome<(Image, Blob)> {
    let mut platforms = Vec::new();
    let mut descriptors = Vec::new();
    for (number, architecture) in (0..).zip(["amd64", "arm64"]) {
        let seed = seed * 100 + number * 10;
        // The large layer is in one platform only, and last: engines copy what is below it.
        let last_layer_bytes = if number == 0 { last_layer_bytes } else { SMALL_BYTES };
        let (platform, manifest) = write_platform(layout, name, architecture, seed, last_layer_bytes)?;
        let mut descriptor = manifest.descriptor();
        descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
        descriptors.push(descriptor);
        platforms.push(platform);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors });
    let index = layout.json(INDEX, &index)?;
    layout.tag(&index, name);
    let image = Image { index: index.digest.clone(), platforms };
    Ok((image, index))
}

fn write_platform(
    layout: &Layout,
    name: &str,
    architecture: &str,
    seed: u64,
    last_layer_bytes: u64,
) -> Outcome<(Platform, Blob)> {
    let noise = |name: String, seed, bytes| Content::Noise { name, seed, bytes };
    let layers = [
        noise(format!("base-{name}-{architecture}"), seed + 1, SMALL_BYTES),
        Content::Nothing,
        noise(format!("top-{name}-{architecture}"), seed + 2, last_layer_bytes),
    ];
    Platform::write(layout, name, architecture, layers)
}

fn write_artifact(layout: &mut Layout, subject: &Blob) -> Outcome<Artifact> {
    let config = layout.bytes("application/vnd.oci.empty.v1+json", b"{}")?;
    let content = layout.bytes("application/spdx+json", br#"{"spdxVersion":"SPDX-2.3"}"#)?;
    let artifact_type = "application/vnd.example.bill-of-materials";
    let manifest = layout.json(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": config.descriptor(),
            "layers": [content.descriptor()],
            "subject": subject.descriptor(),
        }),
    )?;
    layout.tag(&manifest, "artifact");
    let mut listed = manifest.descriptor();
    listed["artifactType"] = json!(artifact_type);
    let fallback = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed] });
    let fallback = layout.json(INDEX, &fallback)?;
    let fallback_tag = format!("sha256-{}", digest::hex(&subject.digest));
    layout.tag(&fallback, &fallback_tag);
    Ok(Artifact {
        manifest: manifest.digest,
        blobs: vec![config.digest, content.digest],
        fallback_tag,
        fallback_index: fallback.digest,
    })
}
