//! A tag with a hold goes on pointing where it did, until the new manifest has stood for long enough.

mod operator;

use std::sync::Arc;

use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::config::{Config, Sources};
use registry_proxy_core::explain::{Explanation, HoldReport};
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::{Answer, Fault, stored_nowhere};

use crate::clock::TokioClock;
use crate::fixture::{
    Call, DOCKER_MANIFEST, Fixture, Lines, OCI_INDEX, OCI_MANIFEST, Setup, image, manifest_of, upstream,
};

const V1: &str = "/v2/a/b/manifests/v1";
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn held(more: &str) -> String {
    format!("[cache]\ntags=[{{match='reg.example/**',hold='3d'{more}}}]\n")
}

fn manifest(digest: &str) -> String {
    format!("/v2/a/b/manifests/{digest}")
}

/// What a client gets for the tag: the manifest's digest, and what was done.
async fn pulled(lab: &Fixture) -> (String, String) {
    let seen = lab.get(V1).await;
    assert_eq!(seen.status, 200, "{seen:?}");
    let head = lab.head(V1).await;
    let digest = seen.header("docker-content-digest");
    assert_eq!(head.header("docker-content-digest"), digest, "HEAD and GET agree");
    (digest.to_owned(), seen.header("x-registry-proxy").to_owned())
}

/// With `a/b:v1` pulled whole, and then moved at the registry: fixture, old digest, new digest.
async fn moved(text: &str) -> (Fixture, String, String) {
    let lab = Fixture::caching(text);
    let (old, layer) = image(&lab, "a/b", "old");
    assert_eq!(pulled(&lab).await.0, old);
    lab.get(&format!("/v2/a/b/blobs/{layer}")).await;
    lab.wait(100).await;
    let (new, _) = image(&lab, "a/b", "new");
    (lab, old, new)
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_moved_is_held_and_says_since_when() {
    let lines = Lines::of_holds();
    let (lab, old, new) = moved(&held("")).await;
    let expect = |text: &str| (old.clone(), text.to_owned());
    assert_eq!(pulled(&lab).await, expect("held; reason=\"moved 0s ago, held for 3d\""));
    assert_eq!(pulled(&lab).await, expect("held; reason=\"moved 0s ago, held for 3d\""), "from memory");
    lab.wait(2 * HOUR).await;
    assert_eq!(pulled(&lab).await, expect("held; reason=\"moved 2h ago, held for 3d\""));
    let line = lines.only();
    assert_eq!((line["message"].as_str(), line["tag"].as_str()), ("tag moved", "reg.example/a/b:v1"));
    assert_eq!((line["from"].as_str(), line["to"].as_str()), (old.as_str(), new.as_str()));
    lab.wait(3 * DAY - 2 * HOUR - 1).await;
    assert_eq!(pulled(&lab).await.0, old);
    lab.wait(61).await;
    assert_eq!(pulled(&lab).await, (new.clone(), "filled; why=\"digest not here\"".to_owned()));
    assert_eq!(pulled(&lab).await, (new, "hit; why=\"tag is fresh\"".to_owned()));
    assert_eq!(lines.only()["message"], "held tag goes on");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_wants_it_new_does_not_pass_the_hold() {
    let (lab, old, _) = moved(&held(",revalidate='1h'")).await;
    lab.wait(100).await;
    for (name, value) in [("cache-control", "no-cache"), ("cache-control", "max-age=0"), ("accept", OCI_INDEX)] {
        let seen = lab.get(V1).header(name, value).await;
        assert_eq!(seen.header("docker-content-digest"), old, "{name}: {value}");
    }
    assert_eq!(lab.net.sent("HEAD", "/manifests/v1").len(), 1, "it was asked for, all the same");
    let none = Fixture::caching(&held(""));
    let old = none.registry.put_manifest("a/b", "v1", DOCKER_MANIFEST, manifest_of(10));
    none.get(V1).await;
    none.wait(100).await;
    none.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(20));
    let seen = none.get(V1).header("accept", OCI_MANIFEST).await;
    assert_eq!(seen.header("docker-content-digest"), old, "nor does one whose Accept excludes what is held");
}

#[tokio::test(start_paused = true)]
async fn a_hold_outlives_restart_purge_and_the_registrys_head() {
    for has_head in [true, false] {
        let store = Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())));
        let setup = Setup { text: &held(""), store: Some(store.clone()), ..Setup::default() };
        let mut lab = Fixture::set_up(&setup);
        if !has_head {
            lab.net.fault("HEAD", "", 999, Fault::Say(Answer::new(405)));
        }
        let (old, _) = image(&lab, "a/b", "old");
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), old);
        lab.wait(100).await;
        let (new, _) = image(&lab, "a/b", "new");
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), old);
        lab.wait(HOUR).await;
        lab.restart(&held(""));
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), old);
        lab.wait(DAY).await;
        operator::purge_all(&lab).await;
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), old, "the registry still has it");
        lab.wait(1).await;
        lab.restart(&held(""));
        lab.wait(2 * DAY).await;
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), new, "with HEAD: {has_head}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_tag_is_not_found_and_does_not_come_back_young() {
    let (lab, old, new) = moved(&held("")).await;
    assert_eq!(pulled(&lab).await.0, old);
    lab.wait(2 * DAY).await;
    lab.net.fault("*", "/manifests/v1", 99, Fault::Say(Answer::new(404)));
    assert_eq!(lab.get(V1).await.status, 404);
    lab.net.heal();
    lab.wait(DAY).await;
    assert_eq!(pulled(&lab).await.0, old, "the time began anew");
    lab.wait(3 * DAY).await;
    assert_eq!(pulled(&lab).await.0, new);
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_the_held_image_is_served_stale_and_the_time_goes_on_behind_it() {
    let (lab, old, new) = moved(&held("")).await;
    assert_eq!(pulled(&lab).await.0, old);
    lab.wait(2 * DAY).await;
    lab.net.fault("*", "", 99, Fault::Refuse);
    let seen = lab.get(V1).await;
    assert_eq!((seen.done(), seen.header("docker-content-digest")), ("stale", old.as_str()));
    lab.wait(2 * DAY).await;
    assert_eq!(lab.get(V1).await.header("docker-content-digest"), old, "nobody has seen the new one for two days");
    lab.net.heal();
    lab.wait(100).await;
    assert_eq!(pulled(&lab).await.0, new);
}

#[tokio::test(start_paused = true)]
async fn replicas_agree() {
    let store = Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())).shared());
    let setup = Setup { text: &held(""), store: Some(store.clone() as Arc<dyn Store>), ..Setup::default() };
    let mut lab = Fixture::set_up(&setup);
    let other = lab.beside(&held(""), lab.net.clone(), 9);
    let by_other =
        || async { Call::new(&other, http::Method::GET, V1).await.header("docker-content-digest").to_owned() };
    let (old, _) = image(&lab, "a/b", "old");
    assert_eq!((pulled(&lab).await.0, by_other().await), (old.clone(), old.clone()));
    lab.wait(100).await;
    let (new, _) = image(&lab, "a/b", "new");
    assert_eq!(pulled(&lab).await.0, old);
    lab.wait(2 * DAY).await;
    assert_eq!(by_other().await, old, "it sees the move for the first time, and knows since when");
    lab.wait(DAY).await;
    assert_eq!(by_other().await, new);
    lab.wait(100).await;
    lab.restart(&held(""));
    assert_eq!(pulled(&lab).await.0, new);
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_only_a_held_tag_names_is_held() {
    for (rule, status) in [("", 403), (",hold_digests=false", 200)] {
        let (lab, old, new) = moved(&held(rule)).await;
        assert_eq!(lab.get(&manifest(&new)).await.status, 200, "nobody has seen the tag move");
        let (lab, _, new) = {
            drop((lab, old, new));
            moved(&held(rule)).await
        };
        pulled(&lab).await;
        for call in [
            lab.get(&manifest(&new)),
            lab.head(&manifest(&new)),
            lab.get(&manifest(&new)).header("cache-control", "no-cache"),
        ] {
            assert_eq!(call.await.status, status, "{rule}");
        }
        if status == 403 {
            let seen = lab.get(&manifest(&new)).await;
            assert!(seen.is(403, "DENIED"), "{seen:?}");
            assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"digest is held\"");
            let message = seen.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
            assert_eq!(
                message,
                "only reg.example/a/b:v1 names this digest, which it moved to; it is held for 3d (hold_digests = true); \
                 to let it through now: registry-proxy cache release reg.example/a/b:v1"
            );
        }
        lab.wait(3 * DAY).await;
        assert_eq!(lab.get(&manifest(&new)).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_another_tag_gives_is_not_held() {
    let (lab, old, new) = moved(&held("")).await;
    assert_eq!(pulled(&lab).await.0, old);
    assert_eq!(lab.get(&manifest(&new)).await.status, 403);
    let bytes = lab.registry.put_manifest(
        "a/b",
        "v2",
        OCI_MANIFEST,
        format!(
            r#"{{"layers":[{{"digest":"{}"}}],"annotations":{{"a":"new"}}}}"#,
            lab.registry.put_blob("a/b", crate::fixture::noise(5000))
        ),
    );
    assert_eq!(bytes, new, "another tag of the same image");
    assert_eq!(lab.get("/v2/a/b/manifests/v2").await.header("docker-content-digest"), new, "new tags are served");
    assert_eq!(lab.get(&manifest(&new)).await.status, 200);
    assert_eq!(pulled(&lab).await.0, old, "and the tag that moved is still held");
}

#[tokio::test(start_paused = true)]
async fn a_new_tag_may_be_refused_until_it_has_stood() {
    let lab = Fixture::caching(&held(",hold_new='refuse'"));
    let (new, _) = image(&lab, "a/b", "new");
    assert_eq!(lab.head(V1).await.status, 403);
    lab.wait(2 * HOUR).await;
    let seen = lab.get(V1).await;
    assert!(seen.is(403, "DENIED"), "{seen:?}");
    assert_eq!(
        seen.json()["errors"][0]["message"],
        "reg.example/a/b:v1 is new: it was first seen 2h ago, and is served once it has stood for 3d \
         (hold_new = \"refuse\"); to let it through now: registry-proxy cache release reg.example/a/b:v1"
    );
    lab.wait(3 * DAY - 2 * HOUR).await;
    assert_eq!(pulled(&lab).await.0, new);
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_through_the_proxy_points_at_once() {
    let text = held(",hold_new='refuse'") + &upstream("push=true");
    let lab = Fixture::caching(&text);
    for size in [10, 20] {
        let bytes = manifest_of(size);
        let digest = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, bytes.clone());
        let seen = lab.put(V1).header("content-type", OCI_MANIFEST).body(bytes).await;
        assert_eq!(seen.status, 201, "{seen:?}");
        assert_eq!(pulled(&lab).await.0, digest);
        assert_eq!(lab.get(&manifest(&digest)).await.status, 200);
        lab.wait(100).await;
    }
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(30));
    let (_, done) = pulled(&lab).await;
    assert_eq!(done, "held; reason=\"moved 0s ago, held for 3d\"", "what others push is held");
}

#[tokio::test(start_paused = true)]
async fn what_a_held_tag_needs_is_not_evicted() {
    let text = "[cache]\nmax_size='40KB'\ntags=[{match='**',hold='3d'}]";
    let (lab, old, _) = moved(text).await;
    assert_eq!(pulled(&lab).await.0, old);
    // Larger and used later than the held image.
    for number in 0..8 {
        let name = format!("c/{number}");
        let layer = lab.registry.put_blob(&name, manifest_of(5000 + number));
        lab.registry.put_manifest(&name, "v1", OCI_MANIFEST, format!(r#"{{"layers":[{{"digest":"{layer}"}}]}}"#));
        lab.wait(10).await;
        lab.get(&format!("/v2/{name}/manifests/v1")).await;
        lab.get(&format!("/v2/{name}/blobs/{layer}")).await;
    }
    lab.wait(10).await;
    assert!(lab.proxy.janitor().expect("a janitor").once(true).await);
    lab.net.fault("*", "", 99, Fault::Refuse);
    lab.wait(100).await;
    assert_eq!(lab.get("/v2/c/0/manifests/v1").await.status, 504, "something was evicted");
    assert_eq!(lab.get(V1).await.done(), "stale", "all of the held image is here");
}

#[tokio::test(start_paused = true)]
async fn where_no_request_may_wait_for_another_it_is_the_same() {
    let store = Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())));
    let text = held("");
    let lab = Fixture::set_up(&Setup { text: &text, isolated: true, store: Some(store), ..Setup::default() });
    let (old, _) = image(&lab, "a/b", "old");
    assert_eq!(pulled(&lab).await.0, old);
    lab.wait(100).await;
    let (new, _) = image(&lab, "a/b", "new");
    assert_eq!(pulled(&lab).await, (old, "held; reason=\"moved 0s ago, held for 3d\"".to_owned()));
    lab.wait(3 * DAY).await;
    assert_eq!(pulled(&lab).await.0, new);
}

#[tokio::test(start_paused = true)]
async fn signatures_of_an_image_are_never_held() {
    let lab = Fixture::caching(&held(",hold_new='refuse'"));
    let tag = format!("sha256-{}.sig", "a".repeat(64));
    for size in [10, 20] {
        let digest = lab.registry.put_manifest("a/b", &tag, OCI_MANIFEST, manifest_of(size));
        let seen = lab.get(&format!("/v2/a/b/manifests/{tag}")).await;
        assert_eq!((seen.status.as_u16(), seen.header("docker-content-digest")), (200, digest.as_str()));
        lab.wait(100).await;
    }
}

/// What `explain` says of the hold.
async fn told(lab: &Fixture, text: &str) -> HoldReport {
    explained(lab, text, "a/b:v1").await.tag.and_then(|tag| tag.hold).expect("a hold")
}

async fn explained(lab: &Fixture, text: &str, name: &str) -> Explanation {
    let text = format!("{text}\n{}", upstream(""));
    let config = Config::load(&Sources { text: Some(&text), variables: vec![], read: &stored_nowhere });
    lab.proxy.explain(&config.expect("a configuration"), name).await
}

#[tokio::test(start_paused = true)]
async fn explain_shows_both_digests_and_the_time_in_each_state() {
    let text = held("");
    let lab = Fixture::caching(&text);
    assert_eq!(told(&lab, &text).await.state, "unknown");
    let (old, _) = image(&lab, "a/b", "old");
    pulled(&lab).await;
    let report = told(&lab, &text).await;
    assert_eq!((report.state, report.served, report.upstream), ("current", Some(old.clone()), None));
    lab.wait(100).await;
    let (new, _) = image(&lab, "a/b", "new");
    pulled(&lab).await;
    let pull = explained(&lab, &text, "a/b:v1").await.pull;
    assert_eq!((pull.does, pull.why.as_str()), ("held", "tag moved"), "as the next answer says");
    let pull = explained(&lab, &text, &format!("a/b@{new}")).await.pull;
    assert_eq!((pull.does, pull.why.ends_with("(403)")), ("refuse", true), "{}", pull.why);
    lab.wait(2 * HOUR).await;
    let report = told(&lab, &text).await;
    assert_eq!((report.state, report.served, report.upstream), ("held", Some(old), Some(new)));
    assert_eq!((report.moved_seconds_ago, report.held_seconds_more), (Some(2 * HOUR), Some(3 * DAY - 2 * HOUR)));
    let text = held(",hold_new='refuse'");
    let lab = Fixture::caching(&text);
    let (new, _) = image(&lab, "a/b", "new");
    lab.get(V1).await;
    let report = told(&lab, &text).await;
    assert_eq!((report.state, report.served, report.upstream), ("new", None, Some(new)));
}
