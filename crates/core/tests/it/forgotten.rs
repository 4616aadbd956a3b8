//! What was pushed or deleted through us is forgotten whatever comes between: a client that leaves, an answer that is late,
//! a store that does not remove it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::name::RepositoryName;
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::{Answer, Fault, Step};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, ORIGIN, Setup, Trouble, image, manifest_of, troubled, upstream};

const V1: &str = "/v2/a/b/manifests/v1";
const V2: &str = "/v2/a/b/manifests/v2";

/// Nothing is asked again by itself.
fn pinned() -> String {
    let cache = "[cache]\nnegative_ttl='1h'\nlisting_ttl='1h'\ntags=[{match='**',revalidate='never'}]";
    format!("{cache}\n{}", upstream("push=true"))
}

fn name() -> RepositoryName {
    RepositoryName::parse("a/b").expect("a name")
}

/// How a client misses the answer to a write.
#[derive(Debug, Clone, Copy)]
enum Missed {
    /// It leaves before it.
    Left,
    /// It comes later than any client is let wait.
    Late,
    /// The connection breaks, perhaps behind the request.
    Broke,
}

impl Missed {
    const ALL: [Self; 3] = [Self::Left, Self::Late, Self::Broke];

    fn fault(self) -> Fault {
        match self {
            Self::Left => Fault::Late(Duration::from_secs(3)),
            Self::Late => Fault::Silence,
            Self::Broke => Fault::Drop,
        }
    }

    /// Sends a write, of which the registry's answer does not arrive.
    async fn send(self, lab: &Fixture, method: &'static str, call: crate::fixture::Call) {
        lab.net.fault(method, ORIGIN, 1, self.fault());
        let sent = tokio::time::timeout(Duration::from_secs(1), call.into_future());
        match self {
            Self::Left => assert!(sent.await.is_err(), "it left"),
            Self::Late => {
                assert_eq!(sent.into_inner().await.status, 504);
                // The registry is left alone for a while.
                lab.wait(60).await;
            }
            Self::Broke => assert_eq!(sent.await.expect("at once").status, 504),
        }
        lab.net.heal();
    }
}

/// With `a/b:v1` in the cache: its digest and its layer's.
async fn stocked(text: &str) -> (Fixture, String, String) {
    let lab = Fixture::caching(text);
    let (digest, layer) = image(&lab, "a/b", "old");
    for path in [V1.to_owned(), format!("/v2/a/b/manifests/{digest}"), format!("/v2/a/b/blobs/{layer}")] {
        assert_eq!(lab.get(&path).await.status, 200);
        assert_eq!(lab.get(&path).await.done(), "hit");
    }
    (lab, digest, layer)
}

#[tokio::test(start_paused = true)]
async fn who_deletes_and_misses_the_answer_has_deleted_all_the_same() {
    for missed in Missed::ALL {
        let (lab, digest, layer) = stocked(&pinned()).await;
        let (by_digest, blob) = (format!("/v2/a/b/manifests/{digest}"), format!("/v2/a/b/blobs/{layer}"));
        for path in [&by_digest, &blob] {
            missed.send(&lab, "DELETE", lab.delete(path)).await;
        }
        // The registry has carried it out.
        lab.net.fault("*", "/v2/a/b/", 99, Fault::Say(Answer::new(404)));
        for path in [V1, &by_digest, &blob] {
            assert_eq!(lab.get(path).await.status, 404, "{missed:?}: {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_pushes_several_tags_and_misses_the_answer_has_pushed_them_all() {
    for missed in Missed::ALL {
        let (lab, _, _) = stocked(&pinned()).await;
        lab.registry.put_manifest("a/b", "v2", OCI_MANIFEST, manifest_of(10));
        assert_eq!(lab.get(V2).await.status, 200);
        assert_eq!(lab.get(V2).await.done(), "hit");
        let new = manifest_of(33);
        let digest = Digest::sha256(&new);
        let path = format!("/v2/a/b/manifests/{digest}?tag=v1&tag=v2");
        let push = lab.put(&path).header("content-type", OCI_MANIFEST).body(new.clone());
        missed.send(&lab, "PUT", push).await;
        for tag in ["v1", "v2"] {
            lab.registry.put_manifest("a/b", tag, OCI_MANIFEST, new.clone());
        }
        for path in [V1, V2] {
            assert_eq!(lab.get(path).await.body, new, "{missed:?}: {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_uploads_a_blob_and_misses_the_answer_finds_it() {
    for missed in Missed::ALL {
        let lab = Fixture::caching(&pinned());
        let blob = manifest_of(33);
        let digest = Digest::sha256(&blob);
        let path = format!("/v2/a/b/blobs/{digest}");
        assert_eq!(lab.get(&path).await.status, 404);
        let push = lab.post(&format!("/v2/a/b/blobs/uploads/?digest={digest}")).body(blob.clone());
        missed.send(&lab, "POST", push).await;
        lab.registry.put_blob("a/b", blob.clone());
        assert_eq!(lab.get(&path).await.body, blob, "{missed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_registry_refuses_to_delete_stays() {
    for answer in [Answer::new(403), Answer::new(404), Answer::new(405), Answer::new(429)] {
        let (lab, digest, _) = stocked(&pinned()).await;
        let status = answer.status;
        lab.net.fault("DELETE", "", 9, Fault::Say(answer));
        for path in [V1, &format!("/v2/a/b/manifests/{digest}")] {
            assert!(lab.delete(path).await.status.is_client_error(), "{status}");
            assert_eq!(lab.get(path).await.done(), "hit", "{status}: {path}");
        }
    }
    let (lab, _, _) = stocked(&pinned()).await;
    lab.net.fault("DELETE", "", 9, Fault::Refuse);
    assert_eq!(lab.delete(V1).await.status, 504);
    assert_eq!(lab.get(V1).await.done(), "hit", "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_asked_before_a_push_is_not_cached_after_it() {
    let (lab, _, _) = stocked(&pinned()).await;
    let old = Answer::new(200).body(r#"{"name":"a/b","tags":["v1"]}"#);
    lab.net.fault("GET", "/tags/", 1, Fault::SayLate(Duration::from_secs(2), old));
    let pushes = async {
        lab.wait(1).await;
        lab.registry.put_manifest("a/b", "v2", OCI_MANIFEST, manifest_of(10));
        let push = lab.put(V2).header("content-type", OCI_MANIFEST).body(manifest_of(10));
        assert_eq!(push.await.status, 201);
    };
    let list = async { lab.get("/v2/a/b/tags/list").await };
    tokio::join!(list, pushes);
    assert_eq!(lab.get("/v2/a/b/tags/list").await.json()["tags"], serde_json::json!(["v1", "v2"]));
}

/// A store that fails so at removals and writes of records while it is told to.
fn failing(memory: &MemoryStore, is_down: &Arc<AtomicBool>, fails: fn() -> Trouble) -> Arc<dyn Store> {
    let is_down = Arc::clone(is_down);
    troubled(memory, move |step, _| {
        let is_change = matches!(step, Step::Remove | Step::Write);
        (is_change && is_down.load(Ordering::Relaxed)).then(fails)
    })
}

const FAILURES: [fn() -> Trouble; 3] =
    [|| Trouble::Fails, || Trouble::Denied, || Trouble::Takes(Duration::from_mins(1))];

#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_remove_is_believed_by_nobody_and_removed_later() {
    for (number, fails) in FAILURES.into_iter().enumerate() {
        let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
        let is_down = Arc::new(AtomicBool::new(false));
        let store = Some(failing(&memory, &is_down, fails));
        let mut lab = Fixture::set_up(&Setup { text: &pinned(), store, ..Setup::default() });
        let (digest, layer) = image(&lab, "a/b", "old");
        let paths = [format!("/v2/a/b/manifests/{digest}"), format!("/v2/a/b/blobs/{layer}"), V1.to_owned()];
        for path in &paths {
            assert_eq!(lab.get(path).await.status, 200);
        }
        lab.wait(20).await;
        lab.restart(&pinned());
        is_down.store(true, Ordering::Relaxed);
        for path in &paths[..2] {
            assert_eq!(lab.delete(path).await.status, 202, "{number}");
        }
        lab.net.fault("*", "/v2/a/b/", 999, Fault::Say(Answer::new(404)));
        let keys = [&digest, &layer].map(|digest| {
            let digest = Digest::parse(digest).expect("a digest");
            Key::link("reg.example", &name(), &digest)
        });
        for seconds in [0, 6, 60] {
            lab.wait(seconds).await;
            for path in &paths {
                assert_eq!(lab.get(path).await.status, 404, "{number}, {seconds} s later: {path}");
            }
        }
        for key in &keys {
            assert!(memory.read(key).await.expect("memory").is_some(), "{number}: it is there, {key}");
        }
        is_down.store(false, Ordering::Relaxed);
        lab.wait(700).await;
        for key in &keys {
            assert_eq!(memory.read(key).await.expect("memory"), None, "{number}: {key}");
        }
        lab.restart(&pinned());
        for path in &paths {
            assert_eq!(lab.get(path).await.status, 404, "{number}, after a restart: {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_the_store_does_not_remove_is_asked_and_cached_anew() {
    for (number, fails) in FAILURES.into_iter().enumerate() {
        let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
        let is_down = Arc::new(AtomicBool::new(false));
        let store = Some(failing(&memory, &is_down, fails));
        let mut lab = Fixture::set_up(&Setup { text: &pinned(), store, ..Setup::default() });
        image(&lab, "a/b", "old");
        assert_eq!(lab.get(V1).await.status, 200);
        lab.wait(20).await;
        lab.restart(&pinned());
        is_down.store(true, Ordering::Relaxed);
        let new = manifest_of(33);
        lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, new.clone());
        let seen = lab.put(V1).header("content-type", OCI_MANIFEST).body(new.clone()).await;
        assert_eq!(seen.status, 201, "{number}");
        lab.wait(6).await;
        assert_eq!(lab.get(V1).await.body, new, "{number}: the store is asked again");
        is_down.store(false, Ordering::Relaxed);
        lab.wait(700).await;
        assert_eq!(lab.get(V1).await.body, new, "{number}");
        lab.restart(&pinned());
        assert_eq!(lab.get(V1).await.body, new, "{number}: after a restart");
        lab.wait(20).await;
        assert_eq!(lab.get(V1).await.done(), "hit", "{number}: it is kept again");
        let key = Key::tag("reg.example", &name(), "v1");
        let record = memory.read(&key).await.expect("memory").expect("a record");
        assert!(String::from_utf8_lossy(&record).contains(Digest::sha256(&new).as_str()), "{number}");
    }
}
