//! What a policy wants signed never leaves without the signature, however it is asked for.

mod bundles;
mod identities;
mod lookup;
mod matrix;
mod services;

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::Signer;
use registry_proxy_core::testing::{Registry, TestKey, sha256};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_INDEX, OCI_MANIFEST, Setup, noise, upstream};

/// The key that the policy wants, and another.
const ACME: TestKey = TestKey("acme");
const STRANGER: TestKey = TestKey("stranger");

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn policy(mode: &str) -> String {
    format!("[[policy]]\nmatch='reg.example/a/**'\nrequire={{key_file='/etc/acme.pub'}}\nmode='{mode}'\n")
}

/// What cosign signs.
fn payload(manifest: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"somewhere/else"}},"image":{{"docker-manifest-digest":"{manifest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

fn tag_of(manifest: &str) -> String {
    format!("{}.sig", manifest.replace(':', "-"))
}

/// Attaches a signature to a manifest, as cosign does: what is signed, and what is stored as that. Digests of the signature's manifest
/// and of what is stored.
fn attach(registry: &Registry, to: &str, key: &TestKey, signed: &str, stored: &str) -> (String, String) {
    let blob = registry.put_blob("a/b", stored.to_owned());
    let config = registry.put_blob("a/b", "{}");
    let signature = BASE64_STANDARD.encode(key.sign(signed.as_bytes()));
    let manifest = format!(
        r#"{{"config":{{"mediaType":"{CONFIG}","digest":"{config}"}},"layers":[{{"mediaType":"{SIMPLE_SIGNING}","size":{},"digest":"{blob}","annotations":{{"dev.cosignproject.cosign/signature":"{signature}"}}}}]}}"#,
        stored.len()
    );
    (registry.put_manifest("a/b", &tag_of(to), OCI_MANIFEST, manifest), blob)
}

fn sign(registry: &Registry, manifest: &str, key: &TestKey) -> (String, String) {
    let payload = payload(manifest);
    attach(registry, manifest, key, &payload, &payload)
}

/// An image with layers of these sizes, and no signature: its digest and those of its layers.
fn image(registry: &Registry, tag: &str, sizes: &[usize]) -> (String, Vec<String>) {
    let layers: Vec<String> = sizes.iter().map(|size| registry.put_blob("a/b", noise(*size))).collect();
    let parts = layers.iter().map(|layer| format!(r#"{{"mediaType":"{LAYER}","digest":"{layer}"}}"#));
    let config = registry.put_blob("a/b", format!("configuration of {tag}"));
    let manifest = format!(
        r#"{{"config":{{"mediaType":"{CONFIG}","digest":"{config}"}},"layers":[{}],"annotations":{{"tag":"{tag}"}}}}"#,
        parts.collect::<Vec<_>>().join(",")
    );
    (registry.put_manifest("a/b", tag, OCI_MANIFEST, manifest), layers)
}

fn index(registry: &Registry, tag: &str, children: &[&str]) -> String {
    let parts = children.iter().map(|child| format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{child}"}}"#));
    let index = format!(r#"{{"manifests":[{}]}}"#, parts.collect::<Vec<_>>().join(","));
    registry.put_manifest("a/b", tag, OCI_INDEX, index)
}

/// A proxy with a store and the key, before `reg.example`.
fn lab(text: &str) -> Fixture {
    let store = Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())));
    let signers = vec![Some(Signer::Key(Arc::new(ACME)))];
    let text = &format!("{text}{}", upstream(""));
    Fixture::set_up(&Setup { text, store: Some(store), signers, ..Setup::default() })
}

#[test]
fn a_signature_is_stored_as_cosign_stores_it() {
    let digest = sha256(b"");
    assert_eq!(tag_of(&digest), "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.sig");
}
