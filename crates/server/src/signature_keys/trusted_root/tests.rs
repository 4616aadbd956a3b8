//! A real attestation against real trust roots, and each of both with one thing changed. Expectations are from `openssl x509` and
//! `base64 -d`.

use registry_proxy_core::digest::Digest;
use serde_json::{Value, json};

use super::*;

/// An attestation of a package by a workflow.
const BUNDLE: &str = include_str!("vectors/conda-attestation.sigstore.json");
/// Sigstore's public instance, which made it.
const ROOT: &str = include_str!("vectors/public-good.json");
/// Another instance.
const OTHER_ROOT: &str = include_str!("vectors/scaffolding.json");

/// What it is about.
const PACKAGE: &str = "sha256:54303491a8418fbed24344b513546182c29b43bf282ceb433af65e2299f9271f";

fn verify(root: &str, bundle: &str, manifest: &str) -> Result<VerifiedBundle, BundleFlaw> {
    let root = TrustedBundles::parse(root).expect("a trust root");
    root.verify(bundle.as_bytes(), &Digest::parse(manifest).expect("a digest"))
}

fn changed(json: &str, change: impl Fn(&mut Value)) -> String {
    let mut value = serde_json::from_str(json).expect("JSON");
    change(&mut value);
    value.to_string()
}

fn flaw_of_bundle(change: impl Fn(&mut Value)) -> Option<BundleFlaw> {
    verify(ROOT, &changed(BUNDLE, change), PACKAGE).err()
}

fn flaw_by_root(change: impl Fn(&mut Value)) -> Option<BundleFlaw> {
    verify(&changed(ROOT, change), BUNDLE, PACKAGE).err()
}

fn entry(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["tlogEntries"][0]
}

#[test]
fn a_real_bundle_says_who_made_it_and_what_it_states() {
    let verified = verify(ROOT, BUNDLE, PACKAGE).expect("a bundle");
    assert_eq!(verified.issuer, "https://token.actions.githubusercontent.com");
    let subject = "https://github.com/prefix-dev/sigstore-example/.github/workflows/action.yaml@refs/heads/main";
    assert_eq!(verified.subject, subject);
    let statement: Value = serde_json::from_slice(&verified.statement).expect("JSON");
    assert_eq!(statement["predicateType"], "https://schemas.conda.org/attestations-publish-1.schema.json");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], PACKAGE.trim_start_matches("sha256:"));
}

#[test]
fn a_bundle_about_another_digest_is_refused() {
    let other = PACKAGE.replace("543034", "643034");
    assert_eq!(verify(ROOT, BUNDLE, &other), Err(BundleFlaw::OtherManifest));
    let longer = format!("sha512:{}", "0".repeat(128));
    assert_eq!(verify(ROOT, BUNDLE, &longer), Err(BundleFlaw::OtherManifest));
}

#[test]
fn a_bundle_of_another_instance_is_refused() {
    assert!(verify(OTHER_ROOT, BUNDLE, PACKAGE).is_err());
    let other: Value = serde_json::from_str(OTHER_ROOT).expect("JSON");
    // Its authorities, as if they had always been there.
    let authorities = flaw_by_root(|root| {
        root["certificateAuthorities"] = other["certificateAuthorities"].clone();
        root["certificateAuthorities"][0]["validFor"] = json!({ "start": "2021-01-01T00:00:00Z" });
    });
    assert_eq!(authorities, Some(BundleFlaw::Untrusted));
    let certificate_logs = flaw_by_root(|root| root["ctlogs"] = other["ctlogs"].clone());
    assert_eq!(certificate_logs, Some(BundleFlaw::Untrusted));
    let logs = flaw_by_root(|root| root["tlogs"] = other["tlogs"].clone());
    assert_eq!(logs, Some(BundleFlaw::NotLogged));
}

#[test]
fn the_time_of_the_log_counts_and_not_todays() {
    // The certificate was valid for ten minutes in 2025, and today the bundle passes. An authority that had ended before does not vouch.
    let ended = flaw_by_root(|root| {
        root["certificateAuthorities"][1]["validFor"]["end"] = json!("2025-09-01T12:00:00Z");
    });
    assert_eq!(ended, Some(BundleFlaw::NotValidThen));
    let begun = flaw_by_root(|root| {
        root["certificateAuthorities"][1]["validFor"]["start"] = json!("2025-09-01T12:30:00Z");
    });
    assert_eq!(begun, Some(BundleFlaw::NotValidThen));
    // Nor does a time that the log has not signed: an hour later, when the certificate had expired, and an hour earlier.
    for time in ["1756732439", "1756725239"] {
        let moved = flaw_of_bundle(|bundle| entry(bundle)["integratedTime"] = json!(time));
        assert_eq!(moved, Some(BundleFlaw::NotLogged), "{time}");
    }
    let nobody = flaw_of_bundle(|bundle| {
        entry(bundle).as_object_mut().expect("an object").remove("integratedTime");
    });
    assert!(nobody.is_some());
}

#[test]
fn a_bundle_that_no_log_proves_is_refused() {
    let without = |name: &'static str| {
        flaw_of_bundle(move |bundle| {
            entry(bundle).as_object_mut().expect("an object").remove(name);
        })
    };
    assert_eq!(without("inclusionProof"), Some(BundleFlaw::NotLogged));
    // The first version of bundles could do without.
    let by_promise_alone = flaw_of_bundle(|bundle| {
        bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.1");
        entry(bundle).as_object_mut().expect("an object").remove("inclusionProof");
    });
    assert_eq!(by_promise_alone, Some(BundleFlaw::NotLogged));
    assert!(without("inclusionPromise").is_some());
    assert!(without("canonicalizedBody").is_some());
    assert!(flaw_of_bundle(|bundle| bundle["verificationMaterial"]["tlogEntries"] = json!([])).is_some());
    let hashes = flaw_of_bundle(|bundle| {
        entry(bundle)["inclusionProof"]["hashes"][0] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    });
    assert_eq!(hashes, Some(BundleFlaw::NotLogged));
    let checkpoint = flaw_of_bundle(|bundle| {
        let envelope = &mut entry(bundle)["inclusionProof"]["checkpoint"]["envelope"];
        *envelope = json!(envelope.as_str().expect("text").replace("rekor.sigstore.dev", "rekor.sigstore.de"));
    });
    assert_eq!(checkpoint, Some(BundleFlaw::NotLogged));
}

#[test]
fn a_bundle_with_a_changed_statement_signature_or_certificate_is_refused() {
    let statement = flaw_of_bundle(|bundle| {
        // A space more, about the same digest.
        let payload = bundle["dsseEnvelope"]["payload"].as_str().expect("text").to_owned();
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, payload).expect("base64");
        let longer = [&bytes[..], b" "].concat();
        bundle["dsseEnvelope"]["payload"] =
            json!(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, longer));
    });
    assert_eq!(statement, Some(BundleFlaw::Changed));
    assert!(flaw_of_bundle(|bundle| bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!("AAAA")).is_some());
    let nobody = flaw_of_bundle(|bundle| {
        bundle["verificationMaterial"].as_object_mut().expect("an object").remove("certificate");
        bundle["verificationMaterial"]["publicKey"] = json!({ "hint": "x" });
    });
    assert!(nobody.is_some());
    for text in
        ["", "{}", "[]", "null", "\u{0}", r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#]
    {
        assert_eq!(verify(ROOT, text, PACKAGE), Err(BundleFlaw::NotABundle), "{text}");
    }
}

#[test]
fn each_byte_of_a_certificate_counts() {
    let certificate = |bundle: &Value| {
        let text = bundle["verificationMaterial"]["certificate"]["rawBytes"].as_str().expect("text").to_owned();
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).expect("base64")
    };
    let whole: Value = serde_json::from_str(BUNDLE).expect("JSON");
    let bytes = certificate(&whole);
    let root = TrustedBundles::parse(ROOT).expect("a trust root");
    let package = Digest::parse(PACKAGE).expect("a digest");
    for at in (0..bytes.len()).step_by(61) {
        let mut other = bytes.clone();
        other[at] ^= 1;
        let mut bundle = whole.clone();
        bundle["verificationMaterial"]["certificate"]["rawBytes"] =
            json!(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, other));
        assert!(root.verify(bundle.to_string().as_bytes(), &package).is_err(), "{at}");
    }
}

#[test]
fn a_trust_root_that_trusts_nobody_is_refused_with_a_sentence() {
    for (json, expected) in [
        ("{}".to_owned(), "expected a trust root of Sigstore in JSON"),
        ("no JSON".to_owned(), "expected a trust root of Sigstore in JSON"),
        (changed(ROOT, |root| root["tlogs"] = json!([])), "the trust root names no transparency logs"),
        (changed(ROOT, |root| root["ctlogs"] = json!([])), "the trust root names no certificate logs"),
        (
            changed(ROOT, |root| root["certificateAuthorities"] = json!([])),
            "the trust root names no certificate authorities",
        ),
    ] {
        let error = TrustedBundles::parse(&json).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn another_trust_root_has_another_fingerprint() {
    let fingerprint = |json: &str| TrustedBundles::parse(json).expect("a trust root").fingerprint();
    assert_ne!(fingerprint(ROOT), fingerprint(OTHER_ROOT));
    assert_eq!(fingerprint(ROOT), fingerprint(ROOT));
}
