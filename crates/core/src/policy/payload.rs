//! What a signature was made of: a document of the "simple signing" format, as cosign and skopeo write it
//! (containers/image, `docs/containers-signature.5.md`; sigstore/cosign, `specs/SIGNATURE_SPEC.md`).
//!
//! `critical.identity.docker-reference` is not compared with the name by which the image is pulled, as cosign does not either: it
//! says where the image lay when it was signed, and images are copied together with their signatures. The key says who signed, the
//! digest says what.

use serde::Deserialize;

use crate::digest::Digest;

/// The only type that there is.
const SIGNATURE_TYPE: &str = "cosign container image signature";

/// What a signature was made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SignedPayload {
    /// Whether it is a container image's signature.
    pub(super) is_of_an_image: bool,
    /// The manifest that is signed.
    pub(super) manifest: Digest,
}

impl SignedPayload {
    /// Reads it; `None`: it is something else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Document {
            critical: Critical,
        }
        #[derive(Deserialize)]
        struct Critical {
            image: SignedImage,
            r#type: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct SignedImage {
            docker_manifest_digest: String,
        }
        let Document { critical } = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            is_of_an_image: critical.r#type == SIGNATURE_TYPE,
            manifest: Digest::parse(&critical.image.docker_manifest_digest).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn document(kind: &str, digest: &str, optional: &str) -> String {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"ghcr.io/acme/app"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":{optional}}}"#
        )
    }

    #[test]
    fn what_was_signed_is_read_and_nothing_else_is_taken_for_it() {
        let digest = format!("sha256:{HEX}");
        for optional in ["null", "{}", r#"{"creator":"skopeo","timestamp":1}"#] {
            let read = SignedPayload::parse(document(SIGNATURE_TYPE, &digest, optional).as_bytes());
            let expected = SignedPayload { is_of_an_image: true, manifest: Digest::parse(&digest).unwrap() };
            assert_eq!(read, Some(expected), "{optional}");
        }
        let other = SignedPayload::parse(document("atomic container signature", &digest, "null").as_bytes());
        assert!(other.is_some_and(|payload| !payload.is_of_an_image));
        let twice = document(SIGNATURE_TYPE, &digest, "null")
            .replace(r#""image":"#, r#""image":{"docker-manifest-digest":"sha256:00"},"image":"#);
        for text in
            ["", "{}", "[]", "null", r#"{"critical":{}}"#, &document(SIGNATURE_TYPE, "sha256:00", "null"), &twice]
        {
            assert_eq!(SignedPayload::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SignedPayload::parse(&bytes);
        }

        #[test]
        fn a_document_names_the_digest_in_it_whatever_else_is_in_it(
            hex in "[0-9a-f]{64}", kind in "[ -~&&[^\"\\\\]]{0,30}", extra in "[ -~&&[^\"\\\\]]{0,30}",
        ) {
            let text = document(&kind, &format!("sha256:{hex}"), &format!(r#"{{"{extra}":["{extra}"]}}"#));
            let read = SignedPayload::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(read.manifest.as_str(), format!("sha256:{hex}"));
            prop_assert_eq!(read.is_of_an_image, kind == SIGNATURE_TYPE);
        }

        #[test]
        fn a_document_that_is_cut_or_changed_never_names_another_type_of_digest(
            cut in 0_usize..300, at in 0_usize..300, byte in any::<u8>(),
        ) {
            let whole = document(SIGNATURE_TYPE, &format!("sha256:{HEX}"), "null").into_bytes();
            let cut = cut.min(whole.len());
            if cut < whole.len() {
                prop_assert_eq!(SignedPayload::parse(&whole[..cut]), None);
            }
            let mut changed = whole;
            let at = at.min(changed.len() - 1);
            changed[at] = byte;
            if let Some(read) = SignedPayload::parse(&changed) {
                prop_assert!(read.manifest.as_str().len() >= 5);
            }
        }
    }
}
