//! Blobs that come without a `Content-Length`, as a registry behind a compressing or buffering proxy sends them: kept
//! where something else says how long they are.

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{Profile, Store as _};
use registry_proxy_core::testing::{Answer, Fault, NativeBodies, PassingStore};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, Setup, noise};

fn chunk(answer: &mut Answer) {
    answer.length = None;
}

#[tokio::test(start_paused = true)]
async fn a_chunked_blob_is_cached_where_a_head_says_its_length() {
    let lab = Fixture::caching("");
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(5000)));
    lab.net.fault("GET", "/blobs/", 99, Fault::change(chunk));
    let cold = lab.get(&path).await;
    assert_eq!((cold.done(), cold.header("content-length"), &cold.body), ("filled", "5000", &noise(5000)));
    lab.wait(1).await;
    let warm = lab.get(&path).await;
    assert_eq!((warm.done(), &warm.body), ("hit", &noise(5000)));
    assert_eq!((lab.net.sent("GET", "/blobs/").len(), lab.net.sent("HEAD", "/blobs/").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_chunked_blob_is_cached_where_its_manifest_says_its_length() {
    let lab = Fixture::caching("");
    let blob = lab.registry.put_blob("a/b", noise(5000));
    let manifest = format!(r#"{{"config":{{}},"layers":[{{"digest":"{blob}","size":5000}}]}}"#);
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest);
    lab.net.fault("*", "/blobs/", 99, Fault::change(chunk));
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200);
    let path = format!("/v2/a/b/blobs/{blob}");
    let cold = lab.get(&path).await;
    assert_eq!((cold.done(), cold.header("content-length"), &cold.body), ("filled", "5000", &noise(5000)));
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
    assert_eq!(lab.net.sent("*", "/blobs/").len(), 1, "the manifest has said it");
}

#[tokio::test(start_paused = true)]
async fn a_chunked_blob_of_which_nothing_says_its_length_is_passed_on() {
    // A range is answered with the whole.
    let whole = Fault::Say(Answer::new(200).body(noise(5000)).without_length());
    for head in [whole.clone(), Fault::Silence] {
        let lab = Fixture::caching("");
        let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(5000)));
        lab.net.fault("HEAD", "/blobs/", 99, head);
        lab.net.fault("GET", "/blobs/", 99, whole.clone());
        let begun = lab.now();
        let seen = lab.get(&path).await;
        assert_eq!((seen.status.as_u16(), seen.done(), seen.header("content-length")), (200, "relayed", ""));
        assert!(seen.end.is_ok() && seen.body == noise(5000), "{seen:?}");
        assert!(
            lab.now().since(begun) <= Duration::from_secs(2),
            "nobody waits long for what only the cache needs"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunked_blob_is_cached_as_it_passes_where_nothing_is_shared() {
    let store = Arc::new(PassingStore::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start()))));
    let profile = Profile::CloudflareWorkers;
    let setup = Setup { profile, isolated: true, store: Some(store.clone()), ..Setup::default() };
    let mut lab = Fixture::set_up(&setup);
    lab.platform.transport = Arc::new(NativeBodies(lab.net.clone()));
    lab.restart("");
    let digest = lab.registry.put_blob("a/b", noise(5000));
    lab.net.fault("GET", "/blobs/", 99, Fault::change(chunk));
    let seen = lab.get(&format!("/v2/a/b/blobs/{digest}")).await;
    assert_eq!((seen.done(), seen.length, &seen.body), ("filled", Some(5000), &noise(5000)));
    lab.wait(1).await;
    let key = Key::blob(&Digest::parse(&digest).expect("a digest"));
    assert!(store.stat(&key).await.expect("a store").is_some());
}
