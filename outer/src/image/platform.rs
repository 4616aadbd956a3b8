//! An image of one platform: its layers, its config and its manifest.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::layer::Content;
use super::layout::{Blob, CONFIG, LAYER, Layout, MANIFEST};
use crate::Outcome;
use crate::digest::Digests;

/// An image of one platform, with the digests of its parts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Platform {
    pub architecture: String,
    pub manifest: String,
    pub config: String,
    pub layers: Vec<String>,
    /// Of the layers, in bytes.
    pub sizes: Vec<u64>,
    pub diff_ids: Vec<String>,
}

impl Platform {
    /// Writes it into a layout, without a name; gives the manifest as well.
    pub fn write(
        layout: &Layout,
        name: &str,
        architecture: &str,
        layers: impl IntoIterator<Item = Content>,
    ) -> Outcome<(Self, Blob)> {
        let layers = layers.into_iter().map(|content| layout.layer(&content)).collect::<Outcome<Vec<_>>>()?;
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let config = layout.json(
            CONFIG,
            &json!({
                "architecture": architecture,
                "os": "linux",
                "created": "2024-01-01T00:00:00Z",
                "config": { "Cmd": ["/none"], "Labels": { "image": name } },
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
        let platform = Self {
            architecture: architecture.to_owned(),
            manifest: manifest.digest.clone(),
            config: config.digest,
            sizes: layers.iter().map(|layer| layer.size).collect(),
            layers: layers.into_iter().map(|layer| layer.digest).collect(),
            diff_ids,
        };
        Ok((platform, manifest))
    }

    pub fn digests(&self) -> Digests {
        let layers = self.layers.iter().cloned();
        layers.chain([self.manifest.clone(), self.config.clone()]).collect()
    }
}
