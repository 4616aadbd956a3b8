//! Docker Hub's budget: accounts in turn, 429 told once, and stale before the last pull is spent.

use std::sync::{Arc, Mutex};

use registry_proxy_core::testing::{Answer, Fault, Gate, Server};

use crate::fixture::{Fixture, OCI_MANIFEST, Seen, manifest_of, noise, upstream};

const V1: &str = "/v2/a/b/manifests/v1";
const POOL: &str = "username='one'\npassword='1'\ncredentials=[{prefix='',username='two',password='2'}]";
const ONE: &str = "Basic b25lOjE=";
const TWO: &str = "Basic dHdvOjI=";

/// With `a/b:v1` behind Basic, and two accounts of ours.
fn town(more: &str) -> Fixture {
    let lab = Fixture::new(&upstream(&format!("{POOL}\n{more}")));
    settle(&lab);
    lab
}

fn settle(lab: &Fixture) {
    lab.registry.guard(Gate::Basic);
    lab.registry.add_user("one", "1");
    lab.registry.add_user("two", "2");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
}

/// As whom manifests were asked for, but for the question that showed what kind of login is wanted.
fn asked(lab: &Fixture) -> Vec<String> {
    let sent = lab.net.sent("*", "/manifests/").into_iter();
    sent.map(|sent| sent.header("authorization").to_owned()).filter(|who| !who.is_empty()).collect()
}

fn limited(seconds: &str) -> Answer {
    Answer::new(429).header("retry-after", seconds)
}

/// From now on manifests say what is left, and that of it.
fn leave(lab: &Fixture, remaining: &'static str) {
    lab.net.fault("*", "/manifests/", 999, Fault::change(move |answer| set(answer, remaining)));
}

fn set(answer: &mut Answer, remaining: &str) {
    for (name, value) in [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", remaining)] {
        answer.headers.insert(name, value.parse().expect("a header's value"));
    }
}

#[tokio::test(start_paused = true)]
async fn accounts_take_turns_where_nothing_is_known_of_them() {
    let lab = town("");
    lab.net.fault(
        "*",
        "/manifests/",
        999,
        Fault::change(|answer| {
            answer.headers.remove("ratelimit-remaining");
        }),
    );
    for _ in 0..4 {
        assert_eq!(lab.get(V1).await.status, 200);
    }
    assert_eq!(asked(&lab), [ONE, TWO, ONE, TWO]);
    lab.net.forget();
    for _ in 0..2 {
        assert_eq!(lab.head(V1).await.status, 200);
        assert_eq!(lab.get(V1).await.status, 200);
    }
    assert_eq!(asked(&lab), [ONE, ONE, TWO, TWO], "what is not counted takes no turn");
}

#[tokio::test(start_paused = true)]
async fn the_account_with_most_left_is_asked() {
    let lab = town("");
    let left = Arc::new(Mutex::new([50_u32, 52]));
    let registry = lab.registry.clone();
    lab.net.serve(
        "https://origin.up.example.com/v2/a/b/manifests/",
        move |sent: &registry_proxy_core::testing::Sent| {
            let mut answer = registry.answer(sent);
            let mut left = left.lock().expect("a lock");
            let mine = match sent.header("authorization") {
                ONE => &mut left[0],
                TWO => &mut left[1],
                _ => return answer,
            };
            *mine -= 1;
            set(&mut answer, &format!("{mine};w=21600"));
            answer
        },
    );
    for _ in 0..5 {
        assert_eq!(lab.get(V1).await.status, 200);
    }
    // One (49), then two of which nothing is known (51), and again until they are level; equals take turns.
    assert_eq!(asked(&lab).iter().filter(|who| *who == TWO).count(), 3, "{:?}", asked(&lab));
    assert_eq!(asked(&lab)[..4], [ONE, TWO, TWO, TWO]);
}

#[tokio::test(start_paused = true)]
async fn a_429_of_one_moves_to_the_next_at_once_and_is_remembered() {
    let lab = town("");
    assert_eq!(lab.get(V1).await.status, 200);
    lab.net.forget();
    lab.net.fault("*", "/manifests/", 1, Fault::Say(limited("2")));
    let before = lab.now();
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!((asked(&lab), lab.now()), (vec![TWO.to_owned(), ONE.to_owned()], before), "without waiting");
    lab.net.forget();
    for _ in 0..3 {
        assert_eq!(lab.get(V1).await.status, 200);
    }
    assert_eq!(asked(&lab), [ONE, ONE, ONE], "nobody asks as two until its time is over");
    lab.wait(3).await;
    lab.net.forget();
    for _ in 0..3 {
        lab.get(V1).await;
    }
    assert!(asked(&lab).contains(&TWO.to_owned()));
}

fn is_429(seen: &Seen, seconds: &str) {
    assert!(seen.is(429, "TOOMANYREQUESTS"), "{seen:?}");
    assert_eq!(seen.header("retry-after"), seconds);
}

#[tokio::test(start_paused = true)]
async fn where_all_are_limited_each_was_asked_once_and_the_soonest_counts() {
    let lab = town("");
    assert_eq!(lab.get(V1).await.status, 200);
    lab.net.forget();
    // The first answer is for two, whose turn it is.
    for seconds in ["40", "20"] {
        lab.net.fault("*", "/manifests/", 1, Fault::Say(limited(seconds)));
    }
    is_429(&lab.get(V1).await, "20");
    assert_eq!(asked(&lab), [TWO, ONE]);
    lab.wait(5).await;
    for call in [lab.get(V1), lab.head(V1)] {
        let seen = call.await;
        assert_eq!((seen.status.as_u16(), seen.header("retry-after")), (429, "15"));
    }
    assert_eq!(asked(&lab).len(), 2, "not asked again");
    lab.wait(15).await;
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(asked(&lab)[2..], [ONE]);
}

#[tokio::test(start_paused = true)]
async fn a_429_is_never_multiplied_whoever_asks_for_what() {
    let lab = Fixture::caching(&upstream(POOL));
    settle(&lab);
    let blob = lab.registry.put_blob("a/b", noise(5000));
    assert_eq!(lab.get(V1).await.status, 200);
    lab.wait(61).await;
    lab.net.fault("*", "", 9999, Fault::Say(limited("60")));
    let digest = format!("sha256:{}", "0".repeat(64));
    for (part, calls) in [
        ("/manifests/", vec![lab.get(V1), lab.head(V1), lab.get("/v2/a/b/manifests/v2"), lab.get(V1)]),
        (
            "/blobs/",
            vec![
                lab.get(&format!("/v2/a/b/blobs/{blob}")),
                lab.get(&format!("/v2/a/b/blobs/{blob}")).header("range", "bytes=0-9"),
                lab.head(&format!("/v2/a/b/blobs/{digest}")),
            ],
        ),
    ] {
        lab.net.forget();
        for call in calls {
            let seen = call.await;
            assert!(seen.status == 429 || seen.done() == "stale", "{seen:?}");
        }
        assert_eq!(lab.net.sent("*", part).len(), 2, "each account once, whoever asks: {:?}", lab.net.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn a_prefix_has_a_pool_of_its_own() {
    let keys = format!("{}\n", POOL.replace("prefix=''", "prefix='a/'"));
    let lab = Fixture::new(&upstream(&keys));
    settle(&lab);
    for _ in 0..2 {
        assert_eq!(lab.get(V1).await.status, 200);
    }
    assert_eq!(asked(&lab), [TWO, TWO]);
}

#[tokio::test(start_paused = true)]
async fn pushes_are_one_accounts() {
    let lab = town("push=true");
    for _ in 0..3 {
        let seen = lab.put(V1).header("content-type", OCI_MANIFEST).body(manifest_of(7)).await;
        assert_eq!(seen.status, 201, "{seen:?}");
        lab.get(V1).await;
    }
    let puts = lab.net.sent("PUT", "/manifests/");
    assert!(
        puts.iter().map(|sent| sent.header("authorization")).filter(|who| !who.is_empty()).all(|who| who == ONE)
    );
}

mod near_the_end {
    //! A pull that counts is not made for a tag that can be served as it is.

    use super::*;

    /// `a/b:v1` is here with its layer, and due; at the registry it has changed.
    async fn changed(text: &str) -> (Fixture, String, String) {
        let lab = Fixture::caching(text);
        let layer = lab.registry.put_blob("a/b", noise(5000));
        let put = |text: &str| {
            let manifest = format!(
                r#"{{"schemaVersion":2,"config":{{"digest":"{layer}"}},"layers":[],"annotations":{{"a":"{text}"}}}}"#
            );
            lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest)
        };
        let old = put("old");
        lab.get(V1).await;
        lab.get(&format!("/v2/a/b/blobs/{layer}")).await;
        lab.wait(61).await;
        let new = put("new");
        lab.net.forget();
        (lab, old, new)
    }

    #[tokio::test(start_paused = true)]
    async fn stale_is_preferred_to_the_last_pulls() {
        let (lab, old, new) = changed("").await;
        leave(&lab, "2;w=21600");
        let seen = lab.get(V1).await;
        assert_eq!((seen.status.as_u16(), seen.header("docker-content-digest")), (200, old.as_str()));
        assert_eq!(seen.header("x-registry-proxy"), "stale; why=\"budget nearly spent\"");
        assert!(seen.header("warning").starts_with("299 - \"stale"), "{seen:?}");
        assert_eq!(lab.net.sent("GET", "/manifests/").len(), 0, "{:?}", lab.net.lines());
        assert_eq!(lab.net.sent("HEAD", "/manifests/").len(), 1, "asking is free");
        // Who will have the new gets it, and so does everybody after.
        let seen = lab.get(V1).header("cache-control", "no-cache").await;
        assert_eq!((seen.done(), seen.header("docker-content-digest")), ("filled", new.as_str()));
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), new);
    }

    #[tokio::test(start_paused = true)]
    async fn with_more_left_the_new_is_fetched() {
        let (lab, _, new) = changed("").await;
        leave(&lab, "3;w=21600");
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), new);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_not_be_stale_is_fetched_with_the_last() {
        let (lab, _, new) = changed("[cache]\nstale_if_error='0s'").await;
        leave(&lab, "1;w=21600");
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), new);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_here_is_fetched_with_the_last() {
        let (lab, ..) = changed("").await;
        leave(&lab, "1;w=21600");
        lab.registry.put_manifest("a/b", "v2", OCI_MANIFEST, manifest_of(9));
        lab.get(V1).await;
        assert_eq!(lab.get("/v2/a/b/manifests/v2").await.done(), "filled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_without_head_is_not_asked_at_all_near_the_end() {
        let (lab, old, _) = changed("").await;
        lab.net.fault(
            "HEAD",
            "/manifests/",
            999,
            Fault::change(|answer| {
                answer.status = http::StatusCode::NOT_IMPLEMENTED;
                set(answer, "1;w=21600");
            }),
        );
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), old);
        assert_eq!(lab.net.sent("GET", "/manifests/").len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn another_account_with_more_left_pays() {
        let (lab, _, new) = changed(&upstream(POOL)).await;
        // The account that is asked has two left; of the other nothing is known.
        lab.net.fault("HEAD", "/manifests/", 1, Fault::change(|answer| set(answer, "2;w=21600")));
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), new);
    }
}
