//! Registries that limit the rate of requests, or whose pulls are nearly used up.

use std::time::Duration;

use registry_proxy_core::testing::{Answer, Fault};
use registry_proxy_core::warm::{WarmEvent, WarmRequest};

use super::{Warmed, fetched, single, wanted, warm};
use crate::fixture::Fixture;

fn limited(seconds: &str) -> Fault {
    Fault::Say(Answer::new(429).header("retry-after", seconds))
}

fn waits(warmed: &Warmed) -> Vec<u64> {
    let wait = |event: &WarmEvent| match event {
        WarmEvent::Waiting { seconds, .. } => Some(*seconds),
        _ => None,
    };
    warmed.events.iter().filter_map(wait).collect()
}

#[tokio::test(start_paused = true)]
async fn a_429_in_the_middle_is_waited_for_while_it_ends_in_time() {
    for part in ["/blobs/", "/manifests/"] {
        let lab = Fixture::caching("");
        let (_, blobs) = single(&lab, "a/b", "v1", &[5000, 6000]);
        lab.net.fault("GET", part, 1, limited("30"));
        let before = lab.now();
        let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
        assert_eq!(warmed.totals.complete, 1, "{:?}", warmed.missing(1));
        assert!(waits(&warmed).contains(&30), "{:?}", waits(&warmed));
        let took = lab.now().since(before);
        assert!(took >= Duration::from_secs(30) && took < Duration::from_mins(1), "{took:?}");
        let sum: usize = blobs.iter().map(|digest| fetched(&lab, digest)).sum();
        assert_eq!(sum, blobs.len() + usize::from(part == "/blobs/"), "one request was in vain");
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_that_lasts_longer_is_told_with_its_end_and_nothing_more_is_asked() {
    let lab = Fixture::caching("");
    single(&lab, "a/b", "v1", &[5000]);
    lab.net.fault("GET", "/manifests/", 99, limited("300"));
    let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    let image = warmed.images()[0];
    assert_eq!((image.is_complete, image.missing.len(), waits(&warmed)), (false, 1, vec![]));
    assert_eq!(image.missing[0].retry_after_seconds, Some(300));
    let why = &image.missing[0].why;
    assert!(why.starts_with("the registry limits the rate of requests; try again in 5m, at "), "{why}");
    assert_eq!(fetched(&lab, "/manifests/v1"), 1);
    // Whoever has the patience gets it.
    lab.net.heal();
    let patient = WarmRequest { wait_seconds: 3600, ..wanted(&["a/b:v1"]) };
    let warmed = warm(&lab, "", &patient).await;
    assert_eq!((warmed.totals.complete, fetched(&lab, "/manifests/v1")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_last_pulls_of_an_account_stay_for_clients() {
    let lab = Fixture::caching("");
    for repository in ["a/one", "a/two"] {
        single(&lab, repository, "v1", &[5000]);
    }
    lab.net.fault(
        "*",
        "/manifests/",
        999,
        Fault::change(|answer| {
            for (name, value) in [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "2;w=21600")] {
                answer.headers.insert(name, value.parse().expect("a header's value"));
            }
        }),
    );
    let warmed = warm(&lab, "", &wanted(&["a/one:v1", "a/two:v1"])).await;
    let [one, two] = warmed.images()[..] else { panic!("two images") };
    assert!(one.is_complete, "its blobs cost no pull: {one:?}");
    assert_eq!((two.is_complete, two.missing.len(), fetched(&lab, "/a/two/")), (false, 1, 0));
    let missing = &two.missing[0];
    assert!(missing.why.contains("kept for clients; try again in "), "{}", missing.why);
    assert!(missing.retry_after_seconds.is_some_and(|left| left > 21_500 && left <= 21_600), "{missing:?}");
    // What is cached costs none, and a client gets one of the last.
    assert_eq!(warm(&lab, "", &wanted(&["a/one:v1"])).await.totals.complete, 1);
    assert_eq!(lab.get("/v2/a/two/manifests/v1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_says_to_come_at_once_is_not_asked_without_end() {
    let lab = Fixture::caching("");
    single(&lab, "a/b", "v1", &[5000]);
    lab.net.fault("GET", "/manifests/", usize::MAX, limited("0"));
    let before = lab.now();
    let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    assert_eq!(warmed.totals.complete, 0);
    assert!(lab.now().since(before) < Duration::from_mins(2));
}
