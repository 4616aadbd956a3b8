//! Blobs that are held against their digest after a start, from a store that takes its time.

use std::time::Duration;

use futures_util::future::join_all;
use registry_proxy_core::testing::{Fault, Step};

use super::{V1, keeping, memory};
use crate::fixture::{Fixture, Trouble, image, noise, troubled};

/// How long a piece may come later than the one before it.
const SLOW: Duration = Duration::from_secs(4);

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_up_does_not_begin_the_verifying_anew() {
    let memory = memory();
    let store = troubled(&memory, |step, _| (step == Step::OpenWhole).then_some(Trouble::Takes(SLOW)));
    let mut lab = keeping(&store, "[cache.fill]\nwait='1s'");
    let (_, layer) = image(&lab, "a/b", "1");
    let path = format!("/v2/a/b/blobs/{layer}");
    lab.get(V1).await;
    assert_eq!(lab.get(&path).await.done(), "filled");
    lab.wait(1).await;
    lab.restart("[cache.fill]\nwait='1s'");
    let before = store.hook.count(Step::OpenWhole, "v1/blobs/");
    let range = || lab.get(&path).header("range", "bytes=10-19");
    let gone = tokio::time::timeout(Duration::from_millis(500), range().into_future()).await;
    assert!(gone.is_err(), "it is not known yet");
    // The registry has it, and nobody waits for the whole of it longer than `cache.fill.wait`.
    let seen = lab.head(&path).await;
    assert_eq!((seen.status.as_u16(), seen.done()), (200, "relayed"));
    assert_eq!(range().await.status, 206);
    lab.net.fault("*", "", 99, Fault::Refuse);
    lab.wait(10).await;
    let seen = range().await;
    assert_eq!((seen.done(), &seen.body), ("hit", &noise(5000).slice(10..20)));
    assert_eq!(lab.head(&path).await.done(), "hit");
    assert_eq!(store.hook.count(Step::OpenWhole, "v1/blobs/") - before, 1, "it is read once");
}

/// As many blobs in the store, none of which has been verified since the start: what asks for a range of each.
async fn unverified(lab: &mut Fixture, count: usize) -> Vec<String> {
    let mut paths = Vec::new();
    for size in 0..count {
        let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(5000 + size)));
        lab.get(&path).await;
        paths.push(path);
    }
    lab.wait(1).await;
    lab.restart("");
    paths
}

#[tokio::test(start_paused = true)]
async fn only_a_few_blobs_are_verified_at_once_and_each_has_its_turn() {
    let memory = memory();
    let store = troubled(&memory, |step, _| (step == Step::OpenWhole).then_some(Trouble::Takes(SLOW)));
    let mut lab = keeping(&store, "");
    let paths = unverified(&mut lab, 40).await;
    let reads = || store.hook.count(Step::OpenWhole, "v1/blobs/");
    let ranges = |paths: &[String]| {
        let ranges = paths.iter().map(|path| lab.get(path).header("range", "bytes=10-19").into_future());
        join_all(ranges.collect::<Vec<_>>())
    };
    let gone = tokio::time::timeout(Duration::from_secs(1), ranges(&paths)).await;
    assert!(gone.is_err());
    assert_eq!(reads(), 3);
    lab.wait(20).await;
    assert_eq!(reads(), 3, "whose clients have gone waits for no turn");
    let begun = lab.now();
    let seen = ranges(&paths[20..28]).await;
    assert!(seen.iter().all(|seen| seen.status == 206 && seen.done() == "hit"), "{seen:?}");
    assert_eq!((reads(), lab.now().since(begun)), (11, 3 * SLOW));
    let begun = lab.now();
    let seen = ranges(&paths).await;
    assert!(seen.iter().all(|seen| seen.status == 206), "{seen:?}");
    assert!(lab.now().since(begun) < Duration::from_secs(16), "who has no turn in time is served from elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_is_waited_for_once() {
    let memory = memory();
    let hangs = |step, _: &str| (step == Step::OpenWhole).then_some(Trouble::Takes(Duration::from_hours(9)));
    let store = troubled(&memory, hangs);
    let mut lab = keeping(&store, "");
    let paths = unverified(&mut lab, 1).await;
    let mut waited = Vec::new();
    for _ in 0..3 {
        let begun = lab.now();
        let seen = lab.get(&paths[0]).header("range", "bytes=10-19").await;
        assert_eq!((seen.status.as_u16(), &seen.body), (206, &noise(5000).slice(10..20)));
        waited.push(lab.now().since(begun).as_secs());
    }
    assert_eq!(waited, [5, 0, 0]);
}
