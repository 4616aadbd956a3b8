//! Signatures as cosign 3 stores them: bundles that refer to the image.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use registry_proxy_core::testing::{Answer, Fault, Registry, TestKey};

use super::{ACME, STRANGER, image, index, lab, policy};
use crate::fixture::{OCI_INDEX, OCI_MANIFEST, upstream};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// Puts a bundle about a manifest there: its manifest's descriptor in a list of referrers.
fn put_bundle(registry: &Registry, about: &str, kind: &str, key: &TestKey) -> String {
    let hex = about.strip_prefix("sha256:").expect("a digest");
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{hex}"}}}}],"predicateType":"{kind}","predicate":{{}}}}"#
    );
    let message = format!("DSSEv1 28 application/vnd.in-toto+json {} {statement}", statement.len());
    let bundle = format!(
        r#"{{"mediaType":"{BUNDLE}","dsseEnvelope":{{"payload":"{}","payloadType":"application/vnd.in-toto+json","signatures":[{{"sig":"{}"}}]}}}}"#,
        BASE64_STANDARD.encode(&statement),
        BASE64_STANDARD.encode(key.sign(message.as_bytes()))
    );
    let layer = registry.put_blob("a/b", bundle);
    let empty = registry.put_blob("a/b", "{}");
    let manifest = format!(
        r#"{{"artifactType":"{BUNDLE}","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{empty}"}},"layers":[{{"mediaType":"{BUNDLE}","digest":"{layer}"}}],"subject":{{"digest":"{about}"}}}}"#
    );
    let digest = registry.put_manifest("a/b", "some", OCI_MANIFEST, manifest);
    format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","artifactType":"{BUNDLE}"}}"#)
}

fn list(descriptors: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, descriptors.join(","))
}

#[tokio::test(start_paused = true)]
async fn an_image_that_a_bundle_signs_is_served_and_one_that_is_only_attested_is_not() {
    // By the API, and by the tag of registries that do not have it.
    for has_api in [true, false] {
        for (kinds, key, expected) in [
            (&[SIGNED][..], &ACME, 200),
            (&[PROVENANCE, SIGNED], &ACME, 200),
            (&[SIGNED], &STRANGER, 403),
            (&[PROVENANCE], &ACME, 403),
            (&[], &ACME, 403),
        ] {
            let mut lab = lab(&policy("enforce"));
            let (child, layers) = image(&lab.registry, "child", &[5000]);
            let digest = index(&lab.registry, "v1", &[&child]);
            let bundles: Vec<String> =
                kinds.iter().map(|kind| put_bundle(&lab.registry, &digest, kind, key)).collect();
            if has_api {
                let answer = Answer::new(200).header("content-type", OCI_INDEX).body(list(&bundles));
                lab.net.fault("GET", &format!("/referrers/{digest}"), 99, Fault::Say(answer));
            } else {
                lab.registry.put_manifest("a/b", &digest.replace(':', "-"), OCI_INDEX, list(&bundles));
            }
            let paths = ["v1", &digest, &child]
                .map(|name| format!("/v2/a/b/manifests/{name}"))
                .into_iter()
                .chain([format!("/v2/a/b/blobs/{}", layers[0])]);
            for path in paths.clone() {
                assert_eq!(lab.get(&path).await.status, expected, "{has_api} {kinds:?} {path}");
            }
            // By what is cached.
            lab.wait(1).await;
            lab.restart(&format!("[cache]\noffline=true\n{}{}", policy("enforce"), upstream("")));
            for path in paths {
                assert_eq!(lab.get(&path).await.status, expected, "offline, {has_api} {kinds:?} {path}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_bundle_can_be_pulled_itself() {
    let lab = lab(&policy("enforce"));
    let (digest, _) = image(&lab.registry, "v1", &[5000]);
    let descriptor: serde_json::Value =
        serde_json::from_str(&put_bundle(&lab.registry, &digest, SIGNED, &ACME)).expect("JSON");
    let bundle = descriptor["digest"].as_str().expect("a digest");
    let seen = lab.get(&format!("/v2/a/b/manifests/{bundle}")).await;
    assert_eq!(seen.status, 200);
    let layer = seen.json()["layers"][0]["digest"].as_str().expect("a digest").to_owned();
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{layer}")).await.status, 200);
}
