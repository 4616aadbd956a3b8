//! What is kept, for how long, and for whom.

mod lists;
mod private;
mod slow_store;

use registry_proxy_core::testing::{Answer, Fault};

use crate::fixture::{Fixture, OCI_INDEX, OCI_MANIFEST, manifest_of, noise, upstream};

const V1: &str = "/v2/a/b/manifests/v1";

/// An image `a/b:v1` with one layer: manifest's digest and layer's.
fn image(lab: &Fixture, text: &str) -> (String, String) {
    let layer = lab.registry.put_blob("a/b", noise(200_000));
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"{layer}"}},"layers":[{{"digest":"{layer}"}}],"annotations":{{"a":"{text}"}}}}"#
    );
    (lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest), layer)
}

#[tokio::test(start_paused = true)]
async fn what_was_pulled_once_is_pulled_without_the_upstream_and_after_a_restart() {
    let mut lab = Fixture::caching("");
    let (manifest, layer) = image(&lab, "1");
    let blob = format!("/v2/a/b/blobs/{layer}");
    assert_eq!(lab.get(V1).await.done(), "filled");
    assert_eq!(lab.get(&blob).await.done(), "filled");
    lab.wait(1).await;
    for restart in [false, true] {
        if restart {
            lab.restart("");
        }
        lab.net.forget();
        lab.net.fault("*", "", 99, Fault::Refuse);
        for path in [V1, &format!("/v2/a/b/manifests/{manifest}"), &blob] {
            let seen = lab.get(path).await;
            assert_eq!((seen.status.as_u16(), seen.done()), (200, "hit"), "{path}");
            let seen = lab.head(path).await;
            assert_eq!((seen.status.as_u16(), seen.done()), (200, "hit"), "HEAD {path}");
        }
        let seen = lab.get(&blob).header("range", "bytes=10-19").await;
        assert_eq!((seen.status.as_u16(), seen.body), (206, noise(200_000).slice(10..20)));
        assert_eq!(lab.net.lines(), Vec::<String>::new(), "nobody was asked");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_just_pulled_is_there_after_a_restart_that_comes_at_once() {
    let mut lab = Fixture::caching("");
    let (_, layer) = image(&lab, "1");
    let blob = format!("/v2/a/b/blobs/{layer}");
    lab.get(V1).await;
    lab.get(&blob).await;
    lab.proxy.flush(std::time::Duration::from_secs(5)).await;
    lab.restart("");
    lab.net.fault("*", "", 99, Fault::Refuse);
    assert_eq!((lab.get(V1).await.done(), lab.get(&blob).await.done()), ("hit", "hit"));
}

#[tokio::test(start_paused = true)]
async fn a_tag_changes_after_its_time_and_not_before() {
    let lab = Fixture::caching("[cache]\ntag_ttl='60s'");
    let (old, _) = image(&lab, "1");
    assert_eq!(lab.get(V1).await.header("docker-content-digest"), old);
    let (new, _) = image(&lab, "2");
    lab.wait(59).await;
    let seen = lab.get(V1).await;
    assert_eq!((seen.header("docker-content-digest"), seen.done()), (old.as_str(), "hit"));
    lab.wait(1).await;
    let seen = lab.get(V1).await;
    assert_eq!((seen.header("docker-content-digest"), seen.done()), (new.as_str(), "filled"));
    // The old one is still there by its digest.
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{old}")).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_due_is_confirmed_by_head_alone() {
    let lab = Fixture::caching("");
    image(&lab, "1");
    lab.get(V1).await;
    lab.wait(60).await;
    lab.net.forget();
    assert_eq!(lab.get(V1).await.done(), "revalidated");
    assert_eq!(lab.net.lines().iter().filter(|line| line.starts_with("GET")).count(), 0, "{:?}", lab.net.lines());
    lab.wait(30).await;
    lab.net.forget();
    assert_eq!(lab.get(V1).await.done(), "hit", "fresh again since it was confirmed");
}

#[tokio::test(start_paused = true)]
async fn rules_for_tags_win_over_the_usual_time() {
    let text = "[cache]\ntags=[{match='reg.example/a/b:v1',revalidate='always'},{match='reg.example/**',revalidate='never'}]";
    let lab = Fixture::caching(text);
    image(&lab, "1");
    lab.registry.put_manifest("a/b", "fixed", OCI_MANIFEST, manifest_of(10));
    lab.get(V1).await;
    lab.get("/v2/a/b/manifests/fixed").await;
    assert_eq!(lab.get(V1).await.done(), "revalidated");
    lab.wait(1_000_000).await;
    assert_eq!(lab.get("/v2/a/b/manifests/fixed").await.done(), "hit");
    // The operator's rule wins over a header of a client.
    let seen = lab.get("/v2/a/b/manifests/fixed").header("cache-control", "no-cache").await;
    assert_eq!(seen.done(), "hit", "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_will_not_have_the_remembered_gets_the_new_once_a_minute() {
    let lab = Fixture::caching("[cache]\ntag_ttl = '1h'");
    let (old, _) = image(&lab, "1");
    lab.get(V1).await;
    let (new, _) = image(&lab, "2");
    lab.wait(59).await;
    let seen = lab.get(V1).header("cache-control", "no-cache").await;
    assert_eq!((seen.header("docker-content-digest"), seen.done()), (&*old, "hit"), "confirmed a moment ago");
    lab.wait(1).await;
    let seen = lab.get(V1).header("cache-control", "no-cache").await;
    assert_eq!(seen.header("docker-content-digest"), new);
    assert_eq!(lab.get(V1).await.header("docker-content-digest"), new, "and so does everybody after");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_noticed_until_stale_is_too_old() {
    let lab = Fixture::caching("[cache]\nstale_if_error='1h'");
    let (digest, layer) = image(&lab, "1");
    lab.get(V1).await;
    lab.get(&format!("/v2/a/b/blobs/{layer}")).await;
    let limited = Answer::new(429).header("retry-after", "30");
    for fault in [Fault::Refuse, Fault::Silence, Fault::Say(Answer::new(503)), Fault::Say(limited)] {
        lab.net.heal();
        lab.wait(61).await;
        lab.get(V1).await;
        lab.wait(60).await;
        lab.net.fault("*", "", 99, fault);
        let seen = lab.get(V1).await;
        assert_eq!((seen.status.as_u16(), seen.done()), (200, "stale"), "{seen:?}");
        assert_eq!(seen.header("docker-content-digest"), digest);
        assert!(seen.header("warning").starts_with("299 "), "{seen:?}");
    }
    lab.wait(3600).await;
    let seen = lab.get(V1).await;
    assert!(matches!(seen.status.as_u16(), 429 | 504), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_slow_in_many_steps_leaves_time_to_serve_what_is_here() {
    let lab = Fixture::caching("").with_tokens();
    let (_, layer) = image(&lab, "1");
    lab.get(V1).await;
    lab.get(&format!("/v2/a/b/blobs/{layer}")).await;
    lab.wait(60).await;
    lab.registry.revoke_tokens();
    lab.net.fault("*", "", 99, Fault::Late(std::time::Duration::from_secs(9)));
    let begun = lab.now();
    let seen = lab.get(V1).await;
    assert_eq!((seen.status.as_u16(), seen.done()), (200, "stale"));
    assert_eq!(lab.now().since(begun).as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_verified_is_not_cached() {
    let lab = Fixture::caching("");
    lab.net.fault("GET", "/blobs/blake3", 99, Fault::Say(Answer::new(200).body(noise(100_000))));
    let path = "/v2/a/b/blobs/blake3:abcdef";
    for _ in 0..2 {
        let seen = lab.get(path).await;
        assert_eq!((seen.status.as_u16(), seen.done(), seen.body.clone()), (200, "relayed", noise(100_000)));
    }
}

#[tokio::test(start_paused = true)]
async fn stale_is_not_promised_without_its_blobs() {
    let lab = Fixture::caching("");
    image(&lab, "1");
    lab.get(V1).await;
    lab.wait(60).await;
    lab.net.fault("*", "", 99, Fault::Refuse);
    assert_eq!(lab.get(V1).await.status, 504, "a client does better elsewhere (P-91)");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_never_answered_with_what_was_there_before() {
    for status in [401, 403] {
        let lab = Fixture::caching("");
        let (_, layer) = image(&lab, "1");
        lab.get(V1).await;
        lab.get(&format!("/v2/a/b/blobs/{layer}")).await;
        lab.wait(60).await;
        lab.net.fault("*", "/v2/a/b/manifests", 99, Fault::Say(Answer::new(status)));
        let seen = lab.get(V1).await;
        assert!(matches!(seen.status.as_u16(), 401 | 403), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_gone_is_gone() {
    let lab = Fixture::caching("");
    image(&lab, "1");
    lab.get(V1).await;
    lab.wait(60).await;
    lab.net.fault("*", "/v2/a/b/manifests/v1", 99, Fault::Say(Answer::new(404)));
    assert!(lab.get(V1).await.is(404, "MANIFEST_UNKNOWN"));
    lab.net.heal();
    lab.net.fault("*", "", 99, Fault::Refuse);
    lab.wait(11).await;
    assert_eq!(lab.get(V1).await.status, 504, "an outage does not bring it back");
}

#[tokio::test(start_paused = true)]
async fn not_found_is_remembered_for_seconds() {
    let lab = Fixture::caching("[cache]\nnegative_ttl='10s'");
    for path in ["/v2/a/b/manifests/none", &format!("/v2/a/b/blobs/sha256:{}", "0".repeat(64))] {
        assert_eq!(lab.get(path).await.status, 404);
        lab.net.forget();
        assert_eq!(lab.get(path).await.status, 404);
        assert_eq!(lab.net.lines(), Vec::<String>::new());
        lab.wait(10).await;
        lab.get(path).await;
        assert_ne!(lab.net.lines(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_a_blob_is_found_as_one() {
    let lab = Fixture::caching("");
    let (manifest, layer) = image(&lab, "1");
    for (wrong, right) in [("manifests", "blobs"), ("blobs", "manifests")] {
        let digest = if right == "blobs" { &layer } else { &manifest };
        assert_eq!(lab.get(&format!("/v2/a/b/{wrong}/{digest}")).await.status, 404, "{wrong}");
        assert_eq!(lab.get(&format!("/v2/a/b/{right}/{digest}")).await.status, 200, "P-89: {right}");
        assert_eq!(lab.head(&format!("/v2/a/b/{right}/{digest}")).await.status, 200, "P-89: {right}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_never_cached_does_not_say_that_there_is_no_store() {
    let lab = Fixture::caching(&upstream("push=true\nredirects='pass'"));
    let (digest, layer) = image(&lab, "1");
    let push = lab.put("/v2/a/b/manifests/v2").header("content-type", OCI_MANIFEST).body(manifest_of(9));
    for (call, why) in [
        (lab.get("/v2/a/b/tags/list"), "list not here"),
        (push, "never kept"),
        (lab.get(&format!("/v2/a/b/blobs/{layer}")), "redirects are not followed"),
        (lab.head(&format!("/v2/a/b/blobs/{layer}")), "redirects are not followed"),
        (lab.get(&format!("/v2/a/b/manifests/{digest}")), "digest not here"),
    ] {
        let seen = call.await;
        assert!(seen.status.is_success() && seen.header("x-registry-proxy").contains(why), "{why}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_of_unknown_length_passes_by_and_says_so() {
    let lab = Fixture::caching("");
    let layer = lab.registry.put_blob("a/b", noise(5000));
    // Neither a HEAD nor a range says it.
    let whole = Answer::new(200).body(noise(5000)).without_length();
    lab.net.fault("*", "/blobs/", 99, Fault::Say(whole));
    let seen = lab.get(&format!("/v2/a/b/blobs/{layer}")).await;
    assert_eq!((seen.status.as_u16(), seen.header("x-registry-proxy")), (200, "relayed; why=\"cannot be kept\""));
}

#[tokio::test(start_paused = true)]
async fn not_found_ends_however_often_it_is_asked() {
    let lab = Fixture::caching("[cache]\nnegative_ttl='10s'");
    assert_eq!(lab.get(V1).await.status, 404);
    image(&lab, "1");
    lab.wait(6).await;
    assert_eq!(lab.get(V1).await.status, 404);
    lab.wait(5).await;
    assert_eq!(lab.get(V1).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn offline_serves_what_is_here_however_old_and_asks_nobody() {
    let mut lab = Fixture::caching("");
    let (digest, layer) = image(&lab, "1");
    lab.get(V1).await;
    lab.get(&format!("/v2/a/b/blobs/{layer}")).await;
    lab.wait(1).await;
    lab.restart("[cache]\noffline=true");
    lab.wait(10_000_000).await;
    lab.net.forget();
    for path in [V1, &format!("/v2/a/b/manifests/{digest}"), &format!("/v2/a/b/blobs/{layer}")] {
        let seen = lab.get(path).await;
        assert_eq!((seen.status.as_u16(), seen.done()), (200, "hit"), "{path}");
    }
    assert_eq!(lab.get("/v2/a/b/manifests/v2").await.status, 404);
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/sha256:{}", "0".repeat(64))).await.status, 404);
    assert_eq!(lab.net.lines(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_find_a_tag_due_ask_once() {
    let lab = Fixture::caching("");
    image(&lab, "1");
    lab.get(V1).await;
    lab.wait(60).await;
    lab.net.forget();
    lab.net.fault("HEAD", "manifests/v1", 99, Fault::Late(std::time::Duration::from_secs(1)));
    let all = futures_util::future::join_all((0..100).map(|_| async { lab.get(V1).await })).await;
    assert!(all.iter().all(|seen| seen.status == 200), "{all:?}");
    assert_eq!(lab.net.sent("HEAD", "manifests/v1").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_index_links_its_children() {
    let mut lab = Fixture::caching("");
    let child = lab.registry.put_manifest("a/b", "child", OCI_MANIFEST, manifest_of(10));
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{child}"}}]}}"#);
    lab.registry.put_manifest("a/b", "v1", OCI_INDEX, index);
    lab.get("/v2/a/b/manifests/child").await;
    lab.get(V1).await;
    lab.wait(1).await;
    lab.restart("");
    lab.net.fault("*", "", 99, Fault::Refuse);
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{child}")).await.done(), "hit");
    assert_eq!(
        lab.get(&format!("/v2/a/other/manifests/{child}")).await.status,
        504,
        "by this repository's name only"
    );
}
