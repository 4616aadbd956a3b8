//! What answers take of memory until clients have taken them (`limits.in_flight`): all of it is counted, and no upstream and
//! no client has more of it than its share.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::{FutureExt as _, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::{Answer, Fault, Registry, Step};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, ORIGIN, Setup, image, manifest_of, troubled, upstream};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const OTHER: &str = "https://origin.other.test";
const TAGS: &str = "/v2/a/b/tags/list";

fn manifest(tag: &str) -> String {
    format!("/v2/a/b/manifests/{tag}")
}

/// Bytes that are held for clients now.
fn held(lab: &Fixture) -> usize {
    usize::try_from(lab.proxy.in_flight().held_bytes()).expect("a length")
}

/// A list of tags of about so many bytes.
fn list_of(size: usize) -> Bytes {
    let tags: Vec<String> = (0..size / 12).map(|number| format!("\"tag-{number:05}\"")).collect();
    format!("{{\"name\":\"a/b\",\"tags\":[{}]}}", tags.join(",")).into()
}

#[tokio::test(start_paused = true)]
async fn a_list_with_another_name_is_counted_until_it_is_read() {
    for lab in [Fixture::new(""), Fixture::caching("")] {
        let list = list_of(100 * KIB);
        lab.net.fault("GET", "/tags/", 99, Fault::Say(Answer::new(200).body(list.clone())));
        let longer = list.len() + "reg.example/".len();
        let named = lab.begin("/v2/reg.example/a/b/tags/list").await;
        assert_eq!(named.body().length(), Some(longer as u64));
        assert_eq!(held(&lab), longer);
        // Of what the cache has under one name each other name is a copy.
        let usual = lab.begin(TAGS).await;
        assert_eq!(held(&lab), longer + list.len());
        drop((named, usual));
        assert_eq!(held(&lab), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_from_the_cache_is_what_it_was_whatever_the_name() {
    let lab = Fixture::caching("");
    image(&lab, "a/b", "x");
    for (path, name, done) in [
        ("/v2/reg.example/a/b/tags/list", "reg.example/a/b", "filled"),
        ("/v2/reg.example/a/b/tags/list", "reg.example/a/b", "hit"),
        (TAGS, "a/b", "hit"),
        ("/reg.example/v2/a/b/tags/list", "a/b", "hit"),
    ] {
        let seen = lab.get(path).await;
        assert_eq!((seen.json()["name"].as_str(), seen.done()), (Some(name), done), "{path}");
        assert_eq!(seen.json()["tags"], serde_json::json!(["v1"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_decoded_manifest_or_list_is_counted_until_it_is_read() {
    for lab in [Fixture::new(""), Fixture::caching("")] {
        let (image, list) = (manifest_of(300 * KIB), list_of(100 * KIB));
        lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, image.clone());
        lab.net.fault(
            "GET",
            "/tags/",
            1,
            Fault::Say(Answer::new(200).header("content-encoding", "gzip").body(gzip(&list))),
        );
        let code = |answer: &mut Answer| {
            *answer = answer.clone().header("content-encoding", "gzip").body(gzip(&answer.body));
        };
        lab.net.fault("GET", "/manifests/", 1, Fault::change(code));
        for (path, body) in [(manifest("v1"), image), (TAGS.to_owned(), list)] {
            let seen = lab.begin(&path).await;
            assert_eq!((seen.status().as_u16(), seen.body().length()), (200, Some(body.len() as u64)));
            assert_eq!(held(&lab), body.len(), "{path}");
            drop(seen);
            assert_eq!(held(&lab), 0, "{path}");
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("room in memory");
    encoder.finish().expect("room in memory")
}

/// What an upstream that drips says of its answers.
#[derive(Debug, Clone, Copy)]
enum Says {
    Length,
    Nothing,
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_drips_takes_no_room_from_the_others() {
    for (says, kind) in
        [Says::Length, Says::Nothing].into_iter().flat_map(|says| [(says, "manifests"), (says, "tags")])
    {
        let other = format!("[[upstream]]\nname='other.example'\nurls=['{OTHER}']\n");
        let lab = Fixture::new(&format!("{}{other}", upstream("")));
        let honest = Registry::default();
        honest.put_manifest("c/d", "v1", OCI_MANIFEST, manifest_of(3 * MIB));
        lab.net.serve(OTHER, honest);
        let (size, count) = if kind == "tags" { (8 * MIB - KIB, 8) } else { (4 * MIB - KIB, 16) };
        let mut answer = Answer::new(200).header("content-type", OCI_MANIFEST).body(manifest_of(size));
        answer.length = Some(answer.body.len() as u64).filter(|_| matches!(says, Says::Length));
        // A KiB, and nothing more for a long while.
        lab.net.fault(
            "GET",
            ORIGIN,
            99,
            Fault::ChangeAndStall(Arc::new(move |said| *said = answer.clone()), KIB, Duration::from_secs(1000)),
        );
        let slow = join_all((0..count).map(|number| {
            let path = if kind == "tags" {
                format!("/v2/a/b{number}/tags/list")
            } else {
                manifest(&format!("t{number}"))
            };
            let call = lab.get(&path).from(&format!("198.51.100.{number}"));
            async move { call.await }
        }));
        let others = async {
            lab.wait(1).await;
            let begun = lab.now();
            let seen = lab.get("/v2/other.example/c/d/manifests/v1").await;
            assert_eq!((seen.status.as_u16(), seen.body.len() > 3 * MIB), (200, true), "{says:?}, {kind}");
            assert!(lab.now().since(begun) < Duration::from_secs(1), "{says:?}, {kind}");
            assert!(!lab.proxy.in_flight().is_scarce(), "{says:?}, {kind}: nobody has to make way");
        };
        tokio::select! {
            _ = slow => panic!("{says:?}, {kind}: it is slow"),
            () = others => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_has_a_quarter_and_the_others_are_served() {
    for lab in [Fixture::new(""), Fixture::caching("[cache]\nmemory='1MiB'")] {
        for number in 0..20 {
            let text = format!("{number:02}{}", "x".repeat(3 * MIB));
            let body =
                format!(r#"{{"schemaVersion":2,"config":{{}},"layers":[],"annotations":{{"a":"{text}"}}}}"#);
            lab.registry.put_manifest("a/b", &format!("t{number}"), OCI_MANIFEST, body);
        }
        let paths: Vec<String> = (0..19).map(|number| manifest(&format!("t{number}"))).collect();
        let mut asked: FuturesUnordered<_> = paths.iter().map(|path| lab.begin(path).boxed()).collect();
        let mut unread = Vec::new();
        let others = async {
            lab.wait(2).await;
            for tag in ["t19", "t3", "t18"] {
                let begun = lab.now();
                let seen = lab.get(&manifest(tag)).from("198.51.100.9").await;
                assert_eq!((seen.status.as_u16(), seen.body.len() > 3 * MIB), (200, true), "{tag}");
                assert!(lab.now().since(begun) < Duration::from_secs(1), "{tag}");
            }
        };
        let mut others = std::pin::pin!(others);
        loop {
            tokio::select! {
                () = &mut others => break,
                Some(seen) = asked.next() => unread.push(seen),
            }
        }
        assert!(unread.iter().all(|seen| seen.status() == 200));
        assert_eq!(unread.len(), 5, "of 3 MiB each in 16 MiB");
        assert!(held(&lab) <= 17 * MIB, "{}", held(&lab));
        assert!(!lab.proxy.in_flight().is_scarce(), "nobody else has to make way");
        // Once it reads it gets them all.
        while !unread.is_empty() || !asked.is_empty() {
            unread.clear();
            if let Some(seen) = asked.next().await {
                assert_eq!(seen.status(), 200);
            }
        }
        assert_eq!(held(&lab), 0);
    }
}

/// With manifests that the store has and memory has no place for; what the store was asked.
async fn larger_than_memory(limits: &str, count: usize) -> (Fixture, Arc<crate::fixture::TroubledStore>) {
    let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
    let store = troubled(&memory, |_, _| None);
    let text = format!("{limits}\n[cache]\nmemory='1MiB'\ntag_ttl='1h'\n{}", upstream(""));
    let setup = Setup { text: &text, store: Some(store.clone() as Arc<dyn Store>), ..Setup::default() };
    let lab = Fixture::set_up(&setup);
    for number in 0..count {
        lab.registry.put_manifest("a/b", &format!("t{number}"), OCI_MANIFEST, manifest_of(MIB + number));
        assert_eq!(lab.get(&manifest(&format!("t{number}"))).await.status, 200);
    }
    lab.wait(20).await;
    (lab, store)
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_memory_has_no_place_for_is_held_once_for_all_who_ask() {
    let (lab, store) = larger_than_memory("", 1).await;
    let before = store.hook.count(Step::Read, "v1/manifests/");
    let path = manifest("t0");
    let asks = |number: usize| {
        let (lab, path) = (&lab, &path);
        async move { lab.begin_from(path, &format!("198.51.100.{number}")).await }
    };
    let at_once = join_all((0..20).map(asks)).await;
    let unread = lab.begin(&path).await;
    assert!(at_once.iter().chain([&unread]).all(|seen| seen.status() == 200));
    assert_eq!(store.hook.count(Step::Read, "v1/manifests/") - before, 1);
    assert!((MIB..MIB + KIB).contains(&held(&lab)), "{}", held(&lab));
    drop(at_once);
    assert!((MIB..MIB + KIB).contains(&held(&lab)), "one is left: {}", held(&lab));
    drop(unread);
    assert_eq!(held(&lab), 0);
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn manifests_from_the_store_wait_for_room_like_any_others() {
    let (lab, _) = larger_than_memory("[limits]\nin_flight='8MiB'", 12).await;
    // Each of another client, of which none has a share to wait for.
    let asks = |number: usize| {
        let lab = &lab;
        async move { lab.begin_from(&manifest(&format!("t{number}")), &format!("198.51.100.{number}")).await }
    };
    let mut asked: FuturesUnordered<_> = (0..12).map(|number| asks(number).boxed()).collect();
    let mut unread = Vec::new();
    while let Ok(Some(seen)) = tokio::time::timeout(Duration::from_secs(3), asked.next()).await {
        assert_eq!(seen.status(), 200);
        unread.push(seen);
    }
    assert!((5..=8).contains(&unread.len()), "{} of 12", unread.len());
    assert!(held(&lab) <= 9 * MIB, "{}", held(&lab));
    drop(unread);
    while let Some(seen) = asked.next().await {
        assert_eq!(seen.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn what_clients_use_is_counted_once_memory_has_let_it_go() {
    let lab = Fixture::caching(&format!(
        "[cache]\nmemory='2MiB'\ntag_ttl='1h'\nlisting_ttl='1h'\n{}",
        upstream("push=true")
    ));
    let list = list_of(10 * KIB);
    lab.net.fault("GET", "/tags/", 1, Fault::Say(Answer::new(200).body(list.clone())));
    lab.get(TAGS).await;
    let hit = lab.begin(TAGS).await;
    assert_eq!(held(&lab), 0, "memory has it");
    // A push ends all lists.
    lab.registry.put_manifest("a/b", "v2", OCI_MANIFEST, manifest_of(10));
    lab.put(&manifest("v2")).header("content-type", OCI_MANIFEST).body(manifest_of(10)).await;
    assert_eq!(held(&lab), list.len());
    drop(hit);
    assert_eq!(held(&lab), 0);
    let mut unread = Vec::new();
    for number in 0..100 {
        let path = manifest(&format!("t{number}"));
        lab.registry.put_manifest("a/b", &format!("t{number}"), OCI_MANIFEST, manifest_of(30 * KIB + number));
        lab.get(&path).await;
        unread.push(lab.begin(&path).await);
        // What is still to be written to the store is somebody's, too.
        lab.wait(1).await;
    }
    assert!(held(&lab) >= 100 * 30 * KIB - MIB / 2, "{}", held(&lab));
    drop(unread);
    assert_eq!(held(&lab), 0);
}
