//! For whom a 429 counts, and what is waited for: a 429 or 503 that is over soon.

use std::time::Duration;

use futures_util::future::{join, join_all};
use registry_proxy_core::testing::{Answer, Fault, Registry};

use crate::fixture::{Call, Fixture, OCI_MANIFEST, ORIGIN, REALM, STORAGE, image, manifest_of, noise, upstream};

const V1: &str = "/v2/a/b/manifests/v1";

fn say(status: u16, retry_after: &str) -> Fault {
    Fault::Say(Answer::new(status).header("retry-after", retry_after))
}

/// With an image in each of these repositories.
fn with_repositories(text: &str, names: &[&str]) -> Fixture {
    let lab = Fixture::new(text);
    for name in names {
        lab.registry.put_manifest(name, "v1", OCI_MANIFEST, manifest_of(10));
    }
    lab
}

async fn status(lab: &Fixture, repository: &str) -> u16 {
    lab.get(&format!("/v2/{repository}/manifests/v1")).await.status.as_u16()
}

#[tokio::test(start_paused = true)]
async fn a_429_of_one_repository_closes_that_one_and_no_other() {
    let lab = with_repositories("", &["a/b", "c/d"]);
    lab.net.fault("*", "/v2/a/b/", 99, say(429, "30"));
    for _ in 0..3 {
        assert_eq!((status(&lab, "a/b").await, status(&lab, "c/d").await), (429, 200));
    }
    assert_eq!(lab.net.sent("*", "/v2/a/b/").len(), 1, "the limited one is not asked again");
    assert_eq!(lab.net.sent("*", "/v2/c/d/").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_429_that_a_second_repository_hears_closes_all_of_the_account() {
    let lab = with_repositories("", &["a/b", "c/d", "e/f"]);
    for (name, seconds) in [("a/b", "30"), ("c/d", "20")] {
        lab.net.fault("*", &format!("/v2/{name}/"), 1, say(429, seconds));
        assert_eq!(status(&lab, name).await, 429);
    }
    let seen = lab.get("/v2/e/f/manifests/v1").await;
    assert_eq!((seen.status.as_u16(), seen.header("retry-after")), (429, "20"), "as the second was told");
    assert_eq!(lab.net.log().len(), 2);
    lab.wait(20).await;
    assert_eq!(status(&lab, "e/f").await, 200);
    assert_eq!(
        (status(&lab, "a/b").await, status(&lab, "c/d").await),
        (429, 200),
        "the first is told its own time"
    );
}

#[tokio::test(start_paused = true)]
async fn docker_hubs_limit_of_pulls_closes_every_repository() {
    let lab = Fixture::new("[[upstream]]\nname='docker.io'\ndefault=true");
    let hub = Registry::default();
    for name in ["library/one", "library/two"] {
        hub.put_manifest(name, "v1", OCI_MANIFEST, manifest_of(10));
    }
    let blob = hub.put_blob("library/two", noise(10));
    lab.net.serve("https://registry-1.docker.io", hub);
    lab.net.fault("*", "/library/one/", 1, say(429, "30"));
    assert_eq!(status(&lab, "one").await, 429);
    assert_eq!(status(&lab, "two").await, 429);
    assert_eq!(lab.net.log().len(), 1);
    assert_eq!(lab.get(&format!("/v2/two/blobs/{blob}")).await.status, 200, "blobs are not counted there");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_says_that_the_budget_is_spent_closes_every_repository() {
    let lab = with_repositories("", &["a/b", "c/d"]);
    let answer = Answer::new(429).header("retry-after", "30").header("ratelimit-remaining", "0;w=21600");
    lab.net.fault("*", "/v2/a/b/", 1, Fault::Say(answer));
    assert_eq!((status(&lab, "a/b").await, status(&lab, "c/d").await), (429, 429));
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_waits_out_a_429_that_is_over_soon() {
    let lab = with_repositories("", &["a/b"]);
    let begun = lab.now();
    lab.net.fault("*", V1, 1, say(429, "3"));
    let later = async {
        lab.wait(1).await;
        join_all((0..5).map(|_| status(&lab, "a/b"))).await
    };
    let (first, later) = join(status(&lab, "a/b"), later).await;
    assert_eq!((first, later), (200, vec![200; 5]));
    assert_eq!(lab.now().since(begun), Duration::from_secs(3));
    assert_eq!(lab.net.log().len(), 7, "the first twice, the others once each");
}

#[tokio::test(start_paused = true)]
async fn a_429_that_comes_again_is_told_and_the_next_waits_again() {
    let lab = with_repositories("", &["a/b"]);
    lab.net.fault("*", V1, 2, say(429, "2"));
    let begun = lab.now();
    assert_eq!(status(&lab, "a/b").await, 429, "who has waited does not wait a second time");
    assert_eq!(lab.now().since(begun), Duration::from_secs(2));
    assert_eq!(status(&lab, "a/b").await, 200, "the next waits for what is left");
    assert_eq!(lab.now().since(begun), Duration::from_secs(4));
    assert_eq!(lab.net.log().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_push_waits_too_before_its_body_is_sent() {
    let lab = Fixture::new(&upstream("push=true"));
    let location = lab.post("/v2/a/b/blobs/uploads/").await.header("location").to_owned();
    lab.net.fault("PATCH", "", 1, say(429, "3"));
    let chunk = || lab.patch(&location).streamed(b"0123456789");
    assert_eq!(chunk().await.status, 429, "a stream that was refused cannot be sent again");
    assert_eq!(chunk().await.status, 202);
    assert_eq!(lab.net.sent("PATCH", "").len(), 2);
}

/// Everything that can be read, and where it comes from.
fn readings(lab: &Fixture) -> Vec<(&'static str, Call)> {
    let (_, layer) = image(lab, "a/b", "1");
    let blob = format!("/v2/a/b/blobs/{layer}");
    vec![
        ("/manifests/", lab.get(V1)),
        ("/manifests/", lab.head(V1)),
        ("/blobs/", lab.get(&blob)),
        ("/blobs/", lab.head(&blob)),
        ("/blobs/", lab.get(&blob).header("range", "bytes=10-19")),
        ("/tags/", lab.get("/v2/a/b/tags/list")),
        (REALM, lab.get(V1)),
    ]
}

#[tokio::test(start_paused = true)]
async fn one_503_that_is_over_soon_is_waited_for_whatever_is_read() {
    for caches in [false, true] {
        for at in 0..7 {
            let lab = if caches { Fixture::caching("") } else { Fixture::new("") }.with_tokens();
            let (part, call) = readings(&lab).swap_remove(at);
            // Known by now: how it wants to be asked.
            assert_eq!(lab.get("/v2/x/y/tags/list").await.status, 404);
            lab.net.fault("*", part, 1, say(503, "2"));
            let begun = lab.now();
            let seen = call.await;
            assert!(seen.status.is_success(), "{part} {seen:?}");
            assert_eq!(lab.now().since(begun), Duration::from_secs(2), "{part} {:?}", lab.net.lines());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_host_that_says_not_now_is_waited_for_too() {
    for status in [429, 503] {
        let (lab, _, blob) = Fixture::stocked("");
        lab.registry.redirect_blobs(STORAGE);
        lab.net.fault("*", STORAGE, 1, say(status, "3"));
        let seen = lab.get(&format!("/v2/a/b/blobs/{blob}")).await;
        assert_eq!((seen.status.as_u16(), &seen.body), (200, &noise(5000)), "{status}");
        assert_eq!((lab.net.sent("*", STORAGE).len(), lab.net.sent("*", ORIGIN).len()), (2, 1), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_503_that_lasts_or_does_not_say_is_not_waited_for() {
    let not_now = || Answer::new(503);
    for (answer, times, seconds) in [
        (not_now(), 1, 0),
        (not_now().header("retry-after", "4"), 1, 0),
        (not_now().header("retry-after", "soon"), 1, 0),
        (not_now().header("retry-after", "2"), 9, 2),
    ] {
        let (lab, _, blob) = Fixture::stocked("");
        lab.net.fault("*", "", times, Fault::Say(answer.clone()));
        let begun = lab.now();
        assert!(lab.get(&format!("/v2/a/b/blobs/{blob}")).await.is(504, "UNAVAILABLE"), "{answer:?}");
        assert_eq!(lab.now().since(begun), Duration::from_secs(seconds), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_there_is_another_address_it_is_asked_and_nobody_waits() {
    let lab = Fixture::new(&format!(
        "[[upstream]]\nname='reg.example'\nurls=['{ORIGIN}','https://second.up.example.com']\ndefault=true"
    ));
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.serve("https://second.up.example.com", lab.registry.clone());
    lab.net.fault("*", ORIGIN, 1, say(503, "2"));
    let begun = lab.now();
    assert_eq!(status(&lab, "a/b").await, 200);
    assert_eq!(lab.now(), begun);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_answered_503_is_not_sent_again() {
    let lab = Fixture::new(&upstream("push=true"));
    lab.net.fault("PUT", "", 1, say(503, "1"));
    let seen = lab.put(V1).header("content-type", OCI_MANIFEST).body(manifest_of(7)).await;
    assert!(seen.is(504, "UNAVAILABLE"), "{seen:?}");
    assert_eq!(lab.net.log().len(), 1);
}
