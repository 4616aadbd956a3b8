//! A manifest's type belongs to its bytes, whatever an upstream calls it, and what is no manifest is served as none.

use bytes::Bytes;
use registry_proxy_core::testing::{Answer, sha256};

use super::town::{At, Cases, Mode, Town, Way};
use crate::fixture::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Seen};

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
const ORAS_ARTIFACT: &str = "application/vnd.cncf.oras.artifact.manifest.v1+json";

/// What the bytes are: what they say of themselves, or else what they look like.
const BODIES: [(&str, &str); 8] = [
    (
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}"#,
        OCI_MANIFEST,
    ),
    (
        r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{},"layers":[]}"#,
        DOCKER_MANIFEST,
    ),
    (r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#, OCI_INDEX),
    (
        r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#,
        DOCKER_LIST,
    ),
    (r#"{"schemaVersion":2,"config":{},"layers":[]}"#, OCI_MANIFEST),
    (r#"{"schemaVersion":2,"manifests":[]}"#, OCI_INDEX),
    (
        r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"a/b","blobs":[]}"#,
        OCI_ARTIFACT,
    ),
    (
        r#"{"mediaType":"application/vnd.cncf.oras.artifact.manifest.v1+json","artifactType":"a/b","blobs":[]}"#,
        ORAS_ARTIFACT,
    ),
];

/// What a liar calls them.
const NAMES: [&str; 7] = [
    OCI_INDEX,
    OCI_MANIFEST,
    DOCKER_MANIFEST,
    SIGNED,
    "application/json",
    "image/svg+xml",
    "text/html; charset=utf-8",
];

/// Both upstreams have the manifest; the liar calls it something else.
fn two_names(mode: Mode, body: &'static str, honest: &str, name: &str) -> Town {
    let town = Town::new(mode, Way::Usual, "");
    town.lab.registry.put_manifest("team/secret", "v1", honest, body);
    town.liar.put_manifest("x/y", "v1", name, body);
    town
}

#[tokio::test(start_paused = true)]
async fn a_manifest_has_the_type_of_its_bytes_whatever_a_liar_calls_it() {
    let mut cases = Cases::default();
    for (body, expected) in BODIES {
        let digest = sha256(body.as_bytes());
        for (number, name) in NAMES.into_iter().enumerate() {
            // Each pair in one of the modes is each mode with many pairs.
            let mode = Mode::ALL[number % Mode::ALL.len()];
            for first in [At::Liar, At::Secret] {
                let mut town = two_names(mode, body, expected, name);
                let second = if first == At::Liar { At::Secret } else { At::Liar };
                for restarted in [false, true] {
                    for at in [first, second] {
                        for reference in ["v1", &digest] {
                            let path = format!("manifests/{reference}");
                            let why =
                                format!("{body} called {name}, {mode:?}, {at:?} behind {first:?}, {reference}");
                            let seen = town.get("alice", at, &path).await;
                            let is_right = seen.status == 200
                                && seen.header("content-type") == expected
                                && seen.body == body.as_bytes();
                            let saw = |seen: &Seen| format!("{} {}", seen.status, seen.header("content-type"));
                            cases.check(is_right, || format!("{why}, restarted {restarted}: {}", saw(&seen)));
                            let seen = town.head("alice", at, &path).await;
                            let is_right = seen.status == 200 && seen.header("content-type") == expected;
                            cases
                                .check(is_right, || format!("{why}, HEAD, restarted {restarted}: {}", saw(&seen)));
                        }
                    }
                    town.lab.wait(1).await;
                    town.restart();
                }
            }
        }
    }
    cases.end();
}

#[tokio::test(start_paused = true)]
async fn a_browser_is_told_to_believe_the_type_of_a_manifest() {
    let mut cases = Cases::default();
    for mode in Mode::ALL {
        let town = two_names(mode, BODIES[0].0, OCI_MANIFEST, "text/html");
        for at in [At::Secret, At::Liar, At::Secret, At::Liar] {
            let sniffing = town.get("alice", at, "manifests/v1").await.header("x-content-type-options").to_owned();
            cases.check(sniffing == "nosniff", || format!("{mode:?}, {at:?}: {sniffing:?}"));
        }
    }
    cases.end();
}

/// What no client can use as a manifest, whatever it is called.
const NO_MANIFESTS: [&str; 8] = [
    "",
    "<!DOCTYPE html><title>Please log in</title>",
    r#"{"errors":[{"code":"UNAVAILABLE","message":"try again"}]}"#,
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"lay"#,
    r#"{"schemaVersion":2,"mediaType":"image/svg+xml","config":{},"layers":[]}"#,
    r#"["schemaVersion",2]"#,
    "{}",
    "<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
];

#[tokio::test(start_paused = true)]
async fn what_is_no_manifest_is_served_as_none_and_not_cached_for_the_tag() {
    const RIGHT: &str = BODIES[0].0;
    let mut cases = Cases::default();
    for (number, body) in NO_MANIFESTS.into_iter().enumerate() {
        for name in [OCI_MANIFEST, OCI_INDEX, "text/html", "image/svg+xml"] {
            for has_digest in [false, true] {
                let mode = Mode::ALL[number % Mode::ALL.len()];
                let town = Town::new(mode, Way::Usual, "");
                let why = format!("{body:?} called {name}, with a digest: {has_digest}, {mode:?}");
                let answer =
                    Answer::new(200).header("content-type", name).body(Bytes::from_static(body.as_bytes()));
                let digest = sha256(body.as_bytes());
                let answer = if has_digest { answer.header("docker-content-digest", &digest) } else { answer };
                town.says("GET", "manifests/v1", answer);
                for _ in 0..2 {
                    let seen = town.get("bob", At::Liar, "manifests/v1").await;
                    cases.check(seen.status == 504, || format!("{why}: {}", seen.status));
                    town.lab.wait(1).await;
                }
                town.lab.net.heal();
                let right = town.liar.put_manifest("x/y", "v1", OCI_MANIFEST, RIGHT);
                let seen = town.get("bob", At::Liar, "manifests/v1").await;
                let is_right = seen.status == 200 && seen.header("docker-content-digest") == right;
                cases.check(is_right, || format!("{why}: it is right again, and {} came", seen.status));
            }
        }
    }
    cases.end();
}
