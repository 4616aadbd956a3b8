//! The cache within its limits: what goes, what stays, and that nobody who is being served notices.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::name::RepositoryName;
use registry_proxy_core::platform::{Precondition, Store};
use registry_proxy_core::testing::{Fault, Step};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_INDEX, OCI_MANIFEST, Setup, Trouble, noise, troubled};

const LAYER: usize = 300_000;

/// A proxy with a janitor, and its store.
fn kept(text: &str, capacity: u64) -> (Fixture, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new(capacity, Arc::new(TokioClock::start())));
    let lab = Fixture::set_up(&Setup { text, store: Some(store.clone()), ..Setup::default() });
    tokio::spawn(lab.proxy.janitor().expect("a janitor").run());
    (lab, store)
}

/// A layer that differs from all others.
fn layer(number: u8) -> Bytes {
    let mut bytes = noise(LAYER).to_vec();
    bytes[0] = number;
    bytes.into()
}

/// An image `a/<number>:v1` with one layer, at the registry: the layer's digest.
fn image(lab: &Fixture, number: u8, more: &[&str]) -> String {
    let name = format!("a/{number}");
    let own = lab.registry.put_blob(&name, layer(number));
    let layers: Vec<String> =
        [own.as_str()].iter().chain(more).map(|layer| format!(r#"{{"digest":"{layer}"}}"#)).collect();
    let manifest = format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
    lab.registry.put_manifest(&name, "v1", OCI_MANIFEST, manifest);
    own
}

/// Pulls it; what was done for manifest and layer.
async fn pull(lab: &Fixture, number: u8, layer: &str) -> (String, String) {
    let manifest = lab.get(&format!("/v2/a/{number}/manifests/v1")).await;
    let blob = lab.get(&format!("/v2/a/{number}/blobs/{layer}")).await;
    assert_eq!((manifest.status.as_u16(), blob.status.as_u16()), (200, 200), "a/{number}");
    assert_eq!(blob.body.len(), LAYER);
    (manifest.done().to_owned(), blob.done().to_owned())
}

async fn keys(store: &MemoryStore) -> BTreeSet<String> {
    let entries: Vec<_> = store.list("").collect().await;
    entries.into_iter().map(|entry| entry.expect("an entry").key.as_str().to_owned()).collect()
}

/// Which of these are in the store.
async fn here(store: &MemoryStore, layers: &[String]) -> Vec<usize> {
    let mut here = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        if store.stat(&Key::blob(&Digest::parse(layer).expect("a digest"))).await.expect("an answer").is_some() {
            here.push(at);
        }
    }
    here
}

#[tokio::test(start_paused = true)]
async fn fills_beyond_the_limit_evict_the_oldest_and_keep_what_is_used() {
    let (lab, store) = kept("[cache]\nmax_size='1100KB'\ntag_ttl='1d'", 1 << 30);
    let layers: Vec<String> = (0..5).map(|number| image(&lab, number, &[])).collect();
    for number in 0..3 {
        pull(&lab, number, &layers[usize::from(number)]).await;
        lab.wait(60).await;
    }
    // The manifest alone is asked for: its layer counts as used with it.
    lab.get("/v2/a/0/manifests/v1").await;
    lab.wait(60).await;
    pull(&lab, 3, &layers[3]).await;
    lab.wait(60).await;
    assert_eq!(here(&store, &layers).await, [0, 2, 3]);
    pull(&lab, 4, &layers[4]).await;
    lab.wait(60).await;
    assert_eq!(here(&store, &layers).await, [0, 3, 4]);
    let left = keys(&store).await;
    for gone in ["reg.example/a/1/", "reg.example/a/2/"] {
        assert!(!left.iter().any(|key| key.contains(gone)), "tags and links go too: {left:#?}");
    }
    lab.net.forget();
    for number in [0, 3, 4] {
        let done = pull(&lab, number, &layers[usize::from(number)]).await;
        assert_eq!((done.0.as_str(), done.1.as_str()), ("hit", "hit"), "a/{number} is whole");
    }
    assert_eq!(lab.net.lines(), Vec::<String>::new());
    let done = pull(&lab, 1, &layers[1]).await;
    assert_eq!((done.0.as_str(), done.1.as_str()), ("filled", "filled"), "memory has forgotten what went");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_being_pulled_stays_whole() {
    let (lab, store) = kept("[cache]\nmax_size='1100KB'", 1 << 30);
    // An old image, whose second layer is only now asked for.
    let late = lab.registry.put_blob("a/0", layer(100));
    let more = [late.as_str()];
    let layers: Vec<String> =
        (0..3).map(|number| image(&lab, number, if number == 0 { &more } else { &[] })).collect();
    for number in 0..3 {
        pull(&lab, number, &layers[usize::from(number)]).await;
        lab.wait(60).await;
    }
    lab.net.fault("GET", &late, 1, Fault::StallAfter(100_000, Duration::from_secs(20)));
    let (seen, ()) = tokio::join!(async { lab.get(&format!("/v2/a/0/blobs/{late}")).await }, async {
        lab.wait(15).await;
        assert_eq!(here(&store, &layers).await, [0, 2], "room was made while it arrived");
    },);
    assert_eq!((seen.status.as_u16(), seen.body.clone()), (200, layer(100)));
    lab.wait(1).await;
    assert_eq!(here(&store, &[layers.clone(), vec![late]].concat()).await, [0, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_full_store_evicts_and_later_fills_are_cached() {
    let (lab, store) = kept("[cache]\nmax_size='1MB'", 1_000_000);
    let layers: Vec<String> = (0..5).map(|number| image(&lab, number, &[])).collect();
    for number in 0..3 {
        pull(&lab, number, &layers[usize::from(number)]).await;
        lab.wait(15).await;
    }
    assert_eq!(pull(&lab, 3, &layers[3]).await.1, "relayed", "there is no room, and it is served all the same");
    lab.wait(15).await;
    assert_eq!(here(&store, &layers).await, [1, 2]);
    assert_eq!(pull(&lab, 3, &layers[3]).await.1, "filled");
    lab.wait(1).await;
    assert_eq!(pull(&lab, 3, &layers[3]).await.1, "hit");
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_cache_passes_by_and_evicts_nothing() {
    let (lab, store) = kept("[cache]\nmax_size='400KB'", 1 << 30);
    let layers = vec![image(&lab, 0, &[])];
    pull(&lab, 0, &layers[0]).await;
    let large = lab.registry.put_blob("a/0", noise(500_000));
    let seen = lab.get(&format!("/v2/a/0/blobs/{large}")).await;
    assert_eq!((seen.done(), seen.body.len()), ("relayed", 500_000));
    lab.wait(30).await;
    assert_eq!(here(&store, &layers).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_used_for_long_goes_and_leaves_nothing() {
    let (lab, store) = kept("[cache]\nmax_unused='7d'\ntag_ttl='30d'", 1 << 30);
    let layers: Vec<String> = (0..2).map(|number| image(&lab, number, &[])).collect();
    for number in 0..2 {
        pull(&lab, number, &layers[usize::from(number)]).await;
    }
    for _ in 0..8 {
        lab.wait(86_400).await;
        lab.get("/v2/a/1/manifests/v1").await;
    }
    assert_eq!(here(&store, &layers).await, [1]);
    lab.wait(10 * 86_400).await;
    assert_eq!(keys(&store).await, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn an_index_and_its_image_go_together() {
    let (lab, store) = kept("[cache]\nmax_unused='1d'\ntag_ttl='30d'", 1 << 30);
    let own = image(&lab, 0, &[]);
    let seen = lab.get("/v2/a/0/manifests/v1").await;
    let child = seen.header("docker-content-digest").to_owned();
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{child}"}}]}}"#);
    lab.registry.put_manifest("a/0", "multi", OCI_INDEX, index);
    lab.get(&format!("/v2/a/0/blobs/{own}")).await;
    // Only the index is asked for: the image below it is used with it.
    for _ in 0..4 {
        lab.get("/v2/a/0/manifests/multi").await;
        lab.wait(43_200).await;
    }
    assert_eq!(here(&store, &[own]).await, [0]);
    assert!(store.stat(&Key::manifest(&Digest::parse(&child).unwrap())).await.unwrap().is_some());
    lab.wait(3 * 86_400).await;
    assert_eq!(keys(&store).await, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn leases_that_a_crash_left_behind_are_swept_and_others_not() {
    let (lab, store) = kept("", 1 << 30);
    let (old, new) = (Digest::sha256(b"old"), Digest::sha256(b"new"));
    let write = async |digest: &Digest, epoch| {
        store.write(&Key::lease(digest, epoch), "1".into(), Precondition::Absent).await.unwrap();
    };
    write(&old, 1).await;
    write(&new, 1).await;
    lab.wait(3500).await;
    write(&new, 2).await;
    lab.wait(300).await;
    assert_eq!(keys(&store).await, [1, 2].map(|epoch| Key::lease(&new, epoch).as_str().to_owned()).into());
}

#[tokio::test(start_paused = true)]
async fn a_janitor_ends_with_its_proxy() {
    let mut lab = Fixture::caching("");
    let janitor = tokio::spawn(lab.proxy.janitor().expect("a janitor").run());
    lab.wait(30).await;
    assert!(!janitor.is_finished());
    lab.restart("");
    lab.wait(1000).await;
    assert!(janitor.is_finished());
}

/// Bytes that fill a store as fast as a fast registry does: 200 MB in a second.
const PIECE: usize = 2_000_000;
const PIECE_MILLIS: u64 = 10;
/// So many are twice what the store may ever have.
const BLOBS: usize = 100;
/// What the store may hold, and how far beyond it may be.
const MAX: u64 = 32 << 20;
const SLACK: u64 = 64 << 20;

/// Bytes in a store that may have a gigabyte.
async fn taken(store: &MemoryStore) -> u64 {
    (1 << 30) - store.free().await.expect("an answer").expect("an end")
}

/// Pulls as many blobs as make twice what the store may ever have. The most that it had at once, and how many were kept.
async fn filled_fast(lab: &Fixture, store: &MemoryStore) -> (u64, usize) {
    let (mut most, mut kept) = (0, 0);
    for number in 0..BLOBS {
        let mut bytes = vec![7; PIECE];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let blob = lab.registry.put_blob("a/0", bytes);
        let seen = lab.get(&format!("/v2/a/0/blobs/{blob}")).await;
        assert_eq!((seen.status.as_u16(), seen.body.len()), (200, PIECE));
        kept += usize::from(seen.done() == "filled");
        tokio::time::sleep(Duration::from_millis(PIECE_MILLIS)).await;
        most = most.max(taken(store).await);
    }
    (most, kept)
}

#[tokio::test(start_paused = true)]
async fn however_fast_a_store_is_filled_it_is_never_far_beyond_its_limit() {
    let (lab, store) = kept("[cache]\nmax_size='32MiB'", 1 << 30);
    lab.wait(1).await;
    let (most, kept) = filled_fast(&lab, &store).await;
    assert!(most <= MAX + SLACK, "{most} bytes");
    assert!(kept > 90, "{kept} blobs were kept: room is made while they come");
    lab.wait(1).await;
    assert!(taken(&store).await <= MAX, "and soon within it");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_make_room_blobs_pass_by_and_the_store_stays_near_its_limit() {
    let store = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
    let lists = std::sync::atomic::AtomicUsize::new(0);
    let failing = troubled(&store, move |step, prefix| {
        let is_list = step == Step::List && prefix == "v1/blobs/";
        (is_list && lists.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0).then_some(Trouble::Fails)
    });
    let text = "[cache]\nmax_size='32MiB'";
    let lab = Fixture::set_up(&Setup { text, store: Some(failing), ..Setup::default() });
    tokio::spawn(lab.proxy.janitor().expect("a janitor").run());
    lab.wait(1).await;
    let (most, _) = filled_fast(&lab, &store).await;
    assert!(most <= MAX + SLACK, "{most} bytes");
}

#[tokio::test(start_paused = true)]
async fn one_key_that_cannot_be_read_or_removed_keeps_nothing_else_from_going() {
    for step in [Step::Read, Step::Remove] {
        let store = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
        let broken = Arc::new(std::sync::OnceLock::<String>::new());
        let is_broken = Arc::clone(&broken);
        let troubled = troubled(&store, move |asked, key| {
            (asked == step && is_broken.get().is_some_and(|broken| key.ends_with(broken.as_str())))
                .then_some(Trouble::Fails)
        });
        let text = "[cache]\nmax_size='1100KB'\ntag_ttl='1d'";
        let lab = Fixture::set_up(&Setup { text, store: Some(troubled), ..Setup::default() });
        tokio::spawn(lab.proxy.janitor().expect("a janitor").run());
        let layers: Vec<String> = (0..5).map(|number| image(&lab, number, &[])).collect();
        let seen = lab.get("/v2/a/0/manifests/v1").await;
        let digest = if step == Step::Read { seen.header("docker-content-digest") } else { layers[0].as_str() };
        broken.set(digest.trim_start_matches("sha256:").to_owned()).unwrap();
        for number in 0..5 {
            pull(&lab, number, &layers[usize::from(number)]).await;
            lab.wait(60).await;
        }
        let left = here(&store, &layers).await;
        let expected: &[usize] = if step == Step::Read { &[2, 3, 4] } else { &[0, 3, 4] };
        assert_eq!(left, expected, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn small_records_count_towards_the_limit_and_what_leads_nowhere_goes_first() {
    let (lab, store) = kept("[cache]\nmax_size='1MB'\ntag_ttl='1d'", 1 << 30);
    let layers: Vec<String> = (0..2).map(|number| image(&lab, number, &[])).collect();
    pull(&lab, 0, &layers[0]).await;
    let name = RepositoryName::parse("a/0").unwrap();
    let links = |beginning: &str| {
        let digest = |number: usize| Digest::sha256(format!("{beginning}{number}").as_bytes());
        (0..500).map(|number| Key::link("reg.example", &name, &digest(number))).collect::<Vec<_>>()
    };
    let (old, young) = (links("old"), links("young"));
    for link in &old {
        store.write(link, vec![0; 1000].into(), Precondition::Always).await.unwrap();
    }
    lab.wait(4000).await;
    for link in &young {
        store.write(link, vec![0; 100].into(), Precondition::Always).await.unwrap();
    }
    pull(&lab, 1, &layers[1]).await;
    lab.wait(601).await;
    let left = keys(&store).await;
    let of = |links: &[Key]| links.iter().filter(|link| left.contains(link.as_str())).count();
    assert_eq!((of(&old), of(&young)), (0, 500), "who wrote them lately may be about to write what they lead to");
    assert_eq!(here(&store, &layers).await, [0, 1], "that was room enough");
}
