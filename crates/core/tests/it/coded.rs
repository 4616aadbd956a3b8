//! Registries that compress although they were asked not to (P-93).

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use registry_proxy_core::testing::{Answer, Fault};

use crate::fixture::{Fixture, OCI_MANIFEST, manifest_of, noise};

const V1: &str = "/v2/a/b/manifests/v1";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("room in memory");
    encoder.finish().expect("room in memory")
}

/// What was there, coded.
fn code(answer: &mut Answer) {
    *answer = answer.clone().header("content-encoding", "gzip").body(gzip(&answer.body));
}

/// Everything with this in its address is coded from now on.
fn code_all(lab: &Fixture, part: &str) {
    lab.net.fault("*", part, 99, Fault::change(code));
}

#[tokio::test(start_paused = true)]
async fn a_coded_manifest_is_decoded_held_against_its_digest_and_served_plain() {
    for lab in [Fixture::new(""), Fixture::caching("")] {
        let body = manifest_of(3000);
        let digest = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, body.clone());
        code_all(&lab, "/manifests/");
        for reference in ["v1", &digest] {
            let path = format!("/v2/a/b/manifests/{reference}");
            // In either order: what a HEAD says of coded bytes is not the length of the manifest.
            for call in [lab.head(&path), lab.get(&path), lab.head(&path)] {
                let seen = call.await;
                assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, &*body.len().to_string()));
                assert_eq!(
                    (seen.header("content-type"), seen.header("docker-content-digest")),
                    (OCI_MANIFEST, &*digest)
                );
                assert_eq!(seen.header("content-encoding"), "");
            }
            assert_eq!(lab.get(&path).await.body, body, "{reference}");
        }
        assert!(lab.net.log().iter().all(|sent| sent.header("accept-encoding") == "identity"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_decoded_manifest_is_cached_like_any_other() {
    let lab = Fixture::caching("");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(3000));
    code_all(&lab, "/manifests/");
    assert_eq!((lab.get(V1).await.done(), lab.get(V1).await.done()), ("filled", "hit"));
}

#[tokio::test(start_paused = true)]
async fn what_a_coded_manifest_holds_must_be_right_and_not_too_large() {
    let other = Answer::new(200).header("content-type", OCI_MANIFEST).header("content-encoding", "gzip");
    let bomb = gzip(format!("{{\"layers\":[],\"config\":{{}},\"a\":\"{}\"}}", " ".repeat(5 << 20)).as_bytes());
    let cut = gzip(&manifest_of(100));
    for (body, why) in [
        (gzip(&manifest_of(101)), "another digest"),
        (bomb, "more than limits.manifest"),
        (cut[..cut.len() - 3].to_vec(), "cut short"),
    ] {
        let (lab, digest, _) = Fixture::stocked("");
        lab.net.fault("GET", "/manifests/", 9, Fault::Say(other.clone().body(body)));
        let seen = lab.get(&format!("/v2/a/b/manifests/{digest}")).await;
        assert!(seen.is(504, "UNAVAILABLE"), "{why}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_in_another_coding_is_a_failure() {
    for coding in ["br", "zstd", "deflate", "gzip, gzip", "identity, br"] {
        let (lab, digest, _) = Fixture::stocked("");
        let change = move |answer: &mut Answer| *answer = answer.clone().header("content-encoding", coding);
        lab.net.fault("GET", "/manifests/", 9, Fault::change(change));
        for reference in ["v1", &digest] {
            let seen = lab.get(&format!("/v2/a/b/manifests/{reference}")).await;
            assert!(seen.is(504, "UNAVAILABLE"), "{coding}");
            assert_eq!(seen.header("x-registry-proxy"), "failed; why=\"upstream sent coded bytes\"", "{coding}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_coded_list_is_decoded_within_its_limit() {
    let (lab, _, _) = Fixture::stocked("[limits]\nlisting='1KiB'");
    code_all(&lab, "/tags/");
    let seen = lab.get("/v2/a/b/tags/list").await;
    assert_eq!((seen.status.as_u16(), seen.json()["tags"][0].as_str()), (200, Some("v1")));
    let large = gzip(format!("{{\"name\":\"a/b\",\"tags\":[\"{}\"]}}", "x".repeat(2000)).as_bytes());
    lab.net.heal();
    let answer = Answer::new(200).header("content-encoding", "gzip").body(large);
    lab.net.fault("*", "/tags/", 1, Fault::Say(answer));
    assert!(lab.get("/v2/a/b/tags/list").await.is(504, "UNAVAILABLE"));
}

#[tokio::test(start_paused = true)]
async fn a_coded_blob_is_never_decoded() {
    for lab in [Fixture::new(""), Fixture::caching("")] {
        let blob = lab.registry.put_blob("a/b", manifest_of(3000));
        code_all(&lab, "/blobs/");
        assert!(lab.get(&format!("/v2/a/b/blobs/{blob}")).await.is(504, "UNAVAILABLE"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_codes_nothing_is_no_coding() {
    // Object stores give back what an upload's header said (aws/aws-sdk#498, versitygw#2398, rustfs#2009).
    for coding in ["", "identity", "Identity, ", "aws-chunked", "aws-chunked,identity"] {
        for lab in [Fixture::new(""), Fixture::caching("")] {
            let manifest = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(3000));
            let blob = lab.registry.put_blob("a/b", noise(5000));
            let change = move |answer: &mut Answer| *answer = answer.clone().header("content-encoding", coding);
            lab.net.fault("*", "", 99, Fault::change(change));
            for path in [V1.to_owned(), format!("/v2/a/b/manifests/{manifest}"), format!("/v2/a/b/blobs/{blob}")] {
                let (head, seen) = (lab.head(&path).await, lab.get(&path).await);
                assert_eq!(
                    (head.status.as_u16(), seen.status.as_u16()),
                    (200, 200),
                    "{coding:?} {path}: {seen:?}"
                );
                assert_eq!(head.header("content-length"), seen.body.len().to_string(), "{coding:?} {path}");
            }
            assert_eq!(lab.get(&format!("/v2/a/b/blobs/{blob}")).await.body, noise(5000), "{coding:?}");
        }
    }
}
