//! Media types of manifests: what we ask upstreams for, and what a manifest is when its header does not say.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The types of today's images, asked of every upstream whatever the client's own list, so that one tag has one answer:
/// Quay and GHCR answer 404 or schema 1 to a narrow one (P-81).
pub const ACCEPT_EVERY_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// The same types, one by one.
const ASKED_OF_EVERYBODY: [&str; 4] = [
    OCI_INDEX,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    OCI_MANIFEST,
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// An index of images, and the type of a referrers answer, compared letter by letter by clients (P-140).
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A manifest of schema 1 that is signed.
const SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// A manifest of schema 1 that is not.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// What blobs are called, whatever they hold.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// All that is served as a manifest. A browser must never take content of a registry for a page (P-80).
const MANIFESTS: [&str; 8] = [
    OCI_INDEX,
    OCI_MANIFEST,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    SIGNED,
    SCHEMA_1,
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.cncf.oras.artifact.manifest.v1+json",
];

/// The type of a manifest in a `Content-Type` or in a body's `mediaType`, without parameters; `None`: of no manifest.
pub fn manifest_type(text: &str) -> Option<&'static str> {
    let essence = essence(text);
    MANIFESTS.into_iter().find(|known| essence.eq_ignore_ascii_case(known))
}

/// Whether every upstream is asked for this type anyway.
pub(crate) fn is_asked_of_everybody(media_type: &str) -> bool {
    ASKED_OF_EVERYBODY.iter().any(|asked| asked.eq_ignore_ascii_case(media_type))
}

/// A type that says nothing of what a manifest is (P-80).
fn is_generic(media_type: &str) -> bool {
    let essence = essence(media_type).to_ascii_lowercase();
    matches!(essence.as_str(), "" | "application/json" | "text/plain" | OCTET_STREAM | "binary/octet-stream")
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// The media type of a manifest: what its bytes say of themselves, else what their shape says (P-80). It belongs to the
/// bytes, so that no upstream can give the bytes of another one a second type. `None`: these bytes are no manifest.
pub fn of_manifest(body: &[u8]) -> Option<&'static str> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        media_type: Option<serde_json::Value>,
        schema_version: Option<serde_json::Value>,
        manifests: Option<Vec<IgnoredAny>>,
        layers: Option<Vec<IgnoredAny>>,
        fs_layers: Option<Vec<IgnoredAny>>,
        signatures: Option<Vec<IgnoredAny>>,
    }
    let shape: Shape = serde_json::from_slice(body).ok()?;
    let named = match &shape.media_type {
        None => None,
        Some(value) => Some(value.as_str()?),
    };
    if let Some(named) = named.filter(|named| !is_generic(named)) {
        return manifest_type(named);
    }
    let is_schema_1 = shape.schema_version.as_ref().and_then(serde_json::Value::as_u64) == Some(1);
    if shape.manifests.is_some() {
        Some(OCI_INDEX)
    } else if shape.layers.is_some() {
        Some(OCI_MANIFEST)
    } else if is_schema_1 || shape.fs_layers.is_some() {
        Some(if shape.signatures.is_some() { SIGNED } else { SCHEMA_1 })
    } else {
        None
    }
}

/// Whether a manifest of this type may hold signatures, which its digest leaves out.
pub(crate) fn is_signed(media_type: &str) -> bool {
    media_type == SIGNED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_says_what_it_is() {
        for media_type in MANIFESTS {
            let body = format!(r#"{{"mediaType":"{media_type}","manifests":[],"layers":[]}}"#);
            assert_eq!(of_manifest(body.as_bytes()), Some(media_type));
        }
        let with_parameter = br#"{"mediaType":"application/vnd.oci.image.index.v1+json; charset=utf-8"}"#;
        assert_eq!(of_manifest(with_parameter), Some(OCI_INDEX));
    }

    #[test]
    fn a_body_without_media_type_is_judged_by_its_shape() {
        for (body, expected) in [
            (r#"{"schemaVersion":2,"manifests":[]}"#, OCI_INDEX),
            (r#"{"config":{},"layers":[]}"#, OCI_MANIFEST),
            (r#"{"mediaType":"application/json","layers":[]}"#, OCI_MANIFEST),
            (r#"{"mediaType":"","layers":[]}"#, OCI_MANIFEST),
            (r#"{"schemaVersion":1}"#, SCHEMA_1),
            (r#"{"schemaVersion":1,"fsLayers":[],"signatures":[]}"#, SIGNED),
        ] {
            assert_eq!(of_manifest(body.as_bytes()), Some(expected), "{body}");
        }
    }

    #[test]
    fn what_is_no_manifest_has_no_type() {
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"errors":[]}"#,
            r#"{"layers":["#,
            r#"{"layers":[]} {}"#,
            r#"{"layers":"none"}"#,
            r#"{"mediaType":"image/svg+xml","layers":[]}"#,
            r#"{"mediaType":"text/html","manifests":[]}"#,
            r#"{"mediaType":7,"manifests":[]}"#,
            "{\"mediaType\":\"a\\r\\nX-Evil: 1\"}",
        ] {
            assert_eq!(of_manifest(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn what_is_asked_of_everybody_is_one_list() {
        assert_eq!(ASKED_OF_EVERYBODY.join(", "), ACCEPT_EVERY_MANIFEST);
        assert!(is_asked_of_everybody("Application/vnd.OCI.image.index.v1+json"));
        assert!(!is_asked_of_everybody("application/json"));
    }

    #[test]
    fn a_content_type_names_a_manifest_or_nothing() {
        assert_eq!(manifest_type("Application/vnd.OCI.image.index.v1+json; charset=utf-8"), Some(OCI_INDEX));
        for text in ["", "text/html", "application/json", "application/vnd.oci.image.config.v1+json"] {
            assert_eq!(manifest_type(text), None, "{text}");
        }
    }
}
