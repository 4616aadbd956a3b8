//! What lies in a bucket and is not what it should be: nobody is served from it twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use registry_proxy_core::admin::{CacheAdmin, Command, Event};
use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::Step;

use super::{V1, memory};
use crate::fixture::{Fixture, OCI_MANIFEST, Setup, Trouble, TroubledStore, noise, troubled};

/// A bucket that breaks off while it is told to, a proxy that keeps its content there, and a blob that it has.
struct Lab {
    memory: MemoryStore,
    breaks: Arc<AtomicBool>,
    store: Arc<TroubledStore>,
    proxy: Fixture,
    key: Key,
    path: String,
}

/// Bytes of the blob: several pieces.
const BLOB: usize = 300_000;

async fn lab() -> Lab {
    let memory = memory().linking("https://store.test".parse().expect("an address"));
    let breaks = Arc::<AtomicBool>::default();
    let is_broken = Arc::clone(&breaks);
    let store = troubled(&memory, move |step, _| {
        let is_opened = matches!(step, Step::OpenWhole | Step::OpenPart);
        (is_opened && is_broken.load(Ordering::Relaxed)).then_some(Trouble::Breaks)
    });
    let proxy = Fixture::set_up(&Setup { text: "", store: Some(store.clone()), ..Setup::default() });
    let layer = proxy.registry.put_blob("a/b", noise(BLOB));
    let manifest = format!(r#"{{"layers":[{{"digest":"{layer}","size":{BLOB}}}]}}"#);
    proxy.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest);
    let (key, path) = (Key::blob(&Digest::parse(&layer).expect("a digest")), format!("/v2/a/b/blobs/{layer}"));
    proxy.get(V1).await;
    assert_eq!(proxy.get(&path).await.done(), "filled");
    proxy.wait(1).await;
    Lab { memory, breaks, store, proxy, key, path }
}

impl Lab {
    /// Something else in the blob's place.
    async fn replace(&self, bytes: Bytes) {
        let length = bytes.len() as u64;
        self.memory.remove(&self.key).await.expect("it is removed");
        let draft = self.memory.draft(&self.key, Some(length)).await.expect("a draft");
        if length > 0 {
            draft.write_at(0, bytes).await.expect("it is written");
        }
        draft.commit(length).await.expect("it is committed");
    }

    /// How many blobs `cache verify` finds wrong, and how many it cannot read.
    async fn verify(&self, store: &Arc<TroubledStore>) -> (u64, u64) {
        let admin = CacheAdmin::of_store(Arc::clone(store) as Arc<dyn Store>, self.proxy.platform.clock.clone());
        let told = std::sync::Mutex::new(Vec::new());
        admin
            .run(&Command::Verify, &|event| told.lock().expect("nobody panicked").push(event))
            .await
            .expect("it goes to its end");
        let Some(Event::Verified(verified)) = told.into_inner().expect("nobody panicked").pop() else { panic!() };
        (verified.wrong, verified.unread)
    }

    async fn stored(&self) -> Bytes {
        let found = self.memory.open(&self.key, None).await.expect("an answer").expect("a blob");
        found.body.collect(u64::MAX).await.expect("all of it")
    }

    /// After this many answers at most everybody has the right bytes, and the bucket has them again.
    async fn heals(&self, cut_off: usize, what: &str) {
        for _ in 0..cut_off {
            let seen = self.proxy.get(&self.path).await;
            assert!(seen.end.is_err(), "{what}: a short end is never taken for a whole: {seen:?}");
        }
        let seen = self.proxy.get(&self.path).await;
        assert!(seen.end.is_ok() && seen.body == noise(BLOB), "{what}: {seen:?}");
        self.proxy.wait(1).await;
        let seen = self.proxy.get(&self.path).await;
        assert_eq!((seen.done(), seen.body.len()), ("hit", BLOB), "{what}");
        assert!(self.stored().await == noise(BLOB), "{what}: what is stored");
    }
}

fn holed() -> Bytes {
    let mut bytes = noise(BLOB).to_vec();
    bytes[1000..2000].fill(0);
    bytes.into()
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_in_a_bucket_is_fetched_anew_after_a_restart() {
    let longer = [&noise(BLOB)[..], b"more"].concat();
    // How many clients are cut off where nobody has said how long the blob is: none where it is here as a whole before
    // its answer begins.
    for (what, bytes, cut_off) in [
        ("short", noise(BLOB).slice(..200_000), 1),
        ("empty", Bytes::new(), 0),
        ("longer", longer.into(), 1),
        ("holed", holed(), 1),
    ] {
        let mut lab = lab().await;
        lab.replace(bytes.clone()).await;
        lab.proxy.restart("");
        lab.heals(cut_off, what).await;
        // Its manifest says how long it is: then nobody is cut off, and only the digest finds a hole.
        lab.replace(bytes).await;
        lab.proxy.restart("");
        lab.proxy.get(V1).await;
        let cut_off = usize::from(what == "holed");
        lab.heals(cut_off, &format!("{what}, with its manifest")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_bucket_made_of_a_commit_is_held_against_the_digest_once() {
    let lab = lab().await;
    // Its length is right, and so is its entity tag, as far as this process can tell.
    lab.replace(holed()).await;
    lab.heals(1, "holed").await;
    let reads = || lab.store.hook.count(Step::OpenWhole, "v1/blobs/");
    let before = reads();
    assert_eq!(lab.proxy.get(&lab.path).header("range", "bytes=10-19").await.body, noise(BLOB).slice(10..20));
    assert_eq!(reads(), before, "a part of it is believed");
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_one_whose_cached_blob_broke_off_is_served_by_the_registry() {
    let lab = lab().await;
    // Read to its end once: it is believed.
    assert_eq!(lab.proxy.get(&lab.path).await.done(), "hit");
    lab.breaks.store(true, Ordering::Relaxed);
    let range = || lab.proxy.get(&lab.path).header("range", "bytes=0-299998");
    assert!(range().await.end.is_err(), "the first one is cut off");
    let seen = range().await;
    assert!(seen.end.is_ok() && seen.done() != "hit", "{seen:?}");
    lab.proxy.wait(120).await;
    assert!(lab.proxy.get(&lab.path).await.end.is_err(), "it is tried again after a while");
    let seen = lab.proxy.get(&lab.path).await;
    assert!(seen.end.is_ok() && seen.done() == "filled", "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_lies_about_a_length_costs_one_download() {
    let mut lab = lab().await;
    lab.proxy.restart("");
    let digest = lab.path.rsplit('/').next().unwrap();
    let lie = format!(r#"{{"layers":[{{"digest":"{digest}","size":7}}]}}"#);
    lab.proxy.registry.put_manifest("a/b", "lie", OCI_MANIFEST, lie);
    lab.proxy.get("/v2/a/b/manifests/lie").await;
    for (done, manifest) in [("filled", "lie"), ("hit", "lie"), ("hit", "v1"), ("hit", "lie")] {
        let seen = lab.proxy.get(&lab.path).await;
        assert_eq!((seen.done(), seen.body.len()), (done, BLOB), "{manifest}");
        lab.proxy.wait(1).await;
        lab.proxy.get(&format!("/v2/a/b/manifests/{manifest}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn verify_throws_away_what_a_bucket_does_not_give_twice() {
    let lab = lab().await;
    assert_eq!(lab.verify(&lab.store).await, (0, 0));
    // It goes on behind each break, until there is nothing more to be had.
    lab.breaks.store(true, Ordering::Relaxed);
    assert_eq!(lab.verify(&lab.store).await, (1, 0));
    assert!(lab.memory.stat(&lab.key).await.unwrap().is_none(), "it is gone");
}

#[tokio::test(start_paused = true)]
async fn verify_keeps_a_blob_whose_rest_a_bucket_does_not_answer_for() {
    let lab = lab().await;
    for refusal in [|| Trouble::Fails, || Trouble::Denied] {
        // It breaks once, and then the bucket is not to be had for a moment.
        let store = troubled(&lab.memory, move |step, _| {
            if step == Step::OpenWhole { Some(Trouble::Breaks) } else { (step == Step::OpenPart).then(refusal) }
        });
        assert_eq!(lab.verify(&store).await, (0, 1));
        assert!(lab.memory.stat(&lab.key).await.unwrap().is_some(), "it is still there");
    }
    assert_eq!(lab.stored().await, noise(BLOB));
}
