//! One wrong answer spoils nothing: not the answers that come later, and not those of another upstream.

use bytes::Bytes;
use http::StatusCode;
use registry_proxy_core::testing::{Answer, Fault};

use super::town::{At, Cases, Mode, Town, Way, secret};
use crate::fixture::{Fixture, noise};

/// How an upstream answers once, before it is honest again.
#[derive(Debug, Clone, Copy)]
enum Slip {
    /// 206 with a total of fifty million.
    LongTotal,
    /// 206 with a total of two thousand.
    ShortTotal,
    /// 206 with the right total and other bytes than were asked for.
    OtherRange,
    /// 206 with the right total that ends early.
    EarlyEnd,
    /// 416 that says the blob has ten bytes.
    Unsatisfiable,
    /// 200 that carries a range, and only that part.
    PartAsWhole,
    /// 200 with a length of fifty million.
    LongWhole,
    /// 200 with a length of two thousand, and no more bytes.
    ShortWhole,
    /// 200 and nothing.
    Nothing,
    /// 200 with other bytes of the right length.
    OtherBytes,
}

const SLIPS: [Slip; 10] = [
    Slip::LongTotal,
    Slip::ShortTotal,
    Slip::OtherRange,
    Slip::EarlyEnd,
    Slip::Unsatisfiable,
    Slip::PartAsWhole,
    Slip::LongWhole,
    Slip::ShortWhole,
    Slip::Nothing,
    Slip::OtherBytes,
];

fn partial(content_range: &str, body: Bytes) -> Answer {
    Answer::new(206).header("content-range", content_range).body(body)
}

fn slip(slip: Slip) -> Answer {
    let bytes = secret();
    match slip {
        Slip::LongTotal => partial("bytes 0-99/50000000", bytes.slice(..100)),
        Slip::ShortTotal => partial("bytes 0-99/2000", bytes.slice(..100)),
        Slip::OtherRange => partial("bytes 100-199/5000", bytes.slice(100..200)),
        Slip::EarlyEnd => {
            let mut answer = partial("bytes 0-99/5000", bytes.slice(..50));
            answer.length = Some(100);
            answer
        }
        Slip::Unsatisfiable => Answer::new(416).header("content-range", "bytes */10"),
        Slip::PartAsWhole => Answer { status: StatusCode::OK, ..partial("bytes 0-9/5000", bytes.slice(..10)) },
        Slip::LongWhole => {
            let mut answer = Answer::new(200).body(bytes);
            answer.length = Some(50_000_000);
            answer
        }
        Slip::ShortWhole => Answer::new(200).body(bytes.slice(..2000)),
        Slip::Nothing => Answer::new(200),
        Slip::OtherBytes => Answer::new(200).body(vec![0xee; 5000]),
    }
}

/// What is asked while the upstream slips: the first 100 bytes, from the first byte on, or all.
const FIRST: [Option<&str>; 3] = [Some("0-99"), Some("0-"), None];

async fn ask(town: &Town, at: At, blob: &str, range: Option<&str>) -> crate::fixture::Seen {
    match range {
        None => town.get("alice", at, blob).await,
        Some(range) => town.range("alice", at, blob, range).await,
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_was_wrong_once_is_right_from_then_on() {
    let mut cases = Cases::default();
    for kind in SLIPS {
        for first in FIRST {
            for mode in [Mode::Open, Mode::UpstreamTokens] {
                let town = Town::new(mode, Way::Usual, "");
                let digest = town.lab.registry.put_blob("team/secret", secret());
                let (blob, why) = (format!("blobs/{digest}"), format!("{kind:?} to {first:?}, {mode:?}"));
                town.lab.net.fault("GET", &format!("/v2/team/secret/{blob}"), 1, Fault::Say(slip(kind)));
                ask(&town, At::Secret, &blob, first).await;
                // What was begun with that answer is over by then: nobody who joins it could know better.
                town.lab.wait(1).await;
                for (range, status, expected) in [
                    (None, 200, 0..5000),
                    (Some("10-99"), 206, 10..100),
                    (Some("4990-"), 206, 4990..5000),
                    (Some("0-"), 206, 0..5000),
                ] {
                    for time in 0..2 {
                        let seen = ask(&town, At::Secret, &blob, range).await;
                        if matches!((kind, first, range, time), (Slip::OtherBytes, Some(_), None, 0)) {
                            // Which bytes are wrong is known only when all are here, and by then some have gone out.
                            let is_whole = seen.end.is_ok() && seen.status == 200;
                            cases.check(!is_whole || seen.body == secret(), || why.clone());
                            continue;
                        }
                        cases.check_body(&seen, status, &secret()[expected.clone()], || {
                            format!("{why}, then {range:?}")
                        });
                    }
                }
            }
        }
    }
    cases.end();
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_wrong_all_the_time_spoils_nothing_at_another() {
    let mut cases = Cases::default();
    for kind in SLIPS {
        for mode in Mode::ALL {
            let town = Town::new(mode, Way::Usual, "");
            let digest = town.lab.registry.put_blob("team/secret", secret());
            let (blob, why) = (format!("blobs/{digest}"), format!("{kind:?}, {mode:?}"));
            town.says("GET", &blob, slip(kind));
            for range in FIRST {
                ask(&town, At::Liar, &blob, range).await;
                for (range, status, expected) in [(Some("10-99"), 206, 10..100), (None, 200, 0..5000)] {
                    let seen = ask(&town, At::Secret, &blob, range).await;
                    cases.check_body(&seen, status, &secret()[expected], || format!("{why}, {range:?}"));
                }
            }
        }
    }
    cases.end();
}

/// A third of it, and a byte.
const PART: usize = 1_000_001;

#[tokio::test(start_paused = true)]
async fn where_only_ranges_are_wrong_a_blob_comes_by_one_connection() {
    let mut cases = Cases::default();
    for shift in [0, 1] {
        let lab = Fixture::caching("[cache.fill]\npart_size='64KiB'\nparts=4");
        let content = noise(3 * PART);
        let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", content.clone()));
        // The first stream is slow: that is where ranges are asked beside it.
        lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, std::time::Duration::from_secs(20)));
        lab.net.fault(
            "GET",
            "/blobs/",
            usize::MAX,
            Fault::change(move |answer| {
                if answer.status == StatusCode::PARTIAL_CONTENT {
                    // Of the right length, and other bytes.
                    answer.body = answer.body.iter().map(|byte| byte.wrapping_add(1 + shift)).collect();
                }
            }),
        );
        let mut seen = lab.get(&path).await;
        for _ in 0..2 {
            if seen.end.is_ok() {
                break;
            }
            // The first client may see it break off: by then nobody knows which bytes were wrong.
            assert!(seen.body.len() < content.len());
            lab.wait(1).await;
            seen = lab.get(&path).await;
        }
        cases.check_body(&seen, 200, &content, || format!("shifted by {shift}"));
        lab.wait(1).await;
        let done = lab.get(&path).await.done().to_owned();
        cases.check(done == "hit", || format!("shifted by {shift}: {done}"));
    }
    cases.end();
}
