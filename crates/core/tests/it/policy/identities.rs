//! Signatures without a key: bundles by an identity, which cosign stores beside the image.

use std::sync::Arc;

use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::Signer;
use registry_proxy_core::testing::{Answer, Fault, Registry, TestBundles};

use super::{ACME, image, index, sign};
use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_INDEX, OCI_MANIFEST, Setup, upstream};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const ISSUER: &str = "https://issuer.test";
const SUBJECT: &str = "https://git.test/acme/app/release.yml@refs/tags/v1";

fn policy(subject: &str) -> String {
    format!(
        "[[policy]]\nmatch='reg.example/a/**'\nrequire={{issuer='{ISSUER}', subject='{subject}', trusted_root_file='root.json'}}\nmode='enforce'\n"
    )
}

fn lab(subject: &str) -> Fixture {
    let store = Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())));
    let signers = vec![Some(Signer::Identity(Arc::new(TestBundles)))];
    let text = &format!("{}{}", policy(subject), upstream(""));
    Fixture::set_up(&Setup { text, store: Some(store), signers, ..Setup::default() })
}

fn statement(kind: &str, about: &str) -> String {
    let hex = about.strip_prefix("sha256:").expect("a digest");
    format!(r#"{{"subject":[{{"digest":{{"sha256":"{hex}"}}}}],"predicateType":"{kind}"}}"#)
}

/// Puts a bundle about a manifest there, as the registry's list of referrers has it.
fn put_bundle(lab: &Fixture, about: &str, bundle: String) {
    let registry: &Registry = &lab.registry;
    let layer = registry.put_blob("a/b", bundle);
    let empty = registry.put_blob("a/b", "{}");
    let manifest = format!(
        r#"{{"artifactType":"{BUNDLE}","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{empty}"}},"layers":[{{"mediaType":"{BUNDLE}","digest":"{layer}"}}],"subject":{{"digest":"{about}"}}}}"#
    );
    let digest = registry.put_manifest("a/b", "some", OCI_MANIFEST, manifest);
    let list = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","artifactType":"{BUNDLE}"}}]}}"#
    );
    let answer = Answer::new(200).header("content-type", OCI_INDEX).body(list);
    lab.net.fault("GET", &format!("/referrers/{about}"), 99, Fault::Say(answer));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_the_identity_has_signed_is_served_with_all_its_parts_and_offline() {
    for pattern in [SUBJECT, "https://git.test/acme/app/release.yml@refs/tags/*", "https://git.test/acme/**"] {
        let mut lab = lab(pattern);
        let (child, layers) = image(&lab.registry, "child", &[5000]);
        let digest = index(&lab.registry, "v1", &[&child]);
        put_bundle(&lab, &digest, TestBundles::bundle(ISSUER, SUBJECT, &statement(SIGNED, &digest), true));
        let paths = ["v1", &digest, &child].map(|name| format!("manifests/{name}"));
        let paths: Vec<_> = paths.into_iter().chain([format!("blobs/{}", layers[0])]).collect();
        for path in &paths {
            assert_eq!(lab.get(&format!("/v2/a/b/{path}")).await.status, 200, "{pattern} {path}");
        }
        lab.wait(1).await;
        lab.restart(&format!("[cache]\noffline=true\n{}{}", policy(pattern), upstream("")));
        for path in &paths {
            assert_eq!(lab.get(&format!("/v2/a/b/{path}")).await.status, 200, "offline, {pattern} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_signature_by_anybody_else_or_of_something_else_is_refused_and_the_client_reads_why() {
    let other = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for (issuer, subject, kind, about, is_logged, found) in [
        ("https://issuer.test/", SUBJECT, SIGNED, None, true, "is by somebody for whom another issuer vouches"),
        ("https://evil.test", SUBJECT, SIGNED, None, true, "is by somebody for whom another issuer vouches"),
        (ISSUER, "https://git.test/evil/app/release.yml@refs/tags/v1", SIGNED, None, true, "is by somebody else"),
        (
            ISSUER,
            "https://git.test/acme/app/release.yml@refs/tags/v1/x",
            SIGNED,
            None,
            true,
            "is by somebody else",
        ),
        (ISSUER, "", SIGNED, None, true, "is by somebody else"),
        (ISSUER, SUBJECT, PROVENANCE, None, true, "signs something else than an image"),
        (ISSUER, SUBJECT, SIGNED, Some(other), true, "is that of another image"),
        (ISSUER, SUBJECT, SIGNED, None, false, "is not proved to be in a transparency log of the trust root"),
    ] {
        let lab = lab("https://git.test/acme/app/release.yml@refs/tags/*");
        let (digest, _) = image(&lab.registry, "v1", &[5000]);
        let statement = statement(kind, about.unwrap_or(&digest));
        put_bundle(&lab, &digest, TestBundles::bundle(issuer, subject, &statement, is_logged));
        let seen = lab.get("/v2/a/b/manifests/v1").await;
        assert_eq!(seen.status, 403, "{found}");
        assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"no valid signature\"");
        let expected = format!(
            "reg.example/a/b@{digest} is not served: this proxy's policy for reg.example/a/** wants a signature by \
             https://git.test/acme/app/release.yml@refs/tags/*, as {ISSUER} calls it; its signature {found}"
        );
        assert_eq!(seen.json()["errors"][0]["message"], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_signature_by_a_key_is_none_by_an_identity() {
    let lab = lab(SUBJECT);
    let (digest, _) = image(&lab.registry, "v1", &[5000]);
    sign(&lab.registry, &digest, &ACME);
    let seen = lab.get("/v2/a/b/manifests/v1").await;
    assert_eq!(seen.status, 403);
    let message = seen.json()["errors"][0]["message"].to_string();
    assert!(message.contains("its signature is no bundle of Sigstore, which would name who made it"), "{message}");
}
