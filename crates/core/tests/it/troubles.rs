//! A store that is slow, fails, or ends in the middle: clients get their bytes, and what was kept stays.

mod endings;
mod leases;
mod stored;
mod verifying;

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::admin::{CacheAdmin, Command, Event, Purge};
use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::name::RepositoryName;
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::{Fault, Step};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, Setup, Trouble, TroubledStore, image, manifest_of, noise, troubled};

const V1: &str = "/v2/a/b/manifests/v1";

fn memory() -> MemoryStore {
    MemoryStore::new(1 << 30, Arc::new(TokioClock::start()))
}

fn keeping(store: &Arc<TroubledStore>, text: &str) -> Fixture {
    Fixture::set_up(&Setup { text, store: Some(store.clone()), ..Setup::default() })
}

fn tag() -> Key {
    Key::tag("reg.example", &RepositoryName::parse("a/b").expect("a name"), "v1")
}

#[tokio::test(start_paused = true)]
async fn a_name_too_long_for_a_disk_is_absent_and_rests_nobody() {
    let is_long = |key: &str| key.split('/').any(|part| part.len() > 143);
    let memory = memory();
    let store = troubled(&memory, move |_, key| is_long(key).then_some(Trouble::Fails));
    let mut lab = keeping(&store, "");
    let (digest, _) = image(&lab, "a/b", "1");
    lab.get(V1).await;
    lab.wait(1).await;
    lab.restart("");
    for length in [200, 256] {
        let seen = lab.get(&format!("/v2/a/b/manifests/a:{}", "b".repeat(length))).await;
        assert!(matches!(seen.status.as_u16(), 400 | 404), "{seen:?}");
    }
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{digest}")).await.done(), "hit", "the store is not left alone");
    // Whoever pushes a manifest may name whatever they like.
    let named = format!(r#"{{"layers":[{{"digest":"a:{}"}}]}}"#, "b".repeat(200));
    lab.registry.put_manifest("a/b", "odd", OCI_MANIFEST, named);
    assert_eq!(lab.get("/v2/a/b/manifests/odd").await.status, 200);
    lab.wait(1).await;
    let other = lab.registry.put_blob("a/b", noise(7000));
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{other}")).await.done(), "filled");
}

/// As many blobs in a store as these, and the proxy restarted: what asks for each. The keys that are in `broken` fail.
async fn with_broken_keys(sizes: std::ops::Range<usize>) -> (Fixture, Arc<TroubledStore>, Vec<String>, Broken) {
    let memory = memory();
    let broken = Broken::default();
    let is_broken = Arc::clone(&broken);
    let store = troubled(&memory, move |_, key| {
        is_broken
            .lock()
            .expect("keys")
            .iter()
            .any(|hex: &String| key.ends_with(hex.as_str()))
            .then_some(Trouble::Fails)
    });
    let mut lab = keeping(&store, "");
    let mut paths = Vec::new();
    for size in sizes {
        let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(size)));
        assert_eq!(lab.get(&path).await.done(), "filled");
        paths.push(path);
    }
    lab.wait(1).await;
    lab.restart("");
    (lab, store, paths, broken)
}

/// Ends of keys.
type Broken = Arc<std::sync::Mutex<Vec<String>>>;

fn hex_of(path: &str) -> String {
    path.rsplit(':').next().expect("a digest").to_owned()
}

#[tokio::test(start_paused = true)]
async fn one_key_that_cannot_be_read_costs_no_other_its_hits() {
    let (lab, _, paths, broken) = with_broken_keys(5000..5002).await;
    // Of the blob alone: what else is known of it lies elsewhere, and is well.
    let digest = Digest::parse(&format!("sha256:{}", hex_of(&paths[0]))).unwrap();
    broken.lock().unwrap().push(Key::blob(&digest).to_string());
    for time in 0..5 {
        let seen = lab.get(&paths[0]).await;
        assert!(seen.status == 200 && seen.body == noise(5000), "{time}: {seen:?}");
        assert_eq!(lab.get(&paths[1]).await.done(), "hit", "{time}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_several_keys_is_left_alone_for_a_while() {
    let (lab, store, paths, broken) = with_broken_keys(5000..5004).await;
    broken.lock().unwrap().extend(paths.iter().map(|path| hex_of(path)));
    for path in &paths {
        assert_eq!(lab.get(path).await.status, 200, "{path}");
    }
    let asked = || store.hook.count(Step::OpenWhole, "v1/") + store.hook.count(Step::Read, "v1/");
    let before = asked();
    assert_eq!(lab.get(&paths[0]).await.status, 200);
    assert_eq!(asked(), before, "it is not even asked");
    broken.lock().unwrap().clear();
    lab.wait(5).await;
    assert_eq!(lab.get(&paths[3]).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_manifest_and_pointer_loses_nothing() {
    for writes in 0..6 {
        let memory = memory();
        let is_manifest = |step: Step, key: &str| step == Step::Write && key.starts_with("v1/manifests/");
        let slow =
            move |step: Step, key: &str| is_manifest(step, key).then_some(Trouble::Takes(Duration::from_secs(1)));
        let store = troubled(&memory, slow);
        let mut lab = keeping(&store, "");
        let (old, layer) = image(&lab, "a/b", "1");
        lab.get(V1).await;
        lab.get(&format!("/v2/a/b/blobs/{layer}")).await;
        lab.wait(60).await;
        lab.restart("");
        let (new, _) = image(&lab, "a/b", "2");
        store.hook.stop_after(writes);
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), new);
        lab.wait(10).await;
        lab.platform.store = Some(Arc::new(memory.again()));
        lab.restart("");
        lab.net.fault("*", "", 99, Fault::Refuse);
        let seen = lab.get(V1).await;
        assert_eq!(seen.status, 200, "killed after {writes} writes: {seen:?}");
        assert!([old, new].iter().any(|digest| digest == seen.header("docker-content-digest")), "{seen:?}");
        assert_eq!(lab.get(&format!("/v2/a/b/blobs/{layer}")).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_tag_the_last_answer_is_what_stays() {
    let memory = memory();
    let first = std::sync::atomic::AtomicBool::new(true);
    let store = troubled(&memory, move |step, key| {
        let is_first = key == tag().as_str()
            && step == Step::Write
            && first.swap(false, std::sync::atomic::Ordering::Relaxed);
        is_first.then_some(Trouble::Takes(Duration::from_secs(3)))
    });
    let lab = keeping(&store, "[cache]\ntags=[{match='**',revalidate='always'}]");
    let mut last = String::new();
    for text in ["1", "2", "3"] {
        last = image(&lab, "a/b", text).0;
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), last);
    }
    lab.wait(10).await;
    let record = memory.read(&tag()).await.unwrap().expect("a record");
    assert!(String::from_utf8_lossy(&record).contains(&last), "{record:?}");
    lab.net.fault("*", "/manifests/", 99, Fault::Say(registry_proxy_core::testing::Answer::new(404)));
    lab.get(V1).await;
    assert_eq!(memory.read(&tag()).await.unwrap(), None, "what is gone is gone by the time it is said");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_is_not_thrown_away() {
    let memory = memory();
    let mut lab = keeping(&troubled(&memory, |_, _| None), "");
    let (_, layer) = image(&lab, "a/b", "1");
    let path = format!("/v2/a/b/blobs/{layer}");
    lab.get(&path).await;
    lab.wait(1).await;
    let key = Key::blob(&Digest::parse(&layer).unwrap());
    let broken = troubled(&memory, |step, _| (step == Step::OpenWhole).then_some(Trouble::Breaks));

    let admin = CacheAdmin::of_store(broken.clone(), lab.platform.clock.clone());
    let told = std::sync::Mutex::new(Vec::new());
    admin.run(&Command::Verify, &|event| told.lock().unwrap().push(event)).await.unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.contains(&Event::Unread(key.to_string())), "{told:?}");
    let Some(Event::Verified(verified)) = told.last() else { panic!("{told:?}") };
    assert_eq!((verified.wrong, verified.unread), (0, 1));
    assert!(memory.stat(&key).await.unwrap().is_some());

    lab.platform.store = Some(broken.clone());
    lab.restart("");
    lab.get(V1).await;
    let seen = lab.get(&path).await;
    assert!(seen.end.is_err(), "a short end is never taken for a whole: {seen:?}");
    lab.wait(1).await;
    assert_eq!(broken.hook.count(Step::Remove, "v1/blobs/"), 0, "it may be right all the same");
    assert_eq!(lab.get(&path).await.body, noise(5000), "meanwhile it comes from elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_purge_reaches_what_only_memory_has() {
    for what in [Purge::All, Purge::Pattern("reg.example/a/b".to_owned())] {
        let memory = memory();
        let store = troubled(&memory, |step, key| {
            (step == Step::Write && key.starts_with("v1/tags/")).then_some(Trouble::Denied)
        });
        let lab = keeping(&store, "");
        image(&lab, "a/b", "1");
        lab.get(V1).await;
        lab.get("/v2/a/b/tags/list").await;
        assert_eq!(lab.get("/v2/a/b/manifests/v2").await.status, 404);
        lab.wait(1).await;
        let (new, _) = image(&lab, "a/b", "2");
        lab.registry.put_manifest("a/b", "v2", OCI_MANIFEST, manifest_of(9));
        let admin = lab.proxy.cache_admin().expect("a cache");
        for dry_run in [true, false] {
            let told = std::sync::Mutex::new(Vec::new());
            let command = Command::Purge { what: what.clone(), dry_run };
            admin.run(&command, &|event| told.lock().unwrap().push(event)).await.unwrap();
            let told = told.into_inner().unwrap();
            let Some(Event::Purged(purged)) = told.last() else { panic!("{told:?}") };
            assert_eq!(purged.tags, 1, "{what:?}");
            assert_eq!(lab.get(V1).await.done() == "hit", dry_run, "{what:?}");
        }
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), new);
        assert_eq!(lab.get("/v2/a/b/manifests/v2").await.status, 200, "not found is forgotten as well");
        assert_eq!(lab.get("/v2/a/b/tags/list").await.done(), "filled");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_even_be_begun_is_fetched_in_the_same_answer() {
    // A rotten blob of one piece, and one that the disk does not give.
    for is_rotten in [true, false] {
        let memory = memory();
        let is_broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let breaks = Arc::clone(&is_broken);
        let store = troubled(&memory, move |step, _| {
            let breaks = breaks.load(std::sync::atomic::Ordering::Relaxed) && step == Step::OpenWhole;
            breaks.then_some(Trouble::NeverBegins)
        });
        let mut lab = keeping(&store, "");
        let layer = lab.registry.put_blob("a/b", noise(900));
        let path = format!("/v2/a/b/blobs/{layer}");
        lab.get(&path).await;
        lab.wait(1).await;
        if is_rotten {
            let key = Key::blob(&Digest::parse(&layer).unwrap());
            memory.remove(&key).await.unwrap();
            let draft = memory.draft(&key, Some(900)).await.unwrap();
            draft.write_at(0, bytes::Bytes::from(vec![7; 900])).await.unwrap();
            draft.commit(900).await.unwrap();
            lab.restart("");
        }
        is_broken.store(!is_rotten, std::sync::atomic::Ordering::Relaxed);
        for _ in 0..2 {
            let seen = lab.get(&path).await;
            assert!(seen.status == 200 && seen.body == noise(900), "{is_rotten}: {seen:?}");
        }
    }
}
