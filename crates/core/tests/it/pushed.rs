//! What is pushed through us is what is served from then on, whatever is known or being asked at that moment.

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::name::RepositoryName;
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::{Answer, Fault, Step};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_INDEX, OCI_MANIFEST, Setup, Trouble, image, manifest_of, troubled, upstream};

const V1: &str = "/v2/a/b/manifests/v1";

fn tag() -> Key {
    Key::tag("reg.example", &RepositoryName::parse("a/b").expect("a name"), "v1")
}

fn memory() -> MemoryStore {
    MemoryStore::new(1 << 30, Arc::new(TokioClock::start()))
}

/// With `a/b:v1` in the store, where this goes wrong, and not in memory.
async fn kept(
    memory: &MemoryStore,
    rule: impl Fn(Step, &str) -> Option<Trouble> + Send + Sync + 'static,
) -> Fixture {
    let text = upstream("push=true");
    let store = Some(troubled(memory, rule) as Arc<dyn Store>);
    let mut lab = Fixture::set_up(&Setup { text: &text, store, ..Setup::default() });
    image(&lab, "a/b", "old");
    lab.get(V1).await;
    lab.wait(20).await;
    assert!(memory.read(&tag()).await.expect("memory").is_some());
    lab.restart(&text);
    lab
}

/// Takes two seconds to remove a tag.
fn removes_slowly(step: Step, key: &str) -> Option<Trouble> {
    (step == Step::Remove && key == tag().as_str()).then_some(Trouble::Takes(Duration::from_secs(2)))
}

/// The new manifest, pushed; the upstream has it.
async fn push(lab: &Fixture) -> bytes::Bytes {
    let new = manifest_of(33);
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, new.clone());
    let seen = lab.put(V1).header("content-type", OCI_MANIFEST).body(new.clone()).await;
    assert_eq!(seen.status, 201, "{seen:?}");
    new
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_through_us_is_seen_at_once() {
    let lab = Fixture::caching(&upstream("push=true"));
    image(&lab, "a/b", "old");
    lab.get(V1).await;
    let new = push(&lab).await;
    assert_eq!(lab.get(V1).await.body, new);
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_while_the_store_forgets_the_old_brings_it_back_for_nobody() {
    let memory = memory();
    let lab = kept(&memory, removes_slowly).await;
    let poll = async {
        for _ in 0..30 {
            lab.get(V1).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (new, ()) = tokio::join!(push(&lab), poll);
    assert_eq!(lab.get(V1).await.body, new);
    lab.wait(20).await;
    assert_eq!(lab.get(V1).await.body, new);
}

#[tokio::test(start_paused = true)]
async fn who_pushes_and_leaves_has_pushed_all_the_same() {
    let memory = memory();
    let mut lab = kept(&memory, removes_slowly).await;
    let left = tokio::time::timeout(Duration::from_secs(1), push(&lab)).await;
    assert!(left.is_err(), "it left before the store had forgotten");
    lab.wait(20).await;
    assert_eq!(memory.read(&tag()).await.unwrap(), None);
    lab.restart(&upstream("push=true"));
    assert_eq!(lab.get(V1).await.body, manifest_of(33));
}

#[tokio::test(start_paused = true)]
async fn a_note_that_cannot_be_written_keeps_no_push_behind_it_from_the_store() {
    let memory = memory();
    // The first manifest takes two seconds, the second cannot be written.
    let writes = std::sync::atomic::AtomicUsize::new(0);
    let rule = move |step: Step, key: &str| {
        let is_manifest = step == Step::Write && key.starts_with("v1/manifests/");
        let count = is_manifest.then(|| writes.fetch_add(1, std::sync::atomic::Ordering::Relaxed))?;
        [None, Some(Trouble::Takes(Duration::from_secs(2))), Some(Trouble::Denied)].into_iter().nth(count)?
    };
    let lab = kept(&memory, rule).await;
    for text in ["one", "two"] {
        image(&lab, "a/b", text);
        lab.get(V1).header("cache-control", "no-cache").await;
    }
    push(&lab).await;
    lab.wait(20).await;
    assert_eq!(memory.read(&tag()).await.unwrap(), None, "one, two, and then nothing");
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_a_push_is_not_cached_after_it() {
    for method in ["HEAD", "GET"] {
        let memory = memory();
        let lab = kept(&memory, |_, _| None).await;
        if method == "GET" {
            memory.remove(&tag()).await.unwrap();
        }
        lab.wait(60).await;
        // As the registry knew it before.
        let before = Fixture::caching("");
        let (old, _) = image(&before, "a/b", "old");
        let answer = Answer::new(200)
            .header("content-type", OCI_MANIFEST)
            .header("docker-content-digest", &old)
            .body(before.get(V1).await.body);
        lab.net.fault(method, "/manifests/", 1, Fault::SayLate(Duration::from_secs(3), answer));
        let asks = async { lab.get(V1).await };
        let pushes = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let new = push(&lab).await;
            assert_eq!(lab.get(V1).await.body, new, "{method}: it does not wait for the old answer");
            new
        };
        let (seen, new) = tokio::join!(asks, pushes);
        assert_eq!(seen.status, 200);
        assert_eq!(lab.get(V1).await.body, new, "{method}");
        lab.wait(5).await;
        assert_ne!(lab.get(V1).await.header("docker-content-digest"), old, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_does_not_come_back_through_another_tags_index() {
    let lab = Fixture::caching(&upstream("push=true"));
    let child = lab.registry.put_manifest("a/b", "child", OCI_MANIFEST, manifest_of(50));
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{child}"}}]}}"#);
    for tag in ["one", "two"] {
        lab.registry.put_manifest("a/b", tag, OCI_INDEX, index.clone());
    }
    let path = format!("/v2/a/b/manifests/{child}");
    for path in ["/v2/a/b/manifests/one", path.as_str()] {
        assert_eq!(lab.get(path).await.status, 200, "{path}");
    }
    assert_eq!(lab.delete(&path).await.status, 202);
    assert_eq!(lab.get(&path).await.status, 404);
    assert_eq!(lab.get("/v2/a/b/manifests/two").await.status, 200);
    lab.wait(30).await;
    assert_eq!(lab.get(&path).await.status, 404, "an index that names it has been read since");
    lab.registry.put_manifest("a/b", "child", OCI_MANIFEST, manifest_of(50));
    lab.wait(30).await;
    assert_eq!(lab.get(&path).await.status, 200, "the registry has it again");
}

#[tokio::test(start_paused = true)]
async fn a_get_that_asks_on_a_condition_is_no_pushers_question() {
    let lab = Fixture::caching(&upstream("push=true"));
    let (_, layer) = image(&lab, "a/b", "old");
    let path = format!("/v2/a/b/blobs/{layer}");
    lab.get(&path).await;
    lab.wait(1).await;
    lab.net.forget();
    let seen = lab.get(&path).header("if-none-match", &format!("\"{layer}\"")).await;
    assert_eq!((seen.status.as_u16(), seen.done()), (304, "hit"));
    assert_eq!(lab.net.lines(), Vec::<String>::new(), "it is here");
    assert_eq!(lab.head(&path).await.status, 200);
    assert_eq!(lab.net.lines().len(), 1, "a pusher asks by HEAD whether it has arrived");
}
