//! Media types of manifests: what we ask upstreams for, and what a manifest is when its header does not say.

use serde::Deserialize;

/// The whole list of manifest types, asked of every upstream whatever the client's own list, so that one tag has
/// one answer: Quay and GHCR answer 404 or schema 1 to a narrow one (P-81).
pub const ACCEPT_EVERY_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// The type of a referrers answer, compared letter by letter by clients (P-140).
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A manifest of schema 1 that is signed.
const SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// What blobs are called, whatever they hold.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// A type that says nothing of what a manifest is; clients refuse a manifest that carries it (P-80).
fn is_generic(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    matches!(
        essence.to_ascii_lowercase().as_str(),
        "" | "application/json" | "text/plain" | "application/octet-stream" | "binary/octet-stream" | "text/html"
    )
}

/// The media type of a manifest: the upstream's header where it says something, else what the body says of
/// itself, else what its shape says (P-80). `None`: this is no manifest that anybody could use.
pub fn of_manifest(header: Option<&str>, body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        media_type: Option<String>,
        schema_version: Option<u8>,
        manifests: Option<serde::de::IgnoredAny>,
        config: Option<serde::de::IgnoredAny>,
        layers: Option<serde::de::IgnoredAny>,
    }
    if let Some(header) = header.filter(|header| !is_generic(header) && is_header_text(header)) {
        return Some(header.to_owned());
    }
    let shape: Shape = serde_json::from_slice(body).ok()?;
    if let Some(media_type) = shape.media_type.filter(|text| !is_generic(text) && is_header_text(text)) {
        return Some(media_type);
    }
    if shape.manifests.is_some() {
        Some(OCI_INDEX.to_owned())
    } else if shape.config.is_some() && shape.layers.is_some() {
        Some(OCI_MANIFEST.to_owned())
    } else if shape.schema_version == Some(1) {
        Some(SIGNED.to_owned())
    } else {
        None
    }
}

/// Whether a manifest of this type may hold signatures, which its digest leaves out.
pub(crate) fn is_signed(media_type: &str) -> bool {
    media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(SIGNED)
}

fn is_header_text(text: &str) -> bool {
    text.len() <= 255 && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_says_something_is_kept_to_the_letter() {
        let header = "application/vnd.oci.image.index.v1+json; charset=utf-8";
        assert_eq!(of_manifest(Some(header), b"not json").as_deref(), Some(header));
        let endless = format!("application/x{}", "x".repeat(255));
        assert_eq!(
            of_manifest(Some(&endless), br#"{"manifests":[]}"#).as_deref(),
            Some(OCI_INDEX),
            "a type of its own"
        );
    }

    #[test]
    fn a_generic_header_gives_way_to_the_body() {
        let docker = br#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}"#;
        for header in [None, Some("application/json"), Some("text/plain; charset=utf-8"), Some("")] {
            assert_eq!(
                of_manifest(header, docker).as_deref(),
                Some("application/vnd.docker.distribution.manifest.v2+json")
            );
        }
    }

    #[test]
    fn a_body_without_media_type_is_judged_by_its_shape() {
        let of = |body: &str| of_manifest(None, body.as_bytes());
        assert_eq!(of(r#"{"schemaVersion":2,"manifests":[]}"#).as_deref(), Some(OCI_INDEX));
        assert_eq!(of(r#"{"config":{},"layers":[]}"#).as_deref(), Some(OCI_MANIFEST));
        assert!(of(r#"{"schemaVersion":1}"#).unwrap().ends_with("v1+prettyjws"));
        assert_eq!(of(r#"{"errors":[]}"#), None);
        assert_eq!(of("<html>"), None);
        assert_eq!(of("{\"mediaType\":\"a\\r\\nX-Evil: 1\"}"), None);
    }
}
