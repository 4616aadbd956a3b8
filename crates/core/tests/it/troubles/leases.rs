//! A store that gives no leases, now and then or for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use registry_proxy_core::cache::Key;
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::{Fault, Step};

use super::{keeping, memory};
use crate::fixture::{Call, Fixture, Trouble, noise, troubled, upstream};

/// A new blob, asked for once and then again.
async fn fills(lab: &Fixture, size: usize) {
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(size)));
    assert_eq!(lab.get(&path).await.done(), "filled");
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn a_store_without_leases_still_keeps_and_is_asked_for_them_ever_less() {
    let memory = memory().shared();
    let store = troubled(&memory, |_, key| key.starts_with("v1/leases/").then_some(Trouble::Fails));
    let lab = keeping(&store, "");
    let mut asked = Vec::new();
    for second in 0..80 {
        fills(&lab, 1000 + second).await;
        asked.push(store.hook.count(Step::Write, "v1/leases/"));
    }
    let at = |count| asked.iter().position(|asked| *asked == count);
    assert_eq!([1, 2, 3, 4, 5].map(at), [Some(0), Some(10), Some(30), Some(70), None]);
    let mut seldom = 0;
    for minute in 0..600 {
        lab.wait(59).await;
        fills(&lab, 2000 + minute).await;
        let count = store.hook.count(Step::Write, "v1/leases/");
        seldom = if minute < 300 { count } else { seldom };
    }
    assert_eq!(
        store.hook.count(Step::Write, "v1/leases/") - seldom,
        5,
        "once an hour, and not left alone for ever"
    );
}

#[tokio::test(start_paused = true)]
async fn leases_that_fail_a_moment_are_asked_for_again_soon() {
    let memory = memory().shared();
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let store = troubled(&memory, move |_, key| {
        (key.starts_with("v1/leases/") && failing.load(Ordering::Relaxed)).then_some(Trouble::Fails)
    });
    let lab = keeping(&store, "");
    let mut size = 1000;
    for round in 1..4 {
        // Many at once that fail are one failure.
        fails.store(true, Ordering::Relaxed);
        let paths: Vec<String> = (1..8)
            .map(|more| format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(size + more))))
            .collect();
        join_all(paths.iter().map(|path| lab.get(path).into_future())).await;
        fails.store(false, Ordering::Relaxed);
        let before = store.hook.count(Step::Write, "v1/leases/");
        lab.wait(10).await;
        fills(&lab, size + 10).await;
        assert_eq!(store.hook.count(Step::Write, "v1/leases/") - before, 1, "round {round}");
        size += 1000;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_may_not_take_leases_is_left_alone_for_an_hour() {
    let memory = memory().shared();
    let store = troubled(&memory, |_, key| key.starts_with("v1/leases/").then_some(Trouble::Denied));
    let lab = keeping(&store, "");
    for minute in 0..59 {
        fills(&lab, 1000 + minute).await;
        lab.wait(59).await;
    }
    assert_eq!(store.hook.count(Step::Write, "v1/leases/"), 1, "it is not asked each time");
    lab.wait(60).await;
    fills(&lab, 2000).await;
    assert_eq!(store.hook.count(Step::Write, "v1/leases/"), 2, "and not left alone for ever");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_lease_is_written_leaves_none_behind() {
    let memory = memory().shared();
    // A disk goes on with what was begun, whoever waits for it.
    let slow = |step, key: &str| step == Step::Written && key.starts_with("v1/leases/");
    let store =
        troubled(&memory, move |step, key| slow(step, key).then_some(Trouble::Takes(Duration::from_secs(2))));
    let lab = keeping(&store, "");
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(5000)));
    for _ in 0..3 {
        tokio::select! {
            _ = lab.get(&path).into_future() => panic!("its lease is not written yet"),
            () = lab.wait(1) => {}
        }
        lab.wait(3).await;
        let key = Key::lease(&Digest::sha256(&noise(5000)), 1);
        assert_eq!(memory.read(&key).await.expect("it works"), None);
    }
    let begun = lab.now();
    assert_eq!(lab.get(&path).await.done(), "filled");
    assert!(lab.now().since(begun) <= Duration::from_secs(2), "{:?}", lab.now().since(begun));
}

/// A blob that takes so long to come, wanted by two processes on one store, one a second after the other: how long the
/// second waited for its first byte, and how often the registry was asked for it.
async fn second_of_two(seconds: u64) -> (Duration, usize) {
    const BLOB: usize = 300_000;
    const PARTS: &str = "[cache.fill]\nparts = 1";
    let memory = memory().shared();
    let lab = keeping(&troubled(&memory, |_, _| None), PARTS);
    let layer = lab.registry.put_blob("a/b", noise(BLOB));
    let path = format!("/v2/a/b/blobs/{layer}");
    let steps = usize::try_from(seconds).expect("a few");
    let stalls = (1..=steps).map(|_| (BLOB / (steps + 1), Duration::from_secs(1))).collect();
    lab.net.fault("GET", "/blobs/", 1, Fault::Stalls(stalls));
    let other = lab.beside(&format!("{PARTS}\n{}", upstream("")), lab.net.clone(), 99);
    let first = tokio::spawn(lab.get(&path).into_future());
    lab.wait(1).await;
    let begun = lab.now();
    let second = Call::new(&other, Method::GET, &path).await;
    let waited = lab.now().since(begun);
    assert!(second.body == noise(BLOB) && first.await.expect("a task").body == noise(BLOB));
    (waited, lab.net.sent("GET", "/blobs/").len())
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_another_process_soon_ends_is_waited_for() {
    let (waited, asked) = second_of_two(8).await;
    assert_eq!(asked, 1);
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_another_process_does_not_end_in_time_is_not_waited_for() {
    let (waited, asked) = second_of_two(60).await;
    assert_eq!(asked, 2, "it would have been fetched all the same");
    assert!(waited < Duration::from_secs(5), "and was waited for in vain: {waited:?}");
}
