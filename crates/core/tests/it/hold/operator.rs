//! What an operator does with held tags: `registry-proxy cache release`, `pin`, `unpin`.

use std::sync::{Arc, Mutex};

use registry_proxy_core::admin::{CacheAdmin, Command, Event, HeldState, HoldEntry, Purge};
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::testing::{Answer, Fault};

use super::{DAY, V1, held, moved, pulled};
use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, Setup, image, manifest_of};

async fn run(admin: &CacheAdmin, command: Command) -> Vec<Event> {
    command.check().expect("a command");
    let told = Mutex::new(Vec::new());
    admin.run(&command, &|event| told.lock().expect("nobody panicked").push(event)).await.expect("a store");
    told.into_inner().expect("nobody panicked")
}

pub(super) async fn purge_all(lab: &Fixture) {
    let admin = lab.proxy.cache_admin().expect("a cache");
    run(&admin, Command::Purge { what: Purge::All, dry_run: false }).await;
}

fn tag(name: &str, from: &str, to: &str) -> Event {
    Event::Tag { name: name.to_owned(), from: Some(from.to_owned()), to: Some(to.to_owned()) }
}

#[tokio::test(start_paused = true)]
async fn a_release_lets_clients_have_it_now() {
    for pattern in ["reg.example/a/b:v1", "reg.example/a/b", "reg.example/**", "**:v1"] {
        let (lab, old, new) = moved(&held("")).await;
        let admin = lab.proxy.cache_admin().expect("a cache");
        assert_eq!(
            run(&admin, Command::Release(pattern.to_owned())).await,
            [Event::Led(0)],
            "nothing is held yet"
        );
        assert_eq!(pulled(&lab).await.0, old);
        let told = run(&admin, Command::Release(pattern.to_owned())).await;
        assert_eq!(told, [tag("reg.example/a/b:v1", &old, &new), Event::Led(1)]);
        assert_eq!(lab.get(&super::manifest(&new)).await.status, 200, "{pattern}");
        assert_eq!(pulled(&lab).await.0, new, "{pattern}");
        lab.wait(100).await;
        assert_eq!(pulled(&lab).await.0, new, "{pattern}");
    }
}

#[tokio::test(start_paused = true)]
async fn held_tags_are_listed_with_both_digests_and_since_when() {
    let (lab, old, new) = moved(&held("")).await;
    image(&lab, "a/c", "stays");
    assert_eq!(lab.get("/v2/a/c/manifests/v1").await.status, 200);
    let admin = lab.proxy.cache_admin().expect("a cache");
    let held = |pattern: Option<&str>| Command::Held(pattern.map(str::to_owned));
    assert_eq!(run(&admin, held(None)).await, [Event::Counted(0)], "the move was not seen yet");
    assert_eq!(pulled(&lab).await.0, old);
    lab.wait(7).await;
    let waiting = HoldEntry {
        name: "reg.example/a/b:v1".to_owned(),
        state: HeldState::Held,
        served: Some(old.clone()),
        upstream: Some(new.clone()),
        moved_seconds_ago: Some(7),
        newest_seconds_ago: Some(7),
        oldest_seconds_ago: Some(7),
    };
    assert_eq!(run(&admin, held(None)).await, [Event::Held(waiting.clone()), Event::Counted(1)]);
    assert_eq!(run(&admin, held(Some("reg.example/a/b"))).await.len(), 2);
    assert_eq!(run(&admin, held(Some("reg.example/a/c"))).await, [Event::Counted(0)]);
    let pin = Command::Pin { image: waiting.name.clone(), digest: new.clone() };
    run(&admin, pin).await;
    let pinned = HoldEntry { state: HeldState::Pinned, served: Some(new.clone()), ..waiting };
    assert_eq!(run(&admin, held(None)).await, [Event::Held(pinned.clone()), Event::Counted(1)]);
    run(&admin, Command::Unpin(pinned.name)).await;
    run(&admin, Command::Release("**".to_owned())).await;
    assert_eq!(run(&admin, held(None)).await, [Event::Counted(0)]);
}

#[tokio::test(start_paused = true)]
async fn a_new_tag_that_is_refused_is_listed_as_new() {
    let lab = Fixture::caching(&held(",hold_new='refuse'"));
    let (new, _) = image(&lab, "a/b", "new");
    assert_eq!(lab.get(super::V1).await.status, 403);
    assert!(lab.proxy.flush(std::time::Duration::from_secs(5)).await, "all is written");
    let admin = lab.proxy.cache_admin().expect("a cache");
    let told = run(&admin, Command::Held(None)).await;
    let [Event::Held(tag), Event::Counted(1)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((tag.state, tag.served.as_deref(), tag.upstream.as_ref()), (HeldState::New, None, Some(&new)));
}

#[tokio::test(start_paused = true)]
async fn a_release_on_the_store_reaches_the_server_when_it_next_asks() {
    let store = Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())));
    let text = held("");
    let lab = Fixture::set_up(&Setup { text: &text, store: Some(store.clone()), ..Setup::default() });
    let (old, _) = image(&lab, "a/b", "old");
    pulled(&lab).await;
    lab.wait(100).await;
    let (new, _) = image(&lab, "a/b", "new");
    assert_eq!(pulled(&lab).await.0, old);
    lab.wait(1).await;
    let admin = CacheAdmin::of_store(store, Arc::new(TokioClock::start()));
    run(&admin, Command::Release("**".to_owned())).await;
    lab.wait(61).await;
    assert_eq!(pulled(&lab).await.0, new);
}

#[tokio::test(start_paused = true)]
async fn a_pinned_tag_points_there_until_it_is_unpinned() {
    let (mut lab, old, new) = moved(&held("")).await;
    let name = "reg.example/a/b:v1";
    let admin = lab.proxy.cache_admin().expect("a cache");
    let told = run(&admin, Command::Pin { image: name.to_owned(), digest: new.clone() }).await;
    assert_eq!(told, [tag(name, &old, &new), Event::Led(1)]);
    assert_eq!(pulled(&lab).await, (new.clone(), "held; reason=\"pinned\"".to_owned()));
    image(&lab, "a/b", "newer");
    for _ in 0..3 {
        lab.wait(40 * DAY).await;
        assert_eq!(lab.get(V1).header("cache-control", "no-cache").await.header("docker-content-digest"), new);
        lab.restart(&held(""));
    }
    purge_all(&lab).await;
    assert_eq!(pulled(&lab).await.0, new);
    let admin = lab.proxy.cache_admin().expect("a cache");
    run(&admin, Command::Unpin(name.to_owned())).await;
    assert_eq!(run(&admin, Command::Unpin(name.to_owned())).await, [Event::Led(0)]);
    assert_eq!(pulled(&lab).await.0, old, "as it was held before");
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_pinned_or_released_offline_is_served_if_its_manifest_is_cached() {
    let (mut lab, old, _) = moved(&held("")).await;
    let offline = held("").replace("[cache]", "[cache]\noffline=true");
    assert_eq!(pulled(&lab).await.0, old);
    let (name, kept) =
        ("reg.example/a/b:v1", lab.registry.put_manifest("a/b", "kept", OCI_MANIFEST, manifest_of(10)));
    assert_eq!(lab.get("/v2/a/b/manifests/kept").await.status, 200);
    lab.wait(1).await;
    lab.restart(&offline);
    assert_eq!(pulled(&lab).await.0, old);
    let admin = lab.proxy.cache_admin().expect("a cache");
    run(&admin, Command::Pin { image: name.to_owned(), digest: kept.clone() }).await;
    assert_eq!(pulled(&lab).await, (kept, "held; reason=\"pinned\"".to_owned()));
    run(&admin, Command::Unpin(name.to_owned())).await;
    assert_eq!(pulled(&lab).await.0, old);
    run(&admin, Command::Release(name.to_owned())).await;
    assert_eq!(lab.get(V1).await.status, 404, "the manifest that it moved to was never fetched");
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_was_deleted_at_its_registry_is_not_served_offline() {
    let (mut lab, old, _) = moved(&held("")).await;
    assert_eq!(pulled(&lab).await.0, old);
    lab.net.fault("*", "/manifests/v1", 99, Fault::Say(Answer::new(404)));
    lab.wait(100).await;
    assert_eq!(lab.get(V1).await.status, 404);
    lab.wait(1).await;
    lab.restart(&held("").replace("[cache]", "[cache]\noffline=true"));
    assert_eq!(lab.get(V1).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_tag_whose_manifests_are_deleted_before_they_have_stood_is_listed_as_such() {
    let (lab, old, _) = moved(&held(",hold_max='5d'")).await;
    assert_eq!(pulled(&lab).await.0, old);
    for day in 0..6 {
        lab.wait(DAY).await;
        let (newest, _) = image(&lab, "a/b", &format!("nightly {day}"));
        // The registry keeps nothing but the newest.
        lab.net.heal();
        lab.net.fault("GET", "/manifests/sha256:", 999, Fault::Say(Answer::new(404)));
        lab.net.fault("HEAD", "/manifests/sha256:", 999, Fault::Say(Answer::new(404)));
        assert_eq!(lab.get(V1).await.header("docker-content-digest"), old, "{newest}");
    }
    assert!(lab.proxy.flush(std::time::Duration::from_secs(5)).await, "all is written");
    let told = run(&lab.proxy.cache_admin().expect("a cache"), Command::Held(None)).await;
    let [Event::Held(tag), Event::Counted(1)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(tag.moved_seconds_ago, Some(6 * DAY));
    assert_eq!(tag.oldest_seconds_ago, Some(2 * DAY), "older ones are gone");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_any_more_is_refused_with_the_way_out() {
    let (lab, old, _) = moved(&held("")).await;
    assert_eq!(pulled(&lab).await.0, old);
    purge_all(&lab).await;
    lab.net.fault("*", "/manifests/sha256:", 99, Fault::Say(Answer::new(404)));
    let seen = lab.get(V1).await;
    assert!(seen.is(404, "MANIFEST_UNKNOWN"), "{seen:?}");
    assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"held manifest is gone\"");
    let message = seen.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.starts_with(&format!("reg.example/a/b:v1 is held at {old}, which neither")), "{message}");
}

#[tokio::test(start_paused = true)]
async fn commands_that_name_no_tag_are_refused() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let pin = |image: &str, digest: &str| Command::Pin { image: image.to_owned(), digest: digest.to_owned() };
    for command in [
        pin("reg.example/a/b:v1", "latest"),
        pin("reg.example/a/b", &digest),
        pin("v1", &digest),
        pin("reg.example/../b:v1", &digest),
        pin("reg.example/a/b:v1/x", &digest),
        Command::Unpin("reg.example/a/b".to_owned()),
        Command::Release(String::new()),
    ] {
        assert!(command.check().is_err(), "{command:?}");
    }
    assert_eq!(pin("reg.example/a/b:v1", &digest).check(), Ok(()));
}
