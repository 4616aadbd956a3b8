//! What the operator blocks never leaves, however it is asked for.

use std::sync::Arc;

use http::Method;
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::testing::Fault;

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_INDEX, OCI_MANIFEST, Setup, noise, upstream};

/// What is known when a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was ever pulled.
    Cold,
    /// All of it was pulled before the block was configured.
    Cached,
    /// The same, and no registry may be asked.
    Offline,
    /// Nothing was pulled before the block. Since then a client pulled `v2`, and asked for the blocked manifest by digest.
    Asked,
    /// Nothing was pulled before the block, and only `v2` since then.
    Pulled,
}

const STATES: [State; 5] = [State::Cold, State::Cached, State::Offline, State::Asked, State::Pulled];

/// A repository `a/b`: `v1` is to be blocked, `v2` shares its base layer, `all` is an index of both. `e/f:v1` is the blocked
/// image alone.
struct Images {
    blocked: String,
    allowed: String,
    base: String,
    own: String,
}

fn put(lab: &Fixture) -> Images {
    let mut all = Vec::new();
    for repository in ["a/b", "e/f"] {
        let base = lab.registry.put_blob(repository, noise(5000));
        let own = lab.registry.put_blob(repository, noise(7000));
        let manifest = format!(r#"{{"layers":[{{"digest":"{base}"}},{{"digest":"{own}"}}]}}"#);
        let blocked = lab.registry.put_manifest(repository, "v1", OCI_MANIFEST, manifest);
        all.push((base, own, blocked));
    }
    let (base, own, blocked) = all.remove(0);
    let manifest = format!(r#"{{"layers":[{{"digest":"{base}"}}]}}"#);
    let allowed = lab.registry.put_manifest("a/b", "v2", OCI_MANIFEST, manifest);
    let index = format!(r#"{{"manifests":[{{"digest":"{blocked}"}},{{"digest":"{allowed}"}}]}}"#);
    lab.registry.put_manifest("a/b", "all", OCI_INDEX, index);
    Images { blocked, allowed, base, own }
}

/// A proxy that blocks what `rule` makes of the images.
async fn scene(state: State, rule: impl Fn(&Images) -> String) -> (Fixture, Images) {
    let store = Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())));
    let mut lab = Fixture::set_up(&Setup { store: Some(store), ..Setup::default() });
    let images = put(&lab);
    if matches!(state, State::Cached | State::Offline) {
        for path in [
            "a/b/manifests/v1",
            "a/b/manifests/v2",
            "a/b/manifests/all",
            &format!("a/b/manifests/{}", images.blocked),
            &format!("a/b/manifests/{}", images.allowed),
            &format!("a/b/blobs/{}", images.base),
            &format!("a/b/blobs/{}", images.own),
            "e/f/manifests/v1",
            &format!("e/f/blobs/{}", images.base),
            &format!("e/f/blobs/{}", images.own),
        ] {
            assert_eq!(lab.get(&format!("/v2/{path}")).await.status, 200, "{path}");
        }
        lab.wait(1).await;
    }
    let offline = if state == State::Offline { "[cache]\noffline=true\n" } else { "" };
    lab.restart(&format!("{offline}{}\n{}", rule(&images), upstream("")));
    if matches!(state, State::Asked | State::Pulled) {
        lab.get("/v2/a/b/manifests/v2").await;
    }
    if state == State::Asked {
        for repository in ["a/b", "e/f"] {
            lab.get(&format!("/v2/{repository}/manifests/{}", images.blocked)).await;
        }
    }
    (lab, images)
}

fn by_digest(images: &Images) -> String {
    format!("[[block]]\ndigest='{}'\nreason='it mines coins'", images.blocked)
}

fn by_blob(images: &Images) -> String {
    format!("[[block]]\ndigest='{}'\nreason='it mines coins'", images.own)
}

/// Asks for each of these in each state, with a proxy of its own; how many answers were as expected.
async fn check(rule: fn(&Images) -> String, rows: &[(Method, &str, [u16; 5])]) -> usize {
    let mut count = 0;
    for (method, path, expected) in rows {
        for (state, expected) in STATES.into_iter().zip(expected) {
            let (lab, images) = scene(state, rule).await;
            let path = path
                .replace("BLOCKED", &images.blocked)
                .replace("ALLOWED", &images.allowed)
                .replace("BASE", &images.base)
                .replace("OWN", &images.own);
            let (path, range) = path.split_once(' ').unwrap_or((&path, ""));
            let mut call = lab.call(method.clone(), &format!("/v2/{path}"));
            if !range.is_empty() {
                call = call.header("range", range);
            }
            let seen = call.await;
            assert_eq!(seen.status, *expected, "{method} {path} {range} {state:?}: {seen:?}");
            if *expected == 403 {
                assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"blocked\"", "{method} {path}");
                assert!(*method == Method::HEAD || seen.is(403, "DENIED"), "{seen:?}");
            }
            count += 1;
        }
    }
    count
}

#[tokio::test(start_paused = true)]
async fn a_blocked_manifest_never_leaves_and_its_blobs_only_for_others() {
    let (get, head) = (Method::GET, Method::HEAD);
    let count = check(
        by_digest,
        &[
            // By tag, by digest, as a child of an index, and where a registry gives manifests as blobs.
            (get.clone(), "a/b/manifests/v1", [403, 403, 403, 403, 403]),
            (head.clone(), "a/b/manifests/v1", [403, 403, 403, 403, 403]),
            (get.clone(), "a/b/manifests/BLOCKED", [403, 403, 403, 403, 403]),
            (head.clone(), "a/b/manifests/BLOCKED", [403, 403, 403, 403, 403]),
            (get.clone(), "a/b/blobs/BLOCKED", [403, 403, 403, 403, 403]),
            (head.clone(), "a/b/blobs/BLOCKED", [403, 403, 403, 403, 403]),
            (get.clone(), "e/f/manifests/v1", [403, 403, 403, 403, 403]),
            (get.clone(), "e/f/manifests/BLOCKED", [403, 403, 403, 403, 403]),
            // The index itself names others, too.
            (get.clone(), "a/b/manifests/all", [200, 200, 200, 200, 200]),
            (get.clone(), "a/b/manifests/v2", [200, 200, 200, 200, 200]),
            (head.clone(), "a/b/manifests/v2", [200, 200, 200, 200, 200]),
            (get.clone(), "a/b/manifests/ALLOWED", [200, 200, 200, 200, 200]),
            // The base layer belongs to another image of the repository, once somebody has pulled that here.
            (get.clone(), "a/b/blobs/BASE", [403, 200, 200, 200, 200]),
            (head.clone(), "a/b/blobs/BASE", [403, 200, 200, 200, 200]),
            (get.clone(), "a/b/blobs/BASE bytes=10-19", [403, 206, 206, 206, 206]),
            // Its own layer does not, whether or not anybody has asked for the blocked image here.
            (get.clone(), "a/b/blobs/OWN", [403, 403, 403, 403, 403]),
            (head.clone(), "a/b/blobs/OWN", [403, 403, 403, 403, 403]),
            (get.clone(), "a/b/blobs/OWN bytes=10-19", [403, 403, 403, 403, 403]),
            (get.clone(), "a/b/blobs/OWN bytes=0-", [403, 403, 403, 403, 403]),
            // Where no other image has the base layer, that stays as well.
            (get.clone(), "e/f/blobs/BASE", [403, 403, 403, 403, 403]),
            (head, "e/f/blobs/BASE", [403, 403, 403, 403, 403]),
            (get, "e/f/blobs/OWN", [403, 403, 403, 403, 403]),
        ],
    )
    .await;
    assert_eq!(count, 110);
}

#[tokio::test(start_paused = true)]
async fn a_block_may_name_a_blob() {
    let count = check(
        by_blob,
        &[
            (Method::GET, "a/b/blobs/OWN", [403, 403, 403, 403, 403]),
            (Method::HEAD, "a/b/blobs/OWN", [403, 403, 403, 403, 403]),
            (Method::GET, "a/b/blobs/OWN bytes=10-19", [403, 403, 403, 403, 403]),
            (Method::GET, "e/f/blobs/OWN", [403, 403, 403, 403, 403]),
            (Method::GET, "a/b/blobs/BASE", [200, 200, 200, 200, 200]),
            (Method::GET, "a/b/manifests/v1", [200, 200, 200, 200, 200]),
        ],
    )
    .await;
    assert_eq!(count, 30);
}

#[tokio::test(start_paused = true)]
async fn a_block_may_name_a_repository_or_a_tag() {
    let repository = |_: &Images| "[[block]]\nmatch='reg.example/a/*'\nreason='abandoned'".to_owned();
    let count = check(
        repository,
        &[
            (Method::GET, "a/b/manifests/v1", [403, 403, 403, 403, 403]),
            (Method::HEAD, "a/b/manifests/v2", [403, 403, 403, 403, 403]),
            (Method::GET, "a/b/manifests/ALLOWED", [403, 403, 403, 403, 403]),
            (Method::GET, "a/b/blobs/BASE", [403, 403, 403, 403, 403]),
            (Method::GET, "a/b/blobs/BASE bytes=10-19", [403, 403, 403, 403, 403]),
            (Method::GET, "a/b/tags/list", [403, 403, 403, 403, 403]),
            (Method::GET, "e/f/manifests/v1", [200, 200, 200, 200, 200]),
            (Method::GET, "e/f/blobs/BASE", [200, 200, 200, 200, 200]),
        ],
    )
    .await;
    assert_eq!(count, 40);
    let tag = |_: &Images| "[[block]]\nmatch='reg.example/a/b:v1'\nreason='abandoned'".to_owned();
    let count = check(
        tag,
        &[
            (Method::GET, "a/b/manifests/v1", [403, 403, 403, 403, 403]),
            (Method::HEAD, "a/b/manifests/v1", [403, 403, 403, 403, 403]),
            (Method::GET, "a/b/manifests/v2", [200, 200, 200, 200, 200]),
            (Method::GET, "e/f/manifests/v1", [200, 200, 200, 200, 200]),
        ],
    )
    .await;
    assert_eq!(count, 20);
}

#[tokio::test(start_paused = true)]
async fn a_client_reads_the_reason() {
    let (lab, images) = scene(State::Cold, by_digest).await;
    let seen = lab.get("/v2/a/b/manifests/v1").await;
    let expected = format!("{} is blocked by this proxy: it mines coins", images.blocked);
    assert_eq!(seen.json()["errors"][0]["message"], expected);
    let seen = lab.get("/v2/a/b/tags/list").await;
    assert_eq!(seen.status, 200, "lists name it, and serve none of it");
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_while_it_is_blocked_is_not_kept() {
    let (mut lab, images) = scene(State::Cold, by_digest).await;
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 403);
    lab.wait(1).await;
    lab.restart(&format!("[cache]\noffline=true\n{}", upstream("")));
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{}", images.blocked)).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_manifest_that_was_refused_by_its_tag_keeps_its_layers_here() {
    let (lab, images) = scene(State::Cold, by_digest).await;
    assert_eq!(lab.get("/v2/e/f/manifests/v1").await.status, 403);
    assert_eq!(lab.get(&format!("/v2/e/f/blobs/{}", images.own)).await.status, 403);
    assert_eq!(lab.net.sent("GET", "/manifests/").len(), 1, "what it names was read as it passed");
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{}", images.base)).await.status, 403, "v2 was not pulled here yet");
    assert_eq!(lab.get("/v2/a/b/manifests/v2").await.status, 200);
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{}", images.base)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_digest_that_is_not_in_the_repository_keeps_nothing_there() {
    let (lab, images) = scene(State::Cold, by_digest).await;
    let other = lab.registry.put_blob("c/d", noise(900));
    assert_eq!(lab.get(&format!("/v2/c/d/manifests/{}", images.blocked)).await.status, 403);
    for _ in 0..2 {
        assert_eq!(lab.get(&format!("/v2/c/d/blobs/{other}")).await.status, 200);
    }
    assert_eq!(lab.net.sent("GET", "/c/d/manifests/").len(), 1, "it is asked for once");
}

#[tokio::test(start_paused = true)]
async fn several_blocked_manifests_of_a_silent_registry_delay_a_blob_as_long_as_one() {
    let blocked: Vec<String> = ["1", "2", "3", "4"].map(|digit| format!("sha256:{}", digit.repeat(64))).into();
    let rule = |digest: &String| format!("[[block]]\ndigest='{digest}'\nreason='r'\n");
    let rules: String = blocked.iter().map(rule).collect();
    let (lab, images) = scene(State::Cold, |_| rules.clone()).await;
    for digest in &blocked {
        assert_eq!(lab.get(&format!("/v2/a/b/manifests/{digest}")).await.status, 403);
    }
    lab.net.fault("GET", "/manifests/", 100, Fault::Silence);
    let begun = tokio::time::Instant::now();
    let seen = lab.get(&format!("/v2/a/b/blobs/{}", images.base)).await;
    assert_eq!(seen.status, 504, "nobody knows whose it is: {seen:?}");
    let waited = begun.elapsed().as_secs();
    assert!((5..8).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn a_pull_of_another_image_asks_for_no_blocked_manifest() {
    let (lab, images) = scene(State::Cold, by_digest).await;
    lab.get("/v2/a/b/manifests/v2").await;
    for _ in 0..2 {
        assert_eq!(lab.get(&format!("/v2/a/b/blobs/{}", images.base)).await.status, 200);
    }
    assert_eq!(lab.net.sent("GET", "/manifests/").len(), 1, "that of v2");
}

#[tokio::test(start_paused = true)]
async fn a_layer_of_a_cached_image_leaves_while_nobody_can_say_what_is_blocked() {
    let unknown = |_: &Images| format!("[[block]]\ndigest='sha256:{}'\nreason='r'", "1".repeat(64));
    for state in [State::Cached, State::Offline] {
        let (mut lab, images) = scene(state, unknown).await;
        lab.net.fault("GET", "/manifests/", 100, Fault::Silence);
        let (named, alone) = (format!("/v2/a/b/blobs/{}", images.own), lab.registry.put_blob("a/b", noise(300)));
        assert_eq!(lab.get(&named).await.status, 200, "{state:?}");
        let seen = lab.get(&format!("/v2/a/b/blobs/{alone}")).await;
        assert_eq!(seen.status, if state == State::Offline { 403 } else { 504 }, "{state:?}: {seen:?}");
        lab.restart(&upstream(""));
        let status = lab.get(&format!("/v2/a/b/blobs/{alone}")).await.status;
        assert_eq!(status, 200, "without the rule");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_from_before_a_block_ends_with_its_life_and_no_other_is_given() {
    const LINKS: &str = "[delivery]\nlinks='always'\nlink_life='2m'\n";
    let store = MemoryStore::new(1 << 30, Arc::new(TokioClock::start())).shared();
    let store = Arc::new(store.linking("https://store.example/".parse().expect("an address")));
    let mut lab = Fixture::set_up(&Setup { store: Some(store), text: LINKS, ..Setup::default() });
    let images = put(&lab);
    let (own, base) = (format!("/v2/a/b/blobs/{}", images.own), format!("/v2/a/b/blobs/{}", images.base));
    for path in ["/v2/a/b/manifests/v1", "/v2/a/b/manifests/v2", &own, &base] {
        assert_eq!(lab.get(path).await.status, 200, "{path}");
    }
    lab.wait(1).await;
    let expires = |location: &str| -> u64 {
        location.rsplit_once("expires=").and_then(|(_, text)| text.parse().ok()).expect("a link that ends")
    };
    let first = expires(lab.get(&own).await.header("location"));
    lab.wait(30).await;
    let seen = lab.get(&own).await;
    assert_eq!((seen.status.as_u16(), expires(seen.header("location"))), (307, first + 30), "each lasts as long");
    for rule in
        [by_digest(&images), by_blob(&images), "[[block]]\nmatch='reg.example/a/**'\nreason='r'".to_owned()]
    {
        lab.restart(&format!("{LINKS}{rule}\n{}", upstream("")));
        for seen in [lab.get(&own).await, lab.get(&own).header("range", "bytes=10-19").await, lab.head(&own).await]
        {
            assert_eq!((seen.status.as_u16(), seen.header("location")), (403, ""), "{rule}");
        }
        let is_all = rule.contains("match");
        assert_eq!(lab.get(&base).await.status, if is_all { 403 } else { 307 }, "{rule}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_right_after_its_manifest_gets_the_shared_layer() {
    let (lab, images) = scene(State::Cached, by_digest).await;
    let manifest = format!(r#"{{"layers":[{{"digest":"{}"}}],"annotations":{{"a":"b"}}}}"#, images.base);
    lab.registry.put_manifest("e/f", "v3", OCI_MANIFEST, manifest);
    let blob = format!("/v2/e/f/blobs/{}", images.base);
    assert_eq!(lab.get(&blob).await.status, 403);
    assert_eq!(lab.get("/v2/e/f/manifests/v3").await.status, 200);
    assert_eq!(lab.get(&blob).await.status, 200, "before anything is written to the store");
}
