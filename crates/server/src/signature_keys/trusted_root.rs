//! Verifies bundles of Sigstore by a trust root (sigstore/protobuf-specs, `sigstore_trustroot.proto`) from a file, with the crate
//! `sigstore-verify`. Nothing is fetched.

use std::str;

use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{BundleFlaw, BundleVerifier, VerifiedBundle};
use ring::digest;
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Artifact, ArtifactDigest, Bundle, HashAlgorithm, SignatureContent};
use sigstore_verify::{CertificateError, Error, VerificationPolicy, Verifier, bundle};

use super::ring_provider;

/// A trust root.
pub(super) struct TrustedBundles {
    verifier: Verifier,
    fingerprint: [u8; 32],
}

impl TrustedBundles {
    /// Reads one; otherwise what is wrong with it.
    pub(super) fn parse(json: &str) -> Result<Self, String> {
        ring_provider::install();
        let root = TrustedRoot::from_json(json).map_err(|error| {
            format!("expected a trust root of Sigstore in JSON, as in trusted_root.json: {error}")
        })?;
        // Without any of these no bundle could ever be verified.
        for (what, is_empty) in [
            ("certificate authorities", root.certificate_authorities.is_empty()),
            ("transparency logs (tlogs)", root.tlogs.is_empty()),
            ("certificate logs (ctlogs)", root.ctlogs.is_empty()),
        ] {
            if is_empty {
                return Err(format!("the trust root names no {what}"));
            }
        }
        let verifier = Verifier::new(&root).map_err(|error| error.to_string())?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, json.as_bytes()).as_ref());
        Ok(Self { verifier, fingerprint })
    }
}

impl BundleVerifier for TrustedBundles {
    fn verify(&self, bundle: &[u8], manifest: &Digest) -> Result<VerifiedBundle, BundleFlaw> {
        let text = str::from_utf8(bundle).map_err(|_| BundleFlaw::NotABundle)?;
        let bundle = Bundle::from_json(text).map_err(|_| BundleFlaw::NotABundle)?;
        let SignatureContent::DsseEnvelope(envelope) = &bundle.content else { return Err(BundleFlaw::NotABundle) };
        // Bundles of version 0.1 may have a log's promise alone, and the crate takes that.
        let entries = &bundle.verification_material.tlog_entries;
        if entries.is_empty() || entries.iter().any(|entry| entry.inclusion_proof.is_none()) {
            return Err(BundleFlaw::NotLogged);
        }
        let artifact = Artifact::from_digest(digest_of(manifest).ok_or(BundleFlaw::OtherManifest)?);
        // Whose it must be, the core decides.
        let verified = self.verifier.verify(artifact, &bundle, &VerificationPolicy::any_identity());
        let verified = verified.map_err(|error| {
            tracing::debug!(%manifest, %error, "a bundle does not count");
            flaw_of(&error)
        })?;
        // Should a later version of the crate leave any of it out.
        if !verified.certificate_verified() || !verified.sct_verified() {
            return Err(BundleFlaw::Untrusted);
        }
        if !verified.tlog_verified() {
            return Err(BundleFlaw::NotLogged);
        }
        let (Some(issuer), Some(subject)) = (verified.issuer(), verified.identity()) else {
            return Err(BundleFlaw::NotABundle);
        };
        tracing::debug!(%manifest, issuer, %subject, "a bundle is by this identity");
        Ok(VerifiedBundle {
            issuer: issuer.to_owned(),
            subject: subject.as_str().to_owned(),
            statement: envelope.payload.as_bytes().to_vec(),
        })
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

/// A digest as the crate has it.
fn digest_of(manifest: &Digest) -> Option<ArtifactDigest> {
    let algorithm = match manifest.algorithm() {
        "sha256" => HashAlgorithm::Sha2256,
        "sha512" => HashAlgorithm::Sha2512,
        _ => return None,
    };
    let hex = manifest.encoded().as_bytes().chunks(2);
    let bytes = hex.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    ArtifactDigest::new(algorithm, bytes.collect::<Option<Vec<u8>>>()?).ok()
}

/// What an error of the crate means to a client.
fn flaw_of(error: &Error) -> BundleFlaw {
    match error {
        Error::ArtifactMismatch(_) => BundleFlaw::OtherManifest,
        Error::SignatureInvalid(_) => BundleFlaw::Changed,
        Error::Certificate(
            CertificateError::Expired { .. }
            | CertificateError::NotYetValid { .. }
            | CertificateError::NoValidAuthority { .. },
        )
        | Error::Timestamp(_) => BundleFlaw::NotValidThen,
        Error::Certificate(_) => BundleFlaw::Untrusted,
        Error::TransparencyLog(_)
        | Error::Bundle(
            bundle::Error::MissingInclusionProof(_)
            | bundle::Error::MissingInclusionPromise(_)
            | bundle::Error::MissingCheckpoint
            | bundle::Error::MissingSigningTimeEvidence
            | bundle::Error::CheckpointRootMismatch,
        ) => BundleFlaw::NotLogged,
        _ => BundleFlaw::NotABundle,
    }
}

#[cfg(test)]
mod tests;
