//! Blobs that arrive: fetched once, shared while they do, verified before they end.

mod chunked;
mod instances;
mod lies;
mod ranges;
mod shared;
mod upstreams;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::testing::{Answer, Fault};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, Setup, noise};

const SIZE: usize = 3_000_000;

fn content() -> bytes::Bytes {
    static CONTENT: std::sync::OnceLock<bytes::Bytes> = std::sync::OnceLock::new();
    CONTENT.get_or_init(|| noise(SIZE)).clone()
}

/// A blob in `a/b`: its path and digest.
fn blob(lab: &Fixture) -> String {
    let digest = lab.registry.put_blob("a/b", content());
    format!("/v2/a/b/blobs/{digest}")
}

fn gets(lab: &Fixture) -> usize {
    lab.net.sent("GET", "/blobs/").len()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_clients_make_one_download() {
    let lab = Fixture::caching("");
    let few = noise(300_000);
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", few.clone()));
    lab.net.fault("GET", "/blobs/", 1, Fault::Late(Duration::from_secs(1)));
    let all = join_all((0..100).map(|_| async { lab.get(&path).await })).await;
    assert!(all.iter().all(|seen| seen.status == 200 && seen.body == few));
    assert_eq!(gets(&lab), 1);
    assert_eq!(all.iter().filter(|seen| seen.done() == "filled").count(), 1);
    assert_eq!(all.iter().filter(|seen| seen.done() == "joined").count(), 99);
}

#[tokio::test(start_paused = true)]
async fn one_who_comes_late_reads_from_the_beginning() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(5)));
    let late = async {
        lab.wait(2).await;
        lab.get(&path).await
    };
    let (first, late) = tokio::join!(async { lab.get(&path).await }, late);
    assert_eq!((first.body, late.body.clone()), (content(), content()));
    assert_eq!((late.done(), gets(&lab)), ("joined", 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_changes_nothing() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(2)));
    tokio::select! {
        _ = async { lab.get(&path).await } => panic!("it cannot be here yet"),
        () = lab.wait(1) => {}
    }
    lab.wait(5).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
    assert_eq!(gets(&lab), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_before_the_answer_is_replaced() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::Late(Duration::from_secs(5)));
    let leaves = async {
        tokio::select! {
            _ = async { lab.get(&path).await } => panic!("it cannot be here yet"),
            () = lab.wait(2) => {}
        }
    };
    let stays = async {
        lab.wait(1).await;
        lab.get(&path).await
    };
    let ((), stays) = tokio::join!(leaves, stays);
    assert_eq!((stays.status.as_u16(), stays.body.clone(), stays.done()), (200, content(), "filled"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_fails_promotes_one_and_no_more() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    // Late, so that all are waiting when it fails.
    lab.net.fault("GET", "/blobs/", 99, Fault::SayLate(Duration::from_secs(1), Answer::new(500)));
    let all = join_all((0..20).map(|_| async { lab.get(&path).await })).await;
    assert!(all.iter().all(|seen| seen.status == 504), "{all:?}");
    assert_eq!(gets(&lab), 2);
    lab.net.heal();
    assert_eq!(lab.get(&path).await.body, content(), "and nobody is stuck");
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_are_never_served_whole_and_never_cached() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    let mut wrong = content().to_vec();
    wrong[SIZE / 2] ^= 1;
    lab.net.fault("GET", "/blobs/", 1, Fault::Say(Answer::new(200).body(wrong)));
    let all = join_all((0..3).map(|_| async { lab.get(&path).await })).await;
    // Either it was known before the first byte, or the end is missing.
    for seen in &all {
        let is_short = seen.end.is_err() && seen.body.len() < SIZE;
        assert!(seen.status == 504 || is_short, "{} {:?} after {}", seen.status, seen.end, seen.body.len());
    }
    let seen = lab.get(&path).await;
    assert_eq!((seen.body.clone(), seen.done()), (content(), "filled"), "the next one asks again");
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_ends_early_again_and_again_is_completed_and_cached() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 99, Fault::EndAfter(1_000_000));
    // Each new try brings a third, so it gets there; what comes is whole.
    let seen = lab.get(&path).await;
    assert_eq!((seen.status.as_u16(), seen.body), (200, content()));
    let seen = lab.get(&path).await;
    assert_eq!((seen.body.clone(), seen.done()), (content(), "hit"));
}

#[tokio::test(start_paused = true)]
async fn what_a_broken_fill_has_brought_is_not_fetched_again() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::BreakAfter(2_000_000));
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(Answer::new(500)));
    let seen = lab.get(&path).await;
    assert!(seen.end.is_err(), "{:?}", seen.end);
    lab.net.heal();
    lab.net.forget();
    lab.wait(60).await;
    let seen = lab.get(&path).await;
    assert_eq!((seen.body.clone(), seen.done()), (content(), "filled"));
    let ranges: Vec<String> =
        lab.net.sent("GET", "/blobs/").iter().map(|sent| sent.header("range").to_owned()).collect();
    assert_eq!(ranges, ["bytes=2000000-2999999"]);
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn an_empty_blob_is_cached_like_any_other_and_a_range_of_it_is_416() {
    for has_length in [true, false] {
        let lab = Fixture::caching("");
        let digest = lab.registry.put_blob("a/b", noise(0));
        let path = format!("/v2/a/b/blobs/{digest}");
        if !has_length {
            lab.net.fault("GET", "/blobs/", 1, Fault::Say(Answer::new(200).without_length()));
        }
        for done in ["filled", "hit", "hit"] {
            let seen = lab.get(&path).await;
            assert_eq!((seen.status.as_u16(), seen.body.len(), seen.done()), (200, 0, done), "{has_length}");
            lab.wait(1).await;
            assert_eq!(lab.head(&path).await.header("content-length"), "0");
            for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
                let seen = lab.get(&path).header("range", range).await;
                assert_eq!((seen.status.as_u16(), seen.header("content-range")), (416, "bytes */0"), "{range}");
            }
        }
        assert_eq!(gets(&lab), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_verified_may_be_cached_for_ever_by_others() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    let (for_ever, never) = ("max-age=31536000, immutable, no-transform", "private, no-cache, no-transform");
    assert_eq!(lab.head(&path).await.header("cache-control"), never, "the registry's word for it");
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(1)));
    let part = lab.get(&path).header("range", "bytes=0-99").await;
    assert_eq!(part.header("cache-control"), never, "a range of what is not here");
    let whole = lab.get(&path).await;
    assert_eq!(whole.header("cache-control"), for_ever, "it ends only if it is right");
    lab.wait(1).await;
    for call in [lab.get(&path), lab.get(&path).header("range", "bytes=0-99"), lab.head(&path)] {
        let seen = call.await;
        assert_eq!((seen.done(), seen.header("cache-control")), ("hit", for_ever));
    }
    let bare = Fixture::new("");
    let path = blob(&bare);
    for call in [bare.get(&path), bare.get(&path).header("range", "bytes=0-99"), bare.head(&path)] {
        assert_eq!(call.await.header("cache-control"), never, "without a store nobody verifies it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_miss_ask_once() {
    let lab = Fixture::caching("");
    let path = format!("/v2/a/b/blobs/sha256:{}", "5".repeat(64));
    lab.net.fault("GET", "/blobs/", 99, Fault::SayLate(Duration::from_secs(1), Answer::new(404)));
    let begun = lab.now();
    let all = join_all((0..100).map(|_| async { lab.get(&path).await })).await;
    assert!(all.iter().all(|seen| seen.status == 404), "{:?}", all.last());
    assert_eq!((gets(&lab), lab.now().since(begun).as_secs()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_cached_nobody_waits_for_another() {
    let store = MemoryStore::new(1_000_000, Arc::new(TokioClock::start()));
    let lab = Fixture::set_up(&Setup { store: Some(Arc::new(store)), ..Setup::default() });
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 99, Fault::Late(Duration::from_secs(2)));
    let begun = lab.now();
    let all = join_all((0..20).map(|_| async { lab.get(&path).await })).await;
    assert!(all.iter().all(|seen| seen.status == 200 && seen.body == content()));
    assert!(lab.now().since(begun) < Duration::from_secs(6), "{:?}", lab.now().since(begun));
}

#[tokio::test(start_paused = true)]
async fn what_broke_off_is_let_go_after_its_time() {
    let store = Arc::new(MemoryStore::new(8_000_000, Arc::new(TokioClock::start())));
    let lab = Fixture::set_up(&Setup { store: Some(store.clone()), ..Setup::default() });
    let free = || async { registry_proxy_core::platform::Store::free(&*store).await.unwrap() };
    let before = free().await.unwrap();
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::BreakAfter(1_000_000));
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(Answer::new(500)));
    assert!(lab.get(&path).await.end.is_err());
    assert!(free().await.unwrap() + 3_000_000 <= before, "it is kept for the next who comes");
    lab.wait(11 * 60).await;
    assert!(lab.proxy.janitor().expect("a cache").once(false).await);
    assert!(free().await.unwrap() + 100_000 > before, "nobody came");
}

#[tokio::test(start_paused = true)]
async fn a_full_cache_is_passed_by() {
    let store = MemoryStore::new(1_000_000, Arc::new(TokioClock::start()));
    let lab = Fixture::set_up(&Setup { store: Some(Arc::new(store)), ..Setup::default() });
    let path = blob(&lab);
    for _ in 0..2 {
        let seen = lab.get(&path).await;
        assert_eq!((seen.status.as_u16(), seen.body.clone(), seen.done()), (200, content(), "relayed"));
    }
}
