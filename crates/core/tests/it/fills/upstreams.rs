//! One blob at several upstreams, of which one is wrong or away.

use registry_proxy_core::testing::Registry;

use super::*;
use crate::fixture::upstream;

const OTHER: &str = "https://other.example.net";

fn two() -> (Fixture, String, String) {
    two_with("")
}

/// With more keys of the other one.
fn two_with(keys: &str) -> (Fixture, String, String) {
    let other = format!("[[upstream]]\nname='other.example'\nurls=['{OTHER}']\n{keys}");
    let lab = Fixture::caching(&format!("{}\n{other}", upstream("")));
    let digest = lab.registry.put_blob("a/b", content());
    let registry = Registry::default();
    registry.put_blob("a/b", content());
    lab.net.serve(OTHER, registry);
    (lab, format!("/v2/a/b/blobs/{digest}"), format!("/v2/other.example/a/b/blobs/{digest}"))
}

#[tokio::test(start_paused = true)]
async fn a_range_of_another_upstream_is_not_believed() {
    let (lab, path, other) = two();
    let wrong = bytes::Bytes::from(vec![7; 100]);
    let answer = Answer::new(206).header("content-range", "bytes 0-99/200").body(wrong.clone());
    lab.net.fault("GET", OTHER, 1, Fault::Say(answer));
    let seen = lab.get(&other).header("range", "bytes=0-99").await;
    assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, wrong));
    lab.wait(1).await;
    let seen = lab.get(&path).header("range", "bytes=0-99").await;
    assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, content().slice(..100)));
    let seen = lab.get(&path).header("range", "bytes=2000-2099").await;
    assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, content().slice(2000..2100)), "no 416 either");
    let seen = lab.get(&path).await;
    assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.body.len(), seen.end);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_one_upstream_is_not_anothers() {
    let (lab, path, other) = two();
    lab.net.fault("GET", OTHER, 99, Fault::SayLate(Duration::from_secs(1), Answer::new(500)));
    let fails = join_all((0..4).map(|_| async { lab.get(&other).await }));
    let waits = async {
        lab.wait(0).await;
        lab.get(&path).await
    };
    let (failed, seen) = tokio::join!(fails, waits);
    assert!(failed.iter().all(|seen| seen.status == 504 || seen.status == 200), "{failed:?}");
    assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.status, seen.end);
}

fn gets_of(lab: &Fixture, origin: &str) -> usize {
    lab.net.sent("GET", origin).iter().filter(|sent| sent.url.contains("/blobs/")).count()
}

/// A client of the other one, and two seconds later one of this one: what this one saw, after how long.
async fn beside(lab: &Fixture, other: &str, path: &str) -> (crate::fixture::Seen, Duration) {
    let second = async {
        lab.wait(2).await;
        let begun = lab.now();
        let seen = lab.get(path).await;
        (seen, lab.now().since(begun))
    };
    tokio::select! {
        seen = second => seen,
        () = async { lab.get(other).await; std::future::pending().await } => unreachable!("it never ends"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_drips_holds_no_client_of_another_upstream() {
    let (lab, path, other) = two();
    // Ten bytes a second.
    let drip = vec![(10, Duration::from_secs(1)); 10_000];
    lab.net.fault("GET", OTHER, 1, Fault::Stalls(drip));
    let (seen, took) = beside(&lab, &other, &path).await;
    assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.status, seen.end);
    assert!(took <= Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_never_begins_holds_no_client_of_another_upstream() {
    for fault in
        [Fault::Silence, Fault::StallAfter(0, Duration::from_secs(20)), Fault::Late(Duration::from_secs(9))]
    {
        let (lab, path, other) = two();
        lab.net.fault("GET", OTHER, 9, fault);
        let (seen, took) = beside(&lab, &other, &path).await;
        assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.status, seen.end);
        assert!(took <= Duration::from_secs(2), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_of_another_length_is_not_waited_for() {
    let (lab, path, other) = two();
    let longer = Answer::new(200).body(noise(SIZE + 1));
    lab.net.fault("GET", OTHER, 1, Fault::change(move |answer| *answer = longer.clone()));
    lab.net.fault("GET", OTHER, 1, Fault::Silence);
    let (seen, took) = beside(&lab, &other, &path).await;
    assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.status, seen.end);
    assert_eq!((seen.header("content-length"), took), ("3000000", Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_fill_of_wrong_bytes_is_no_harm_to_clients_of_another_upstream() {
    let (lab, path, other) = two();
    let mut wrong = content().to_vec();
    wrong[7] ^= 1;
    let half = Duration::from_millis(500);
    let fault = Fault::change(move |answer| answer.body = wrong.clone().into());
    lab.net.fault("GET", OTHER, 1, fault);
    let fast = async { lab.get(&other).await };
    let seen = async {
        lab.pause(half).await;
        lab.get(&path).await
    };
    let (wrong, seen) = tokio::join!(fast, seen);
    assert!(wrong.status == 504 || wrong.end.is_err());
    assert!(seen.status == 200 && seen.end.is_ok() && seen.body == content(), "{} {:?}", seen.status, seen.end);
}

/// It comes with more than a megabyte a second, for about three seconds.
fn steady() -> Fault {
    Fault::Stalls(vec![(600_000, Duration::from_millis(500)); 5])
}

#[tokio::test(start_paused = true)]
async fn what_another_upstream_gives_to_everybody_is_fetched_once() {
    let (lab, path, other) = two();
    lab.net.fault("GET", OTHER, 1, steady());
    let late = async {
        lab.pause(Duration::from_millis(100)).await;
        lab.get(&path).await
    };
    let (first, late) = tokio::join!(async { lab.get(&other).await }, late);
    assert_eq!((first.body, late.body.clone(), late.done()), (content(), content(), "joined"));
    assert_eq!((gets_of(&lab, OTHER), gets_of(&lab, crate::fixture::ORIGIN)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_another_upstream_gives_to_a_login_is_for_its_own_clients_alone() {
    let (lab, path, other) = two_with("username='u'\npassword='p'");
    lab.net.fault("GET", OTHER, 1, steady());
    let late = async {
        lab.pause(Duration::from_millis(100)).await;
        lab.get(&path).await
    };
    let (first, late) = tokio::join!(async { lab.get(&other).await }, late);
    assert_eq!((first.body, late.body.clone(), late.done()), (content(), content(), "filled"));
    assert_eq!((gets_of(&lab, OTHER), gets_of(&lab, crate::fixture::ORIGIN)), (1, 1));
}
