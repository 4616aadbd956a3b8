//! What is concluded from what was heard, of whom: pushes, deletions, refusals of HEAD, and registries that claim.

mod claims;
mod heads;
mod lattice;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::name::RepositoryName;
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::{Answer, Fault, Step, sha256};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, REALM, Setup, Trouble, image, noise, troubled, upstream};

const CONTENT: &[u8] = b"{\"architecture\":\"amd64\"}";

fn pushing(cache: &str) -> String {
    format!("{cache}\n{}", upstream("push=true"))
}

/// With nothing kept, and with a cache in memory.
fn labs(text: &str) -> [(&'static str, Fixture); 2] {
    [("none", Fixture::new(text)), ("memory", Fixture::caching(text))]
}

/// Uploads a blob as docker does: in one PATCH and a PUT.
async fn upload(lab: &Fixture, content: &'static [u8]) -> String {
    let digest = sha256(content);
    let begun = lab.post("/v2/a/b/blobs/uploads/").await;
    let sent = lab.patch(begun.header("location")).streamed(content).await;
    let seen = lab.put(&format!("{}&digest={digest}", sent.header("location"))).await;
    assert_eq!(seen.status, 201, "{seen:?}");
    digest
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_was_just_pushed_is_there_whatever_was_heard_before() {
    for (store, lab) in labs(&pushing("")) {
        let path = format!("/v2/a/b/blobs/{}", sha256(CONTENT));
        assert_eq!(lab.head(&path).await.status, 404, "{store}: docker looks first");
        assert_eq!(lab.get(&path).await.status, 404, "{store}");
        upload(&lab, CONTENT).await;
        assert_eq!(lab.head(&path).await.status, 200, "{store}: and looks again");
        assert_eq!(lab.get(&path).await.body, CONTENT, "{store}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_was_pushed_at_once_or_mounted_is_there() {
    for (store, lab) in labs(&pushing("")) {
        let (pushed, mounted) = (sha256(CONTENT), lab.registry.put_blob("c/d", noise(3000)));
        let paths = [&pushed, &mounted].map(|digest| format!("/v2/a/b/blobs/{digest}"));
        for path in &paths {
            assert_eq!((lab.head(path).await.status.as_u16(), lab.get(path).await.status.as_u16()), (404, 404));
        }
        let seen = lab.post(&format!("/v2/a/b/blobs/uploads/?digest={pushed}")).body(CONTENT).await;
        assert_eq!(seen.status, 201, "{store}");
        let seen = lab.post(&format!("/v2/a/b/blobs/uploads/?mount={mounted}&from=c/d")).await;
        assert_eq!(seen.status, 201, "{store}");
        for path in &paths {
            assert_eq!((lab.head(path).await.status.as_u16(), lab.get(path).await.status.as_u16()), (200, 200));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_404_that_was_on_its_way_during_a_push_is_not_remembered_behind_it() {
    let lab = Fixture::caching(&pushing(""));
    let path = format!("/v2/a/b/blobs/{}", sha256(CONTENT));
    let missing = Answer::new(404).body(r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#);
    lab.net.fault("GET", "/blobs/", 1, Fault::SayLate(Duration::from_secs(2), missing));
    let pushes = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        upload(&lab, CONTENT).await;
    };
    let (seen, ()) = tokio::join!(async { lab.get(&path).await }, pushes);
    assert_eq!(seen.status, 404);
    assert_eq!(lab.get(&path).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn where_pushes_pass_a_head_is_asked_and_answered_from_the_cache_in_an_outage() {
    let mut lab = Fixture::caching(&pushing(""));
    let digest = lab.registry.put_blob("a/b", noise(3000));
    let path = format!("/v2/a/b/blobs/{digest}");
    lab.get(&path).await;
    lab.net.forget();
    assert_eq!((lab.head(&path).await.done(), lab.net.sent("HEAD", "/blobs/").len()), ("relayed", 1));
    // A mirror by `ns` takes no pushes: nobody means them to it.
    assert_eq!(lab.head(&format!("{path}?ns=reg.example")).await.done(), "hit");
    lab.net.fault("HEAD", "/blobs/", 1000, Fault::Refuse);
    let seen = lab.head(&path).await;
    assert_eq!((seen.status.as_u16(), seen.done(), seen.header("content-length")), (200, "hit", "3000"));
    lab.restart(&pushing("[cache]\noffline=true"));
    assert_eq!(lab.head(&path).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_blob_is_gone() {
    for (store, lab) in labs(&pushing("")) {
        let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(3000)));
        assert_eq!(lab.get(&path).await.status, 200, "{store}");
        assert_eq!(lab.delete(&path).await.status, 202, "{store}");
        for seen in
            [lab.get(&path).await, lab.head(&path).await, lab.get(&path).header("range", "bytes=0-9").await]
        {
            assert_eq!(seen.status, 404, "{store}: {seen:?}");
        }
        // Something deleted can be pushed again.
        lab.registry.put_blob("a/b", noise(3000));
        assert_eq!(lab.head(&path).await.status, 200, "{store}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_deleted_by_digest_is_gone_by_tag_too() {
    for rule in ["", "[cache]\ntags=[{match='**',revalidate='never'}]"] {
        for (store, mut lab) in labs(&pushing(rule)) {
            let (digest, _) = image(&lab, "a/b", "old");
            let by_digest = format!("/v2/a/b/manifests/{digest}");
            let v1 = "/v2/a/b/manifests/v1";
            assert_eq!(lab.get(v1).await.status, 200, "{store}");
            assert_eq!(lab.get(&by_digest).await.status, 200, "{store}");
            assert_eq!(lab.delete(&by_digest).await.status, 202, "{store}");
            for path in [v1, &by_digest] {
                assert_eq!(lab.head(path).await.status, 404, "{store}");
                assert_eq!(lab.get(path).await.status, 404, "{store}");
            }
            lab.wait(5).await;
            lab.restart(&pushing(rule));
            assert_eq!(lab.get(v1).await.status, 404, "{store}: after a restart");
            // In an outage neither: it was deleted, not lost.
            lab.net.fault("GET", "/manifests/", 1000, Fault::Refuse);
            lab.net.fault("HEAD", "/manifests/", 1000, Fault::Refuse);
            assert_ne!(lab.get(v1).await.status, 200, "{store}: in an outage");
        }
    }
}

/// The link is still being written when the image is deleted.
#[tokio::test(start_paused = true)]
async fn a_link_that_is_being_written_does_not_come_back_behind_a_deletion() {
    for (slow, pause) in [("v1/links/", 0), ("v1/links/", 1), ("v1/manifests/", 1)] {
        let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
        let rule = move |step: Step, key: &str| {
            (step == Step::Write && key.starts_with(slow)).then_some(Trouble::Takes(Duration::from_secs(2)))
        };
        let text = pushing("");
        let store = Some(troubled(&memory, rule) as Arc<dyn Store>);
        let mut lab = Fixture::set_up(&Setup { text: &text, store, ..Setup::default() });
        let (digest, layer) = image(&lab, "a/b", "old");
        let paths = [format!("/v2/a/b/manifests/{digest}"), format!("/v2/a/b/blobs/{layer}")];
        for path in &paths {
            assert_eq!(lab.get(path).await.status, 200);
        }
        lab.wait(pause).await;
        for path in &paths {
            assert_eq!(lab.delete(path).await.status, 202);
        }
        lab.wait(20).await;
        for digest in [&digest, &layer] {
            let digest = Digest::parse(digest).unwrap();
            let link = Key::link("reg.example", &RepositoryName::parse("a/b").unwrap(), &digest);
            assert_eq!(memory.read(&link).await.unwrap(), None, "{slow} after {pause} s: {link}");
        }
        lab.restart(&text);
        for path in &paths {
            assert_eq!(lab.get(path).await.status, 404, "{slow} after {pause} s: {path}");
        }
    }
}

/// The link lands in the store behind the deletion, and is taken back only a while later.
#[tokio::test(start_paused = true)]
async fn a_link_that_lands_behind_a_deletion_is_believed_by_nobody() {
    for number in [0, 1] {
        let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
        // Written from 0 to 4 s, deleted from 1 to 3 s, and taken back from 4 to 6 s.
        let rule = |step: Step, key: &str| match step {
            Step::Write if key.starts_with("v1/links/") => Some(Trouble::Takes(Duration::from_secs(4))),
            Step::Remove if key.starts_with("v1/links/") => Some(Trouble::Takes(Duration::from_secs(2))),
            _ => None,
        };
        let text = pushing("");
        let store = Some(troubled(&memory, rule) as Arc<dyn Store>);
        let lab = Fixture::set_up(&Setup { text: &text, store, ..Setup::default() });
        let (digest, layer) = image(&lab, "a/b", "old");
        let (path, digest) = match number {
            0 => (format!("/v2/a/b/manifests/{digest}"), digest),
            _ => (format!("/v2/a/b/blobs/{layer}"), layer),
        };
        assert_eq!(lab.get(&path).await.status, 200);
        lab.wait(1).await;
        assert_eq!(lab.delete(&path).await.status, 202);
        lab.wait(2).await;
        let digest = Digest::parse(&digest).unwrap();
        let link = Key::link("reg.example", &RepositoryName::parse("a/b").unwrap(), &digest);
        assert!(memory.read(&link).await.unwrap().is_some(), "it is there for now");
        assert_eq!(lab.get(&path).await.status, 404, "{path}");
        lab.wait(20).await;
        assert_eq!(memory.read(&link).await.unwrap(), None);
        assert_eq!(lab.get(&path).await.status, 404, "{path}, later");
    }
}

/// public.ecr.aws answers 401 to a HEAD of a blob, Harbor's proxy cache 404 until it has it.
#[tokio::test(start_paused = true)]
async fn a_refused_head_proves_nothing_to_a_get() {
    for status in [401, 403, 404] {
        for (store, lab) in labs("[clients]\nauth='upstream'") {
            let (digest, layer) = image(&lab, "a/b", "1");
            let nobody = lab.anonymous().await;
            lab.net.fault("HEAD", "/v2/a/b/", 1000, Fault::Say(Answer::new(status).body("{}")));
            let paths = [
                "/v2/a/b/manifests/v1",
                &format!("/v2/a/b/manifests/{digest}"),
                &format!("/v2/a/b/blobs/{layer}"),
            ];
            for minute in 0..3 {
                for path in paths {
                    let seen = lab.get(path).bearer(&nobody).await;
                    assert_eq!(seen.status, 200, "{status}, {store}, minute {minute}: {path}");
                }
                // Grants and tags have had their time.
                lab.wait(61).await;
            }
            // What a HEAD is told answers no GET.
            for path in paths {
                lab.head(path).bearer(&nobody).await;
                assert_eq!(lab.get(path).bearer(&nobody).await.status, 200, "{status}, {store}: {path}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_head_does_not_know_is_asked_for_by_get() {
    let lab = Fixture::caching("");
    image(&lab, "a/b", "1");
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200);
    lab.wait(60).await;
    lab.net.fault("HEAD", "/manifests/", 1, Fault::Say(Answer::new(404).body("{}")));
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200);
}

/// The registry is left alone after its silence, and its token server says no before it can be asked again.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_where_nothing_more_can_be_asked() {
    let lab = Fixture::caching("[cache]\ntag_ttl='60s'\nstale_if_error='1h'").with_tokens();
    let (_, layer) = image(&lab, "a/b", "1");
    let v1 = "/v2/a/b/manifests/v1";
    for path in [v1, &format!("/v2/a/b/blobs/{layer}")] {
        assert_eq!(lab.get(path).await.status, 200);
    }
    lab.wait(61).await;
    lab.net.fault("HEAD", "/manifests/", 99, Fault::Say(Answer::new(503)));
    assert_eq!(lab.get(v1).await.done(), "stale");
    lab.wait(1).await;
    lab.net.heal();
    lab.net.fault("HEAD", "/manifests/", 99, Fault::Silence);
    assert_eq!(lab.get(v1).await.done(), "stale");
    lab.wait(400).await;
    lab.net.heal();
    lab.registry.revoke_tokens();
    lab.net.fault("*", REALM, 99, Fault::Say(Answer::new(401)));
    let seen = lab.get(v1).await;
    assert_eq!((seen.status.as_u16(), seen.done()), (403, "refused"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_browser_is_given_no_page_by_a_registry() {
    let lab = Fixture::caching("");
    let svg = br#"{"mediaType":"image/svg+xml","layers":[]}"#;
    lab.registry.put_manifest("a/b", "svg", "image/svg+xml", &svg[..]);
    assert_eq!(lab.get("/v2/a/b/manifests/svg").await.status, 504);
    let layer = lab.registry.put_blob("a/b", Bytes::from_static(b"<html>"));
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, r#"{"layers":[]}"#);
    for path in ["/v2/a/b/manifests/v1", &format!("/v2/a/b/blobs/{layer}")] {
        for seen in [lab.get(path).await, lab.head(path).await] {
            assert_eq!(seen.header("x-content-type-options"), "nosniff", "{path}");
        }
    }
}
