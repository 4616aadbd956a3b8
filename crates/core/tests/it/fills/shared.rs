//! Ranges of a blob that is not here: each byte is fetched once, however many want it, and no other is.

use std::future::IntoFuture as _;

use futures_util::future::join_all;

use super::*;
use crate::fixture::Seen;

const LARGE: usize = 20_000_000;

fn large() -> bytes::Bytes {
    static LARGE_CONTENT: std::sync::OnceLock<bytes::Bytes> = std::sync::OnceLock::new();
    LARGE_CONTENT.get_or_init(|| noise(LARGE)).clone()
}

fn large_blob(lab: &Fixture) -> String {
    format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", large()))
}

/// What they see who ask for these ranges at once; each sees what it asked for.
async fn all(lab: &Fixture, path: &str, content: &bytes::Bytes, ranges: &[(usize, Option<usize>)]) -> Vec<Seen> {
    let asked = ranges.iter().map(|(first, end)| {
        let end = end.map(|end| (end - 1).to_string()).unwrap_or_default();
        lab.get(path).header("range", &format!("bytes={first}-{end}")).into_future()
    });
    let seen = join_all(asked).await;
    for ((first, end), seen) in ranges.iter().zip(&seen) {
        let end = end.unwrap_or(content.len());
        let content_range = format!("bytes {first}-{}/{}", end - 1, content.len());
        assert_eq!((seen.status.as_u16(), seen.header("content-range")), (206, &*content_range));
        assert!(seen.end.is_ok() && seen.body == content.slice(*first..end), "{content_range} {:?}", seen.end);
    }
    seen
}

/// At most a twentieth more than these bytes.
fn assert_cost(lab: &Fixture, bytes: usize) {
    let cost = lab.net.delivered("/blobs/");
    assert!(cost >= bytes as u64 && cost <= bytes as u64 * 21 / 20, "{cost} for {bytes}");
}

#[tokio::test(start_paused = true)]
async fn eight_who_begin_at_the_beginning_cost_one_blob() {
    for fault in [
        None,
        Some(Fault::Late(Duration::from_secs(1))),
        Some(Fault::StallAfter(1_000_000, Duration::from_secs(9))),
    ] {
        let lab = Fixture::caching("[cache.fill]\nparts=1");
        let path = blob(&lab);
        if let Some(fault) = fault {
            lab.net.fault("GET", "/blobs/", 1, fault);
        }
        let seen = all(&lab, &path, &content(), &[(0, None); 8]).await;
        assert_eq!(seen.iter().filter(|seen| seen.done() == "filled").count(), 1);
        assert_eq!(seen.iter().filter(|seen| seen.done() == "joined").count(), 7);
        assert_eq!((gets(&lab), lab.net.delivered("/blobs/")), (1, SIZE as u64));
        lab.wait(1).await;
        let seen = lab.get(&path).header("range", "bytes=0-").await;
        assert_eq!((seen.done(), seen.header("content-range")), ("hit", "bytes 0-2999999/3000000"));
    }
}

#[tokio::test(start_paused = true)]
async fn eight_who_want_the_same_range_cost_one() {
    for fault in
        [None, Some(Fault::Late(Duration::from_secs(1))), Some(Fault::StallAfter(900, Duration::from_secs(9)))]
    {
        let lab = Fixture::caching("");
        let path = blob(&lab);
        if let Some(fault) = fault {
            lab.net.fault("GET", "/blobs/", 1, fault);
        }
        all(&lab, &path, &content(), &[(1_000_000, Some(2_000_000)); 8]).await;
        assert_eq!((gets(&lab), lab.net.delivered("/blobs/")), (1, 1_000_000));
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_that_overlap_cost_what_they_are_together() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    let ranges = [
        (500_000, Some(1_500_000)),
        (0, Some(1_000_000)),
        (1_400_000, Some(1_600_000)),
        (500_000, Some(500_001)),
        (2_900_000, Some(3_000_000)),
    ];
    all(&lab, &path, &content(), &ranges).await;
    assert_cost(&lab, 1_700_000);
    // And again, with all of it here.
    all(&lab, &path, &content(), &ranges).await;
    assert_cost(&lab, 1_700_000);
}

#[tokio::test(start_paused = true)]
async fn a_range_to_the_end_costs_no_more_than_that() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    all(&lab, &path, &content(), &[(2_000_000, None), (2_500_000, None), (2_900_000, None)]).await;
    assert_eq!(lab.net.delivered("/blobs/"), 1_000_000);
    // What lies before it comes, and all of it is kept.
    all(&lab, &path, &content(), &[(0, Some(2_000_000))]).await;
    assert_eq!(lab.net.delivered("/blobs/"), SIZE as u64);
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn any_mix_of_ranges_and_pulls_that_covers_a_blob_costs_one() {
    // A small generator, so that each round has an order of its own.
    let mut state: u64 = 7;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for round in 0..40 {
        let lab = Fixture::caching("");
        let path = blob(&lab);
        let mut ranges: Vec<(usize, Option<usize>)> = (0..10)
            .map(|_| {
                let first = random(SIZE - 1);
                (first, (random(3) > 0).then(|| first + 1 + random(SIZE - first)))
            })
            .collect();
        ranges.insert(random(10), (0, (round % 2 == 0).then_some(SIZE)));
        match round % 3 {
            0 => {}
            1 => lab.net.fault("GET", "/blobs/", 3, Fault::Stalls(vec![(300_000, Duration::from_millis(700)); 4])),
            _ => lab.net.fault("GET", "/blobs/", 2, Fault::Late(Duration::from_millis(900))),
        }
        let pull = async {
            lab.pause(Duration::from_millis(300)).await;
            if round % 5 == 0 {
                assert_eq!(lab.get(&path).await.body, content());
            }
        };
        let content = content();
        tokio::join!(all(&lab, &path, &content, &ranges), pull);
        let cost = lab.net.delivered("/blobs/");
        assert!(cost <= SIZE as u64 * 21 / 20, "round {round}: {cost} for {ranges:?}");
        lab.wait(1).await;
        assert_eq!(lab.get(&path).await.done(), "hit", "round {round}");
    }
}

/// As containerd 2 does: the beginning first, and then each connection from where its part begins to the end, of which
/// it reads its part and leaves.
async fn in_parallel(lab: &Fixture, path: &str) {
    const PART: usize = 2_000_000;
    let part = |first: usize| async move {
        let end = LARGE.min(first + PART);
        let response = lab.begin_range(path, &format!("bytes={first}-")).await;
        assert_eq!(response.status(), 206);
        let (mut body, mut got) = (response.into_body(), Vec::new());
        while got.len() < end - first {
            let piece = body.chunk().await.expect("more").expect("it goes on");
            got.extend_from_slice(&piece);
        }
        got.truncate(end - first);
        assert!(large()[first..end] == got[..], "from {first}");
    };
    let rest = async {
        lab.pause(Duration::from_millis(50)).await;
        join_all((1..LARGE / PART).map(|number| part(number * PART))).await;
    };
    tokio::join!(part(0), rest);
}

#[tokio::test(start_paused = true)]
async fn whoever_fetches_in_parallel_and_leaves_early_costs_one_blob() {
    for fault in [
        None,
        // A connection brings two million bytes a second.
        Some(Fault::Stalls(vec![(200_000, Duration::from_millis(100)); 100])),
    ] {
        let lab = Fixture::caching("");
        let path = large_blob(&lab);
        if let Some(fault) = fault {
            lab.net.fault("GET", "/blobs/", 99, fault);
        }
        tokio::join!(in_parallel(&lab, &path), in_parallel(&lab, &path));
        lab.wait(20).await;
        assert_cost(&lab, LARGE);
        assert_eq!(lab.get(&path).await.done(), "hit");
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_has_its_head_within_two_seconds_whatever_others_wait_for() {
    let ranges =
        ["bytes=0-", "bytes=0-99", "bytes=1000-", "bytes=9000000-", "bytes=19000000-19000099", "bytes=-5"];
    for (is_whole, first, fault) in [
        (true, "", Fault::StallAfter(500, Duration::from_secs(24))),
        (true, "", Fault::StallAfter(0, Duration::from_secs(24))),
        (true, "", Fault::Late(Duration::from_secs(9))),
        (false, "bytes=0-", Fault::StallAfter(500, Duration::from_secs(24))),
        (false, "bytes=0-9999", Fault::StallAfter(50, Duration::from_secs(24))),
        (false, "bytes=0-9999", Fault::Late(Duration::from_secs(9))),
        (false, "bytes=500-", Fault::StallAfter(0, Duration::from_secs(24))),
    ] {
        for range in ranges {
            let lab = Fixture::caching("[cache.fill]\nparts=1");
            let path = large_blob(&lab);
            lab.net.fault("GET", "/blobs/", 1, fault.clone());
            let holds = async {
                if is_whole {
                    lab.begin(&path).await;
                } else {
                    lab.begin_range(&path, first).await;
                }
                std::future::pending::<()>().await;
            };
            let asks = async {
                lab.wait(1).await;
                let begun = lab.now();
                let response = lab.begin_range(&path, range).await;
                assert_eq!(response.status(), 206, "{range} beside {first}");
                lab.now().since(begun)
            };
            let took = tokio::select! {
                took = asks => took,
                () = holds => unreachable!("it never ends"),
            };
            assert!(took <= Duration::from_secs(2), "{range} beside {first}: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_that_leaves_while_it_asks_leaves_the_others_nothing_to_wait_for() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::Late(Duration::from_secs(9)));
    let leaves = async {
        tokio::select! {
            _ = lab.begin_range(&path, "bytes=1000-1999") => panic!("it cannot be here yet"),
            () = lab.pause(Duration::from_millis(500)) => {}
        }
    };
    let (begun, content) = (lab.now(), content());
    tokio::join!(leaves, all(&lab, &path, &content, &[(1000, Some(2000)), (1500, Some(2500))]));
    assert!(lab.now().since(begun) < Duration::from_secs(1), "{:?}", lab.now().since(begun));
}

#[tokio::test(start_paused = true)]
async fn a_registry_without_ranges_is_asked_once_for_many_of_them() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    let whole = Answer::new(200).body(content());
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(whole));
    all(&lab, &path, &content(), &[(1000, Some(2000)), (1500, Some(2500)), (2_000_000, None), (0, None)]).await;
    assert_cost(&lab, SIZE);
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn many_who_want_a_range_of_what_is_missing_ask_once() {
    let lab = Fixture::caching("");
    let path = format!("/v2/a/b/blobs/sha256:{}", "5".repeat(64));
    lab.net.fault("GET", "/blobs/", 99, Fault::SayLate(Duration::from_secs(1), Answer::new(404)));
    for range in ["bytes=0-", "bytes=5-9", "bytes=5-"] {
        let all = join_all((0..20).map(|_| lab.get(&path).header("range", range).into_future())).await;
        assert!(all.iter().all(|seen| seen.status == 404), "{:?}", all.last());
    }
    assert_eq!(gets(&lab), 1);
}
