//! `index.json`: the images of a layout and their names, read and written.
//!
//! containerd and Docker name an image in `io.containerd.image.name`, podman reads that too; skopeo names and finds one by
//! `org.opencontainers.image.ref.name`, which the specification allows to be a tag alone. What is written here has the full
//! name in both.

use serde::Deserialize;
use serde_json::{Value, json};

use super::image::BundleImage;
use super::refusal::BundleFault;
use crate::digest::Digest;
use crate::media;

/// The annotation of containerd and Docker: a full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The annotation of the specification: a full name, or a tag alone.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image that `index.json` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedManifest {
    /// Its manifest or index.
    pub digest: Digest,
    /// That one's length in bytes, where it is said.
    pub size: Option<u64>,
    /// Its name, as the bundle has it, where that is a full one.
    pub(super) name: Option<String>,
    /// What it is called in any case.
    pub(super) ref_name: Option<String>,
}

/// An image that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedImage {
    /// Its name.
    pub image: BundleImage,
    /// Its manifest or index.
    pub digest: Digest,
    /// That one's length in bytes.
    pub size: u64,
    /// That one's type.
    pub media_type: &'static str,
}

/// `index.json` of these images.
pub fn index_json(images: &[ExportedImage]) -> String {
    let descriptor = |exported: &ExportedImage| {
        let name = exported.image.to_string();
        json!({
            "mediaType": exported.media_type,
            "digest": exported.digest,
            "size": exported.size,
            "annotations": { CONTAINERD_NAME: name, REF_NAME: name },
        })
    };
    let manifests: Vec<Value> = images.iter().map(descriptor).collect();
    json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests }).to_string()
}

/// Reads `index.json`.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<IndexedManifest>, BundleFault> {
    #[derive(Deserialize)]
    struct IndexShape {
        manifests: Vec<IndexedDescriptor>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct IndexedDescriptor {
        media_type: Option<String>,
        digest: String,
        size: Option<u64>,
        annotations: Option<serde_json::Map<String, Value>>,
    }
    let shape: IndexShape = serde_json::from_slice(bytes).map_err(|error| BundleFault::Json(error.to_string()))?;
    let read = |descriptor: IndexedDescriptor| {
        let digest = Digest::parse(&descriptor.digest)
            .map_err(|_| BundleFault::NamedDigest(descriptor.digest.escape_debug().to_string()))?;
        if !digest.is_computable() {
            return Err(BundleFault::Algorithm(digest.algorithm().to_owned()));
        }
        let media_type = descriptor.media_type.as_deref().unwrap_or(media::OCI_MANIFEST);
        if media::manifest_type(media_type).is_none() {
            let media_type = media_type.escape_debug().to_string();
            return Err(BundleFault::Type { digest: digest.to_string(), media_type });
        }
        let annotation = |name: &str| descriptor.annotations.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let ref_name = annotation(REF_NAME);
        let full = ref_name.clone().filter(|name| has_registry(name));
        Ok(IndexedManifest { digest, size: descriptor.size, name: annotation(CONTAINERD_NAME).or(full), ref_name })
    };
    shape.manifests.into_iter().map(read).collect()
}

/// Whether a name begins with a registry, as Docker tells it: `3.20` and `alpine:3.20` do not, and could mean anything.
fn has_registry(name: &str) -> bool {
    name.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let image = BundleImage::parse("docker.io/library/alpine:3.20").unwrap();
        let exported =
            ExportedImage { image, digest: Digest::sha256(b"x"), size: 7, media_type: media::OCI_INDEX };
        let text = index_json(std::slice::from_ref(&exported));
        let name = Some("docker.io/library/alpine:3.20".to_owned());
        let expected =
            IndexedManifest { digest: exported.digest, size: Some(7), name: name.clone(), ref_name: name };
        assert_eq!(read(text.as_bytes()), Ok(vec![expected]));
    }

    #[test]
    fn a_name_counts_where_it_is_a_full_one() {
        let digest = Digest::sha256(b"x");
        for (annotations, name) in [
            // Docker 25 and later.
            (
                r#"{"io.containerd.image.name":"docker.io/library/a:1","org.opencontainers.image.ref.name":"1"}"#,
                Some("docker.io/library/a:1"),
            ),
            (r#"{"org.opencontainers.image.ref.name":"quay.io/a/b:1"}"#, Some("quay.io/a/b:1")),
            (r#"{"org.opencontainers.image.ref.name":"localhost/a:1"}"#, Some("localhost/a:1")),
            (r#"{"org.opencontainers.image.ref.name":"a/b:1"}"#, None),
            (r#"{"org.opencontainers.image.ref.name":"3.20"}"#, None),
            (r#"{"org.opencontainers.image.ref.name":7}"#, None),
            ("{}", None),
            ("null", None),
        ] {
            let text = format!(r#"{{"manifests":[{{"digest":"{digest}","annotations":{annotations}}}]}}"#);
            assert_eq!(read(text.as_bytes()).unwrap()[0].name.as_deref(), name, "{annotations}");
        }
    }

    #[test]
    fn what_is_no_index_of_images_is_refused() {
        let digest = Digest::sha256(b"x");
        for text in [
            "",
            "[]",
            "{}",
            "\u{feff}{}",
            r#"{"manifests":{}}"#,
            r#"{"manifests":[{}]}"#,
            r#"{"manifests":[{"digest":7}]}"#,
            &format!(r#"{{"manifests":[{{"digest":"{digest}","size":-1}}]}}"#),
            &format!(r#"{{"manifests":[{{"digest":"{digest}","size":1.5}}]}}"#),
            &format!(r#"{{"manifests":[{{"digest":"{digest}"}}]"#),
        ] {
            assert!(matches!(read(text.as_bytes()), Err(BundleFault::Json(_))), "{text}");
        }
        let read = |digest: &str, media_type: &str| {
            let text = format!(r#"{{"manifests":[{{"digest":"{digest}","mediaType":"{media_type}"}}]}}"#);
            read(text.as_bytes()).unwrap_err()
        };
        assert_eq!(read("sha256:12", media::OCI_INDEX), BundleFault::NamedDigest("sha256:12".into()));
        assert_eq!(read("md5:00", media::OCI_INDEX), BundleFault::Algorithm("md5".into()));
        let (digest, layer) = (digest.as_str(), "application/vnd.oci.image.layer.v1.tar");
        let media_type = layer.to_owned();
        assert_eq!(read(digest, layer), BundleFault::Type { digest: digest.to_owned(), media_type });
    }
}
