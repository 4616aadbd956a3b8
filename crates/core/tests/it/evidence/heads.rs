//! What a registry says to HEAD, held against what it gives to GET (P-146).

use registry_proxy_core::testing::{Answer, Fault, sha256};

use super::labs;
use crate::fixture::{Fixture, image, manifest_of, noise};

const BY_LOGIN: &str = "[clients]\nauth='upstream'";

/// The registry refuses every HEAD from now on.
fn refuse_heads(lab: &Fixture, status: u16) {
    lab.net.fault("HEAD", "/v2/", usize::MAX, Fault::Say(Answer::new(status).body("{}")));
}

/// registry:2 as a cache in front asks HEAD of every blob before it fetches it, and docker HEAD of every tag.
#[tokio::test(start_paused = true)]
async fn a_head_that_the_registry_refuses_is_answered_by_what_it_gives_to_a_get() {
    for status in [401, 403, 404] {
        for (store, lab) in labs(BY_LOGIN) {
            let (digest, layer) = image(&lab, "a/b", "1");
            refuse_heads(&lab, status);
            let nobody = lab.anonymous().await;
            for (path, digest) in [
                (format!("/v2/a/b/blobs/{layer}"), &layer),
                ("/v2/a/b/manifests/v1".to_owned(), &digest),
                (format!("/v2/a/b/manifests/{digest}"), &digest),
            ] {
                let seen = lab.head(&path).bearer(&nobody).await;
                let got = lab.get(&path).bearer(&nobody).await;
                let why = format!("{status}, {store}: {path}: {seen:?}");
                assert_eq!(
                    (seen.status.as_u16(), seen.header("docker-content-digest")),
                    (200, &**digest),
                    "{why}"
                );
                assert_eq!(seen.header("content-length"), got.body.len().to_string(), "{why}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_of_what_is_not_there_is_404_once_a_get_has_said_so_too() {
    for (store, lab) in labs("") {
        for path in [format!("/v2/a/b/blobs/{}", sha256(b"missing")), "/v2/a/b/manifests/missing".to_owned()] {
            lab.net.forget();
            assert_eq!(lab.head(&path).await.status, 404, "{store}: {path}");
            let methods: Vec<_> = lab.net.log().iter().map(|sent| sent.method.to_string()).collect();
            assert_eq!(methods, ["HEAD", "GET"], "{store}: {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_head_takes_nobodys_leave_to_read_what_is_here() {
    for (refused, others) in [(401, 503), (403, 503), (401, 429)] {
        let lab = Fixture::caching(BY_LOGIN);
        let (digest, layer) = image(&lab, "a/b", "1");
        let nobody = lab.anonymous().await;
        let kept = [format!("/v2/a/b/blobs/{layer}"), format!("/v2/a/b/manifests/{digest}")];
        for path in &kept {
            assert_eq!(lab.get(path).bearer(&nobody).await.status, 200);
        }
        let other = lab.registry.put_blob("a/b", noise(3000));
        lab.registry.put_manifest("a/b", "v2", crate::fixture::OCI_MANIFEST, manifest_of(10));
        refuse_heads(&lab, refused);
        lab.net.fault("GET", "/v2/", usize::MAX, Fault::Say(Answer::new(others).header("retry-after", "30")));
        for path in [format!("/v2/a/b/blobs/{other}"), "/v2/a/b/manifests/v2".to_owned()] {
            let seen = lab.head(&path).bearer(&nobody).await;
            assert!(matches!(seen.status.as_u16(), 429 | 504), "{refused}, {others}: {path}: {seen:?}");
            for path in &kept {
                let seen = lab.get(path).bearer(&nobody).await;
                assert_eq!((seen.status.as_u16(), seen.done()), (200, "hit"), "{refused}, {others}: {path}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_refuses_every_head_is_asked_by_get_at_once_for_ten_minutes() {
    for (store, lab) in labs("") {
        refuse_heads(&lab, 401);
        let (mut blobs, mut manifests) = (Vec::new(), Vec::new());
        for number in 0..5 {
            blobs.push(format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(3000 + number))));
            let tag = format!("v{number}");
            lab.registry.put_manifest("a/b", &tag, crate::fixture::OCI_MANIFEST, manifest_of(number));
            manifests.push(format!("/v2/a/b/manifests/{tag}"));
        }
        for paths in [&blobs, &manifests] {
            let heads = || lab.net.sent("HEAD", "/v2/").len();
            lab.net.forget();
            for path in &paths[..4] {
                assert_eq!(lab.head(path).await.status, 200, "{store}: {path}");
            }
            assert_eq!(heads(), 3, "{store}: three were enough: {:?}", lab.net.lines());
            lab.wait(599).await;
            assert_eq!((lab.head(&paths[4]).await.status.as_u16(), heads()), (200, 3), "{store}");
        }
        lab.wait(601).await;
        lab.net.forget();
        let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(9000)));
        assert_eq!(lab.head(&path).await.status, 200);
        assert_eq!(lab.net.sent("HEAD", "/v2/").len(), 1, "{store}: perhaps it has learned");
    }
}
