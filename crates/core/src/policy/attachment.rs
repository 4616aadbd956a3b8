//! What is no image, but a document about one: a signature, an attestation, an SBOM. And of which image.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::attached::SIMPLE_SIGNING;
use crate::digest::Digest;

/// Types of configurations that no runtime takes for an image's, nor Helm for a chart's: those of OCI artifacts without a
/// configuration, and of Notary's signatures.
const CONFIGS_OF_ATTACHMENTS: [&str; 3] = [
    "application/vnd.oci.empty.v1+json",
    "application/vnd.cncf.notary.signature",
    "application/vnd.unknown.config.v1+json",
];
/// Types of what cosign attaches by a tag, in manifests that look like an image's.
const LAYERS_OF_ATTACHMENTS: [&str; 10] = [
    SIMPLE_SIGNING,
    "application/vnd.dsse.envelope.v1+json",
    "application/vnd.cyclonedx",
    "application/vnd.cyclonedx+json",
    "application/vnd.cyclonedx+xml",
    "application/vnd.syft+json",
    "text/spdx",
    "text/spdx+json",
    "text/spdx+xml",
    "spdx+json",
];

/// Whether a manifest is a signature, an attestation, an SBOM or another document about an image, or a list of such: these are asked
/// for no signature. Only what no runtime can run counts, whatever its tag: whoever can write to the repository chooses that.
///
/// A manifest with a key that is not known here does not count: most runtimes take `Layers` for `layers`, as Go's `encoding/json`
/// does, and so would read another manifest than this proxy.
pub(crate) fn is_attachment(manifest: &[u8]) -> bool {
    let Ok(shape) = serde_json::from_slice::<AttachmentShape>(manifest) else { return false };
    if let Some(manifests) = shape.manifests {
        // The referrers tag of registries without the referrers API. What it names is judged by itself.
        let is_of_attachment = |part: &AttachedPart| !part.artifact_type.is_empty();
        return shape.config.is_none() && shape.layers.is_empty() && manifests.iter().all(is_of_attachment);
    }
    let Some(config) = shape.config else { return false };
    let is_document = |layer: &AttachedPart| LAYERS_OF_ATTACHMENTS.contains(&layer.media_type.as_str());
    let has_documents = !shape.layers.is_empty() && shape.layers.iter().all(is_document);
    (shape.subject.is_some() && CONFIGS_OF_ATTACHMENTS.contains(&config.media_type.as_str())) || has_documents
}

/// All keys of a manifest of OCI (image-spec, manifest.md and image-index.md).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AttachmentShape {
    #[serde(default)]
    manifests: Option<Vec<AttachedPart>>,
    #[serde(default)]
    config: Option<AttachedPart>,
    #[serde(default)]
    layers: Vec<AttachedPart>,
    #[serde(default)]
    subject: Option<IgnoredAny>,
    #[serde(default, rename = "schemaVersion")]
    _schema_version: IgnoredAny,
    #[serde(default, rename = "mediaType")]
    _media_type: IgnoredAny,
    #[serde(default, rename = "artifactType")]
    _artifact_type: IgnoredAny,
    #[serde(default, rename = "annotations")]
    _annotations: IgnoredAny,
}

/// All keys of a descriptor (image-spec, descriptor.md) but `urls`, from which runtimes fetch layers elsewhere.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AttachedPart {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    #[serde(default, rename = "digest")]
    _digest: IgnoredAny,
    #[serde(default, rename = "size")]
    _size: IgnoredAny,
    #[serde(default, rename = "annotations")]
    _annotations: IgnoredAny,
    #[serde(default, rename = "data")]
    _data: IgnoredAny,
    #[serde(default, rename = "platform")]
    _platform: IgnoredAny,
}

/// The manifest that a manifest says it is about.
pub(crate) fn subject_of(manifest: &[u8]) -> Option<Digest> {
    #[derive(Deserialize)]
    struct WithSubject {
        subject: SubjectDescriptor,
    }
    #[derive(Deserialize)]
    struct SubjectDescriptor {
        digest: String,
    }
    let WithSubject { subject } = serde_json::from_slice(manifest).ok()?;
    Digest::parse(&subject.digest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const TAR: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    #[test]
    fn only_what_no_runtime_can_run_is_an_attachment() {
        let manifest = |config: &str, layers: &[&str], subject: bool| {
            let layers: Vec<String> = layers.iter().map(|kind| format!(r#"{{"mediaType":"{kind}"}}"#)).collect();
            let subject = if subject { r#","subject":{"digest":"sha256:00"}"# } else { "" };
            format!(r#"{{"config":{{"mediaType":"{config}"}},"layers":[{}]{subject}}}"#, layers.join(","))
        };
        let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
        for (text, expected) in [
            // What cosign writes beside an image looks like an image but for its layers.
            (manifest(IMAGE_CONFIG, &[SIMPLE_SIGNING], false), true),
            (manifest(IMAGE_CONFIG, &["application/vnd.dsse.envelope.v1+json"], false), true),
            (manifest("application/vnd.oci.empty.v1+json", &[bundle], true), true),
            (manifest("application/vnd.cncf.notary.signature", &["application/jose+json"], true), true),
            // Images, whatever they say of a subject.
            (manifest(IMAGE_CONFIG, &[TAR], false), false),
            (manifest(IMAGE_CONFIG, &[TAR], true), false),
            (manifest(IMAGE_CONFIG, &[SIMPLE_SIGNING, TAR], false), false),
            (manifest(IMAGE_CONFIG, &[], false), false),
            (manifest("", &[TAR], true), false),
            // What Helm and wasm runtimes run.
            (manifest("application/vnd.cncf.helm.config.v1+json", &["application/x"], true), false),
            (manifest("application/vnd.wasm.config.v0+json", &["application/wasm"], true), false),
            // Without a subject it is attached to nothing.
            (manifest("application/vnd.oci.empty.v1+json", &[bundle], false), false),
            // The referrers tag, and an index of images.
            (r#"{"manifests":[{"artifactType":"application/x"}]}"#.to_owned(), true),
            (r#"{"manifests":[{"artifactType":"application/x"},{}]}"#.to_owned(), false),
            (r#"{"manifests":[{"mediaType":"application/x"}]}"#.to_owned(), false),
            (r#"{"manifests":[],"layers":[{"mediaType":"x"}]}"#.to_owned(), false),
            (r#"{"fsLayers":[]}"#.to_owned(), false),
            // Keys that Go takes for others.
            (
                manifest(IMAGE_CONFIG, &[SIMPLE_SIGNING], false).replacen(
                    '{',
                    r#"{"Layers":[{"mediaType":"x"}],"#,
                    1,
                ),
                false,
            ),
            (manifest(IMAGE_CONFIG, &[SIMPLE_SIGNING], false).replacen('{', r#"{"layerſ":[],"#, 1), false),
            (manifest(IMAGE_CONFIG, &[SIMPLE_SIGNING], false).replacen('{', r#"{"layers":[],"#, 1), false),
            (manifest(IMAGE_CONFIG, &[SIMPLE_SIGNING], false).replace("[{", r#"[{"mediatype":"x","#), false),
            ("{}".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_attachment(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_subject_is_found_where_there_is_one() {
        let digest = Digest::sha256(b"subject");
        let manifest = format!(r#"{{"layers":[],"subject":{{"digest":"{digest}"}}}}"#);
        assert_eq!(subject_of(manifest.as_bytes()), Some(digest));
        for text in ["", "{}", r#"{"subject":7}"#, r#"{"subject":{"digest":"x"}}"#] {
            assert_eq!(subject_of(text.as_bytes()), None, "{text}");
        }
    }
}
