//! An OCI image layout on disk, blob by blob.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::layer::{self, Content, Layer};
use crate::{Outcome, digest};

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A layout being written.
pub struct Layout {
    folder: PathBuf,
    tagged: Vec<Value>,
}

/// A blob that has been written, as descriptors name it.
#[derive(Clone)]
pub struct Blob {
    pub media_type: &'static str,
    pub digest: String,
    pub size: u64,
}

impl Blob {
    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.size })
    }
}

impl Layout {
    pub fn create(folder: &Path) -> Outcome<Self> {
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        Ok(Self { folder: folder.to_owned(), tagged: Vec::new() })
    }

    pub fn layer(&self, content: &Content) -> Outcome<Layer> {
        let unnamed = self.folder.join("unnamed");
        let layer = layer::write(&unnamed, content)?;
        fs::rename(unnamed, self.blob_path(&layer.digest))?;
        Ok(layer)
    }

    pub fn bytes(&self, media_type: &'static str, bytes: &[u8]) -> Outcome<Blob> {
        let digest = digest::of_bytes(bytes);
        fs::write(self.blob_path(&digest), bytes)?;
        Ok(Blob { media_type, digest, size: bytes.len() as u64 })
    }

    pub fn json(&self, media_type: &'static str, document: &Value) -> Outcome<Blob> {
        self.bytes(media_type, document.to_string().as_bytes())
    }

    /// Gives a manifest or an index a name in the layout.
    pub fn tag(&mut self, blob: &Blob, name: &str) {
        let mut descriptor = blob.descriptor();
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        self.tagged.push(descriptor);
    }

    pub fn finish(self) -> Outcome {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.tagged });
        fs::write(self.folder.join("index.json"), index.to_string())?;
        fs::write(self.folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(())
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest::hex(digest))
    }
}
