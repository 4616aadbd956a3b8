//! The signatures of an image, as cosign stores them in the same repository: a manifest under the tag `sha256-<hex>.sig` with
//! a layer for each signature, or one manifest for each, of which the image is the subject, with a bundle as its layer.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::bundle;
use super::payload::SignedPayload;
use super::rules::WantedSigner;
use super::verdict::Flaw;
use crate::digest::Digest;
use crate::name::{Reference, Tag};

/// The type of a layer that is what a signature was made of.
pub(super) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of such a layer that is the signature, in base64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Most signatures of an image that are looked at.
const MAX_SIGNATURES: usize = 32;
/// Longest signature that is decoded, in characters: RSA of 8192 bits takes 1368.
const MAX_SIGNATURE_CHARS: usize = 2048;

/// The tag under which cosign stores the signatures of a manifest.
pub(crate) fn signature_tag(manifest: &Digest) -> Option<Reference> {
    Tag::parse(&format!("{}.sig", manifest.as_str().replacen(':', "-", 1))).map(Reference::Tag)
}

/// What the types of bundles begin with; a version follows.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// A signature.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AttachedSignature {
    /// The blob that is signed, or in which both are.
    pub(crate) blob: Digest,
    form: SignatureForm,
}

#[derive(Debug, PartialEq, Eq)]
enum SignatureForm {
    /// The blob is what this signature was made of.
    SimpleSigning(Vec<u8>),
    /// The blob is a bundle.
    Bundle,
}

impl AttachedSignature {
    /// The signatures in a manifest; layers of another kind are left out.
    pub(crate) fn all_in(manifest: &[u8]) -> Vec<Self> {
        #[derive(Deserialize, Default)]
        struct SignatureManifest {
            #[serde(default)]
            layers: Vec<Value>,
        }
        let SignatureManifest { layers } = serde_json::from_slice(manifest).unwrap_or_default();
        layers.into_iter().filter_map(Self::of).take(MAX_SIGNATURES).collect()
    }

    fn of(layer: Value) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct SignatureLayer {
            media_type: String,
            digest: String,
            #[serde(default)]
            annotations: HashMap<String, Value>,
        }
        let layer: SignatureLayer = serde_json::from_value(layer).ok()?;
        let blob = Digest::parse(&layer.digest).ok()?;
        let form = match layer.media_type.as_str() {
            SIMPLE_SIGNING => {
                let text = layer.annotations.get(SIGNATURE)?.as_str();
                let text = text.filter(|text| text.len() <= MAX_SIGNATURE_CHARS)?;
                SignatureForm::SimpleSigning(BASE64_STANDARD.decode(text).ok()?)
            }
            other if other.starts_with(BUNDLE) => SignatureForm::Bundle,
            _ => return None,
        };
        Some(Self { blob, form })
    }

    /// What is wrong with it; `None`: this signer signed this manifest. Nothing of the payload is believed before its signature is
    /// verified.
    pub(crate) fn flaw(&self, blob: &[u8], manifest: &Digest, signer: &WantedSigner) -> Option<Flaw> {
        if self.blob.matches(blob) != Some(true) {
            return Some(Flaw::BytesDiffer);
        }
        let (signature, key) = match (&self.form, signer) {
            (SignatureForm::SimpleSigning(signature), WantedSigner::Key(key)) => (signature, key),
            (SignatureForm::SimpleSigning(_), WantedSigner::Identity(_)) => return Some(Flaw::NoIdentity),
            (SignatureForm::Bundle, WantedSigner::Key(key)) => return bundle::flaw(blob, manifest, &**key),
            (SignatureForm::Bundle, WantedSigner::Identity(wanted)) => {
                return bundle::flaw_by_identity(blob, manifest, wanted);
            }
        };
        if !key.verifies(blob, signature) {
            return Some(Flaw::NotByKey);
        }
        match SignedPayload::parse(blob) {
            Some(payload) if payload.is_of_an_image && payload.manifest == *manifest => None,
            Some(payload) if payload.is_of_an_image => Some(Flaw::OtherManifest),
            Some(_) | None => Some(Flaw::NoImageSigned),
        }
    }
}

/// The manifests of bundles that a list of referrers names.
pub(crate) fn bundles_in(referrers: &[u8]) -> Vec<Digest> {
    #[derive(Deserialize, Default)]
    struct Referrers {
        #[serde(default)]
        manifests: Vec<Value>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Referrer {
        digest: String,
        #[serde(default)]
        artifact_type: String,
    }
    let Referrers { manifests } = serde_json::from_slice(referrers).unwrap_or_default();
    let all = manifests.into_iter().filter_map(|referrer| serde_json::from_value::<Referrer>(referrer).ok());
    // Registries that do not read the manifest name the type of its configuration.
    let of_bundle = |referrer: &Referrer| {
        referrer.artifact_type.starts_with(BUNDLE) || referrer.artifact_type == "application/vnd.oci.empty.v1+json"
    };
    let digests = all.filter(of_bundle).filter_map(|referrer| Digest::parse(&referrer.digest).ok());
    digests.take(MAX_SIGNATURES).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::TestKey;

    const KIND: &str = "cosign container image signature";
    const TAR: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn layer(kind: &str, payload: &Digest, signature: &str) -> String {
        format!(
            r#"{{"mediaType":"{kind}","size":7,"digest":"{payload}","annotations":{{"{SIGNATURE}":"{signature}","a":7}}}}"#
        )
    }

    #[test]
    fn signatures_are_found_among_other_layers() {
        let payload = Digest::sha256(b"payload");
        let good = layer(SIMPLE_SIGNING, &payload, "AAEC");
        let odd = [
            layer(TAR, &payload, "AAEC"),
            layer(SIMPLE_SIGNING, &payload, "not base64!"),
            layer(SIMPLE_SIGNING, &payload, &"A".repeat(4096)),
            good.replace(SIGNATURE, "another"),
            good.replace("sha256:", "sha256;"),
            "7".to_owned(),
        ];
        let manifest = format!(r#"{{"layers":[{},{good}]}}"#, odd.join(","));
        let expected =
            AttachedSignature { blob: payload.clone(), form: SignatureForm::SimpleSigning(vec![0, 1, 2]) };
        assert_eq!(AttachedSignature::all_in(manifest.as_bytes()), [expected]);
        for text in ["", "{}", "[]", r#"{"layers":7}"#] {
            assert_eq!(AttachedSignature::all_in(text.as_bytes()), [], "{text}");
        }
        let many = format!(r#"{{"layers":[{}]}}"#, vec![good; 500].join(","));
        assert_eq!(AttachedSignature::all_in(many.as_bytes()).len(), MAX_SIGNATURES);
        let tag = signature_tag(&Digest::sha256(b"")).unwrap();
        assert_eq!(tag.as_str(), "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.sig");
    }

    #[test]
    fn a_signature_counts_only_for_its_key_its_payload_and_its_manifest() {
        let (manifest, other) = (Digest::sha256(b"manifest"), Digest::sha256(b"other"));
        let document = |kind: &str, digest: &Digest, reference: &str| {
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"{reference}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}}}}"#
            )
        };
        let (key, stranger) = (TestKey("acme"), TestKey("stranger"));
        let wanted = WantedSigner::Key(Arc::new(TestKey("acme")));
        for (document, signer, expected) in [
            (document(KIND, &manifest, "ghcr.io/acme/app"), &key, None),
            // Where it lay when it was signed does not matter.
            (document(KIND, &manifest, "registry.test/elsewhere"), &key, None),
            (document(KIND, &manifest, ""), &key, None),
            (document(KIND, &manifest, "ghcr.io/acme/app"), &stranger, Some(Flaw::NotByKey)),
            (document(KIND, &other, "ghcr.io/acme/app"), &key, Some(Flaw::OtherManifest)),
            (document("something else", &manifest, "ghcr.io/acme/app"), &key, Some(Flaw::NoImageSigned)),
            ("no document".to_owned(), &key, Some(Flaw::NoImageSigned)),
        ] {
            let bytes = document.as_bytes();
            let form = SignatureForm::SimpleSigning(signer.sign(bytes));
            let signed = AttachedSignature { blob: Digest::sha256(bytes), form };
            assert_eq!(signed.flaw(bytes, &manifest, &wanted), expected, "{document} by {}", signer.0);
            let tampered = [bytes, b" "].concat();
            assert_eq!(signed.flaw(&tampered, &manifest, &wanted), Some(Flaw::BytesDiffer), "{document}");
            let signed = AttachedSignature { blob: Digest::sha256(&tampered), ..signed };
            assert_eq!(signed.flaw(&tampered, &manifest, &wanted), Some(Flaw::NotByKey), "{document}");
        }
    }

    #[test]
    fn bundles_are_found_in_a_list_of_referrers() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|text| Digest::sha256(text));
        let list = format!(
            r#"{{"manifests":[{{"digest":"{a}","artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"}},
            {{"digest":"{b}","artifactType":"application/vnd.oci.empty.v1+json"}},
            {{"digest":"{c}","artifactType":"application/spdx+json"}},{{"digest":"{c}"}},7,{{"digest":"x"}}]}}"#
        );
        assert_eq!(bundles_in(list.as_bytes()), [a, b]);
        assert_eq!(bundles_in(b"[]"), []);
    }
}
