//! A signature as cosign 3 writes it: a Sigstore bundle with a DSSE envelope around a statement of in-toto
//! (sigstore/protobuf-specs, `sigstore_bundle.proto`; secure-systems-lab/dsse, `protocol.md`). Where a key is wanted, certificates
//! and entries of transparency logs in it are not looked at: the key is known. Where an identity is, the platform verifies them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::rules::WantedIdentity;
use super::verdict::Flaw;
use crate::digest::Digest;
use crate::pattern;
use crate::platform::{SignatureKey, VerifiedBundle};

/// The type of what is signed.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// What a statement says that is a signature of an image. Attestations say something else: whoever attests that an image was scanned
/// does not let it through.
const IS_SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
/// Most signatures of a bundle that are looked at: there is one.
const MAX_SIGNATURES: usize = 4;

/// What is wrong with a bundle; `None`: this key signed this manifest in it. Nothing of the statement is believed before its
/// signature is verified.
pub(super) fn flaw(bundle: &[u8], manifest: &Digest, key: &dyn SignatureKey) -> Option<Flaw> {
    let Some(Envelope { message, statement, signatures }) = Envelope::in_bundle(bundle) else {
        return Some(Flaw::NoImageSigned);
    };
    if !signatures.iter().any(|signature| key.verifies(&message, signature)) {
        return Some(Flaw::NotByKey);
    }
    flaw_of_statement(&statement, manifest)
}

/// The same where an identity is wanted.
pub(super) fn flaw_by_identity(bundle: &[u8], manifest: &Digest, wanted: &WantedIdentity) -> Option<Flaw> {
    let VerifiedBundle { issuer, subject, statement } = match wanted.verifier.verify(bundle, manifest) {
        Ok(verified) => verified,
        Err(flaw) => return Some(Flaw::Bundle(flaw)),
    };
    if *issuer != *wanted.issuer {
        return Some(Flaw::OtherIssuer);
    }
    if !pattern::matches(&wanted.subject, &subject) {
        return Some(Flaw::OtherSubject);
    }
    flaw_of_statement(&statement, manifest)
}

fn flaw_of_statement(statement: &[u8], manifest: &Digest) -> Option<Flaw> {
    match is_about(statement, manifest) {
        Some(true) => None,
        Some(false) => Some(Flaw::OtherManifest),
        None => Some(Flaw::NoImageSigned),
    }
}

struct Envelope {
    /// What is signed.
    message: Vec<u8>,
    statement: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

impl Envelope {
    fn in_bundle(bundle: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Bundle {
            dsse_envelope: Dsse,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Dsse {
            payload: String,
            payload_type: String,
            signatures: Vec<DsseSignature>,
        }
        #[derive(Deserialize)]
        struct DsseSignature {
            sig: String,
        }
        let Bundle { dsse_envelope: dsse } = serde_json::from_slice(bundle).ok()?;
        if dsse.payload_type != STATEMENT {
            return None;
        }
        let statement = BASE64_STANDARD.decode(dsse.payload).ok()?;
        let head = format!("DSSEv1 {} {STATEMENT} {} ", STATEMENT.len(), statement.len());
        let message = [head.as_bytes(), &statement].concat();
        let signatures = dsse.signatures.into_iter().take(MAX_SIGNATURES);
        let signatures = signatures.map(|signature| BASE64_STANDARD.decode(signature.sig).ok());
        Some(Self { message, statement, signatures: signatures.collect::<Option<_>>()? })
    }
}

/// Whether a statement is a signature of this manifest; `None`: it says something else.
fn is_about(statement: &[u8], manifest: &Digest) -> Option<bool> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Statement {
        subject: Vec<StatementSubject>,
        predicate_type: String,
    }
    #[derive(Deserialize)]
    struct StatementSubject {
        digest: std::collections::HashMap<String, String>,
    }
    let statement: Statement = serde_json::from_slice(statement).ok()?;
    let is_this = |subject: &StatementSubject| {
        subject.digest.get(manifest.algorithm()).is_some_and(|hex| hex == manifest.encoded())
    };
    (statement.predicate_type == IS_SIGNED).then(|| statement.subject.iter().any(is_this))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::TestKey;

    const ACME: TestKey = TestKey("acme");

    fn statement(kind: &str, manifest: &Digest) -> String {
        format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}},"annotations":{{}}}}],"predicateType":"{kind}","predicate":{{}}}}"#,
            manifest.encoded()
        )
    }

    fn bundle(statement: &str, kind: &str, key: &TestKey) -> String {
        let message = format!("DSSEv1 28 application/vnd.in-toto+json {} {statement}", statement.len());
        let signature = BASE64_STANDARD.encode(key.sign(message.as_bytes()));
        let payload = BASE64_STANDARD.encode(statement);
        format!(
            r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{{"publicKey":{{"hint":"x"}}}},"dsseEnvelope":{{"payload":"{payload}","payloadType":"{kind}","signatures":[{{"sig":"{signature}"}}]}}}}"#
        )
    }

    #[test]
    fn only_a_signature_of_this_image_by_this_key_counts() {
        let (manifest, other) = (Digest::sha256(b"manifest"), Digest::sha256(b"other"));
        let signed = statement(IS_SIGNED, &manifest);
        let attested = statement("https://slsa.dev/provenance/v1", &manifest);
        for (bundle, expected) in [
            (bundle(&signed, STATEMENT, &ACME), None),
            (bundle(&signed, STATEMENT, &TestKey("stranger")), Some(Flaw::NotByKey)),
            (bundle(&statement(IS_SIGNED, &other), STATEMENT, &ACME), Some(Flaw::OtherManifest)),
            (bundle(&attested, STATEMENT, &ACME), Some(Flaw::NoImageSigned)),
            (bundle(&signed, "text/plain", &ACME), Some(Flaw::NoImageSigned)),
            (bundle("no statement", STATEMENT, &ACME), Some(Flaw::NoImageSigned)),
            ("{}".to_owned(), Some(Flaw::NoImageSigned)),
            (String::new(), Some(Flaw::NoImageSigned)),
        ] {
            assert_eq!(flaw(bundle.as_bytes(), &manifest, &ACME), expected, "{bundle}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(flaw(&bytes, &Digest::sha256(b"manifest"), &ACME).is_some());
        }

        #[test]
        fn another_statement_under_the_same_signature_is_refused(at in 0_usize..200, byte in any::<u8>()) {
            let manifest = Digest::sha256(b"manifest");
            let whole = statement(IS_SIGNED, &manifest);
            let mut changed = whole.clone().into_bytes();
            let at = at.min(changed.len() - 1);
            changed[at] = byte;
            let good = bundle(&whole, STATEMENT, &ACME);
            let bad = good.replace(&BASE64_STANDARD.encode(&whole), &BASE64_STANDARD.encode(&changed));
            prop_assert_eq!(flaw(bad.as_bytes(), &manifest, &ACME).is_none(), changed == whole.as_bytes());
        }
    }
}
