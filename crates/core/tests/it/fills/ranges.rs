//! Parts of blobs: as clients ask for them, and as fills do to be faster.

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::Moment;
use registry_proxy_core::testing::{Answer, Fault, HookedStore, Pause, Pauses, Step};

use super::*;
use crate::clock::TokioClock;
use crate::fixture::{Setup, TroubledStore, troubled};

#[tokio::test(start_paused = true)]
async fn ranges_of_a_cold_blob_cost_what_they_are_and_the_rest_later() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    let range = |text: &str| lab.get(&path).header("range", text);
    let seen = range("bytes=1000000-1099999").await;
    assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, content().slice(1_000_000..1_100_000)));
    let seen = range("bytes=-1000").await;
    assert_eq!(seen.body, content().slice(SIZE - 1000..));
    lab.wait(1).await;
    lab.net.forget();
    // Inside what is here: nobody is asked.
    let seen = range("bytes=1000010-1000019").await;
    assert_eq!(
        (seen.status.as_u16(), seen.body.clone(), gets(&lab)),
        (206, content().slice(1_000_010..1_000_020), 0)
    );
    // And the whole fetches only what is not.
    let seen = lab.get(&path).await;
    assert_eq!(seen.body, content());
    let ranges: Vec<String> =
        lab.net.sent("GET", "/blobs/").iter().map(|sent| sent.header("range").to_owned()).collect();
    assert_eq!(ranges, ["bytes=0-999999", "bytes=1100000-2998999"]);
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn ranges_of_a_blob_that_arrives_are_served_from_it_where_they_are_near() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(2)));
    let ranges = async {
        lab.wait(1).await;
        let here = lab.get(&path).header("range", "bytes=100-199").await;
        let begun = lab.now();
        let near = lab.get(&path).header("range", "bytes=1500000-1500099").await;
        (here, near, lab.now().since(begun))
    };
    let (_, (here, near, waited)) = tokio::join!(async { lab.get(&path).await }, ranges);
    assert_eq!((here.done(), here.body.clone()), ("joined", content().slice(100..200)));
    assert_eq!((near.done(), near.body.clone()), ("joined", content().slice(1_500_000..1_500_100)));
    assert!(waited >= Duration::from_millis(900), "it waited for the fill");
    assert_eq!(gets(&lab), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_way_is_widened_by_ranges() {
    let lab = Fixture::caching("[cache.fill]\npart_size='64KiB'\nparts=4");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, Duration::from_secs(20)));
    let begun = lab.now();
    let seen = lab.get(&path).await;
    assert_eq!((seen.status.as_u16(), seen.body), (200, content()));
    assert!(gets(&lab) > 4, "{}", gets(&lab));
    // The first stream stood still for twenty seconds, and still has to bring its own part.
    assert!(lab.now().since(begun) < Duration::from_secs(26), "{:?}", lab.now().since(begun));
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_fails_while_others_are_being_written_leaves_no_hole() {
    let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
    let pause: Pause = Arc::new(|| Box::pin(tokio::time::sleep(Duration::from_millis(300))));
    let store = Arc::new(HookedStore::new(Arc::new(memory), Pauses(pause)));
    let text = "[cache.fill]\npart_size='64KiB'\nparts=4";
    let lab = Fixture::set_up(&Setup { text, store: Some(store), ..Setup::default() });
    let few = noise(300_000);
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", few.clone()));
    // The first stream is slow, and one of the parts beside it is refused for good.
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1000, Duration::from_secs(20)));
    lab.net.fault("GET", "/blobs/", 1, Fault::SayLate(Duration::from_millis(1050), Answer::new(404)));
    let seen = lab.get(&path).await;
    assert!(
        seen.status == 200 && seen.body == few,
        "the first stream brings it all the same: {}",
        seen.body.len()
    );
    assert!(gets(&lab) > 3, "parts were tried: {}", gets(&lab));
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

/// Whatever it is asked for, it sends the whole.
fn ignores_ranges(answer: &mut Answer) {
    *answer = Answer::new(200).header("content-length", &SIZE.to_string()).body(content());
}

#[tokio::test(start_paused = true)]
async fn a_registry_without_ranges_is_read_once() {
    let lab = Fixture::caching("[cache.fill]\npart_size='64KiB'\nparts=8");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, Duration::from_secs(10)));
    lab.net.fault("GET", "/blobs/", 99, Fault::change(ignores_ranges));
    let seen = lab.get(&path).await;
    assert!(seen.status == 200 && seen.body == content());
    assert!(gets(&lab) <= 8, "tried, and no more: {}", gets(&lab));
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn what_a_range_has_left_is_fetched_also_where_there_are_no_more_ranges() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    let part = lab.get(&path).header("range", "bytes=1000000-1099999").await;
    assert_eq!(part.body, content().slice(1_000_000..1_100_000));
    lab.wait(1).await;
    lab.net.fault("GET", "/blobs/", 99, Fault::change(ignores_ranges));
    let seen = lab.get(&path).await;
    assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.body.len(), seen.end);
    assert!(gets(&lab) <= 4, "{}", gets(&lab));
}

#[tokio::test(start_paused = true)]
async fn parts_that_are_refused_leave_the_first_stream_alone() {
    let lab = Fixture::caching("[cache.fill]\npart_size='64KiB'\nparts=8");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, Duration::from_secs(20)));
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(Answer::new(429)));
    let seen = lab.get(&path).await;
    assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.body.len(), seen.end);
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn without_leave_for_a_part_the_stream_is_not_cut() {
    let lab = Fixture::caching("[cache.fill]\npart_size='64KiB'\nparts=8\nparts_per_upstream=1");
    let path = blob(&lab);
    let other = lab.registry.put_blob("a/b", noise(2_000_001));
    // One part is all that this upstream may be asked for at once, and this one has it.
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, Duration::from_secs(20)));
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1000, Duration::from_secs(20)));
    let first = async { lab.get(&format!("/v2/a/b/blobs/{other}")).await };
    let second = async {
        lab.wait(1).await;
        lab.net.forget();
        lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, Duration::from_secs(3)));
        let seen = lab.get(&path).await;
        let digest = path.rsplit('/').next().unwrap();
        (seen, lab.net.sent("GET", digest).len())
    };
    let (first, (second, asked)) = tokio::join!(first, second);
    assert_eq!(first.body.len(), 2_000_001);
    assert_eq!((second.body.len(), asked), (SIZE, 1));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_blob_that_arrives_slowly_is_fetched_by_itself() {
    let lab = Fixture::caching("[cache.fill]\nparts=1");
    let large = noise(12_000_000);
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", large.clone()));
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(20)));
    let ranges = async {
        lab.wait(1).await;
        let begun = lab.now();
        let end = lab.get(&path).header("range", "bytes=-1000").await;
        // Of this one the beginning is here, and the rest is far behind what has arrived.
        lab.get(&path).header("range", "bytes=10000000-10000099").await;
        let part = lab.get(&path).header("range", "bytes=10000000-10999999").await;
        (end, part, lab.now().since(begun))
    };
    let (whole, (end, part, waited)) = tokio::join!(async { lab.get(&path).await }, ranges);
    assert!(whole.body == large);
    assert_eq!((end.status.as_u16(), end.body.clone()), (206, large.slice(large.len() - 1000..)));
    assert!(part.status == 206 && part.body == large.slice(10_000_000..11_000_000));
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

/// A proxy with a janitor and room for a megabyte, and a blob of 900,000 bytes.
fn with_little_room(capacity: u64) -> (Fixture, Arc<TroubledStore>, String) {
    let memory = MemoryStore::new(capacity, Arc::new(TokioClock::start()));
    let store = troubled(&memory, |_, _| None);
    let text = "[cache]\nmax_size='1MB'";
    let lab = Fixture::set_up(&Setup { text, store: Some(store.clone()), ..Setup::default() });
    tokio::spawn(lab.proxy.janitor().expect("a janitor").run());
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(900_000)));
    (lab, store, path)
}

#[tokio::test(start_paused = true)]
async fn ranges_that_are_cached_are_counted_as_they_come() {
    let (lab, store, _) = with_little_room(1 << 30);
    lab.wait(15).await;
    let looks = || store.hook.count(Step::Free, "");
    let before = looks();
    for size in [899_999, 899_998] {
        let other = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(size)));
        lab.get(&other).header("range", "bytes=100000-699999").await;
        // A second time none of it is new.
        lab.get(&other).header("range", "bytes=100000-700000").await;
        lab.wait(15).await;
        assert_eq!(looks() > before, size == 899_998, "after ranges of {size} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_that_finds_no_room_has_some_made() {
    let (lab, _, path) = with_little_room(1_000_000);
    for number in 0..3_usize {
        lab.get(&format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(300_000 + number)))).await;
        lab.wait(15).await;
    }
    let range = || lab.get(&path).header("range", "bytes=500000-699999");
    let seen = range().await;
    assert_eq!((seen.done(), &seen.body), ("relayed", &noise(900_000).slice(500_000..700_000)));
    lab.wait(15).await;
    assert_eq!(range().await.done(), "relayed");
    lab.wait(1).await;
    assert_eq!(range().await.done(), "joined", "the second time there was room for it");
}

#[tokio::test(start_paused = true)]
async fn ranges_that_nobody_reads_go_before_what_is_cached_the_oldest_first() {
    let (lab, store, _) = with_little_room(1 << 30);
    lab.wait(15).await;
    let path = |size| format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(size)));
    let (stored, older, newer) = (path(300_000), path(600_000), path(600_001));
    lab.get(&stored).await;
    let range = async |path: &str, text| lab.get(path).header("range", text).await.done().to_owned();
    range(&older, "bytes=100000-599999").await;
    lab.wait(60).await;
    range(&newer, "bytes=100000-399999").await;
    lab.wait(30).await;
    assert_eq!(store.hook.count(Step::Remove, ""), 0, "what is stored stays");
    assert_eq!(lab.get(&stored).await.done(), "hit");
    assert_eq!(range(&newer, "bytes=100010-100019").await, "joined");
    assert_eq!(range(&older, "bytes=100010-100019").await, "relayed", "it has gone");
}

/// 20 Mbit/s for each connection, and 100 ms there and back.
const FAR: Fault = Fault::Paced(Duration::from_millis(100), 2_500_000);

/// When the requests for blobs were sent, in milliseconds after `begun`.
fn sent_at(lab: &Fixture, begun: Moment) -> Vec<u128> {
    lab.net.sent("GET", "/blobs/").iter().map(|sent| sent.at.since(begun).as_millis()).collect()
}

/// Each byte came once, but for what the first two connections had read ahead where others took over.
fn is_once(lab: &Fixture, total: u64) {
    let delivered = lab.net.delivered("/blobs/");
    assert!((total..total + 2 * ((256 << 10) + 20_000)).contains(&delivered), "{delivered} of {total}");
}

#[tokio::test(start_paused = true)]
async fn over_a_slow_line_eight_connections_begin_within_60_ms_and_for_the_next_blob_at_once() {
    let lab = Fixture::caching("");
    let (first, second) = (noise(40_000_000), noise(40_000_001));
    let path = |content: &bytes::Bytes| format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", content.clone()));
    lab.net.fault("GET", "/blobs/", 99, FAR);
    let begun = lab.now();
    assert_eq!(lab.get(&path(&first)).await.body, first);
    // Sixteen seconds by one connection. Two by eight, 0.26 until the last of these brings something, and a little for one that asks
    // once more.
    let took = lab.now().since(begun);
    assert!(took <= Duration::from_millis(2450), "{took:?}");
    let sent = sent_at(&lab, begun);
    assert_eq!(sent[..8], [0, 130, 160, 160, 160, 160, 160, 160], "{sent:?}");
    is_once(&lab, 40_000_000);

    lab.wait(60).await;
    lab.net.forget();
    let begun = lab.now();
    assert_eq!(lab.get(&path(&second)).await.body, second);
    let sent = sent_at(&lab, begun);
    assert_eq!(sent[..8], [0, 100, 100, 100, 100, 100, 100, 100], "{sent:?}");
    assert!(lab.now().since(begun) <= Duration::from_millis(2350), "{:?}", lab.now().since(begun));
    is_once(&lab, 40_000_001);
}

#[tokio::test(start_paused = true)]
async fn a_line_of_200_mbit_is_asked_once_more_at_most_also_after_a_slow_line() {
    let lab = Fixture::caching("");
    let content = |more: usize| noise(40_000_000 + more);
    let path = |content: &bytes::Bytes| format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", content.clone()));
    let fast = Fault::Paced(Duration::from_millis(20), 25_000_000);
    lab.net.fault("GET", "/blobs/", 1, fast.clone());
    assert_eq!(lab.get(&path(&content(0))).await.status, 200);
    assert!(gets(&lab) <= 2, "{}", gets(&lab));
    // The line becomes slow, and fast again: the fill that finds that out is the last that begins with all connections.
    lab.net.heal();
    lab.net.fault("GET", "/blobs/", 99, FAR);
    assert_eq!(lab.get(&path(&content(1))).await.status, 200);
    lab.wait(1).await;
    lab.net.heal();
    lab.net.fault("GET", "/blobs/", 99, fast);
    assert_eq!(lab.get(&path(&content(2))).await.status, 200);
    lab.wait(1).await;
    lab.net.forget();
    assert_eq!(lab.get(&path(&content(3))).await.status, 200);
    assert!(gets(&lab) <= 2, "{}", gets(&lab));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_refused_parts_is_not_asked_for_them_at_once() {
    let lab = Fixture::caching("");
    let content = |more: usize| noise(20_000_000 + more);
    let path = |content: &bytes::Bytes| format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", content.clone()));
    lab.net.fault("GET", "/blobs/", 1, FAR);
    lab.net.fault("GET", "/blobs/", 1, FAR);
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(Answer::new(429)));
    assert_eq!(lab.get(&path(&content(0))).await.status, 200);
    lab.wait(60).await;
    lab.net.heal();
    lab.net.forget();
    lab.net.fault("GET", "/blobs/", 99, FAR);
    let begun = lab.now();
    assert_eq!(lab.get(&path(&content(1))).await.status, 200);
    assert_eq!(sent_at(&lab, begun)[..2], [0, 130]);
}
