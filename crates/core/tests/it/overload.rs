//! More requests than there are places for.

use std::time::Duration;

use futures_util::future::{join, join_all};
use registry_proxy_core::testing::{Fault, Registry};

use crate::fixture::{Fixture, OCI_MANIFEST, ORIGIN, Seen, SlowUsers, image, manifest_of, noise, upstream};

const OTHER: &str = "https://origin.other.test";

#[tokio::test(start_paused = true)]
async fn the_ping_is_answered_however_many_wait() {
    let lab = Fixture::new("[limits]\nwaiting=3");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.fault("*", "", 99, Fault::Late(Duration::from_secs(5)));
    let manifests = join_all((0..3).map(|_| async { lab.get("/v2/a/b/manifests/v1").await }));
    let pings = async {
        lab.wait(1).await;
        for path in ["/v2/", "/v2", "/reg.example/v2/"] {
            assert_eq!(lab.get(path).await.status, 200, "{path}");
        }
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 429);
    };
    let (manifests, ()) = join(manifests, pings).await;
    assert!(manifests.iter().all(|seen| seen.status == 200));
}

/// With a cache, before `reg.example` and `other.example`, either with the image `a/b:v1`, of which all is in the cache.
/// Tells the digests of manifest and layer.
async fn two_registries(limits: &str) -> (Fixture, String, String) {
    let other = format!("[[upstream]]\nname='other.example'\nurls=['{OTHER}']\n");
    let lab =
        Fixture::caching(&format!("{limits}\n[cache]\ntag_ttl='1h'\nlisting_ttl='1h'\n{}{other}", upstream("")));
    let registry = Registry::default();
    registry.put_manifest("c/d", "v1", OCI_MANIFEST, manifest_of(20));
    lab.net.serve(OTHER, registry);
    let (manifest, layer) = image(&lab, "a/b", "x");
    for path in here(&manifest, &layer) {
        assert_eq!(lab.get(&path).await.status, 200, "{path}");
    }
    assert_eq!(lab.get("/v2/other.example/c/d/manifests/v1").await.status, 200);
    (lab, manifest, layer)
}

/// What is answered from the cache.
fn here(manifest: &str, layer: &str) -> [String; 4] {
    [
        "/v2/a/b/manifests/v1".to_owned(),
        format!("/v2/a/b/manifests/{manifest}"),
        format!("/v2/a/b/blobs/{layer}"),
        "/v2/a/b/tags/list".to_owned(),
    ]
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_slow_upstream_take_no_place_of_anybody_else() {
    let (lab, manifest, layer) = two_registries("[limits]\nwaiting=100").await;
    let lost = lab.registry.put_blob("a/b", noise(9000));
    lab.net.fault("*", ORIGIN, 9999, Fault::Late(Duration::from_secs(9)));
    let crowd = join_all((0..1200).map(|number| {
        let lab = &lab;
        async move { lab.get(&format!("/v2/a/b/manifests/absent-{number}")).await }
    }));
    let others = async {
        lab.wait(1).await;
        for path in here(&manifest, &layer) {
            let seen = lab.get(&path).await;
            assert_eq!((seen.status.as_u16(), seen.done()), (200, "hit"), "{path}");
            assert_eq!(lab.head(&path).await.status, 200, "{path}");
        }
        let part = lab.get(&format!("/v2/a/b/blobs/{layer}")).header("range", "bytes=1-3").await;
        assert_eq!(part.status, 206);
        for path in ["/v2/", "/token", "/v2/other.example/c/d/manifests/v1", "/v2/other.example/c/d/tags/list"] {
            assert_eq!(lab.get(path).await.status, 200, "{path}");
        }
        for path in [format!("/v2/a/b/blobs/{lost}"), "/v2/a/b/manifests/v2".to_owned()] {
            let seen = lab.get(&path).await;
            assert!(seen.is(429, "TOOMANYREQUESTS"), "{path}");
            assert_eq!((seen.done(), seen.header("retry-after")), ("refused", "1"), "{path}");
        }
    };
    let (crowd, ()) = join(crowd, others).await;
    let with = |status: u16| crowd.iter().filter(|seen: &&Seen| seen.status == status).count();
    assert_eq!((with(404), with(429)), (100, 1100));
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{lost}")).await.status, 200, "the places are free again");
}

#[tokio::test(start_paused = true)]
async fn logins_take_no_place_of_those_who_wait_and_leave_them_theirs() {
    let text = "[clients]\nauth='users'\nusers_file='u'\n[limits]\nwaiting=5";
    let (mut lab, _, _) = Fixture::stocked(text);
    let users = SlowUsers::new(Duration::from_secs(3));
    lab.platform.passwords = Some(users.clone());
    lab.restart(text);
    let token = lab.login("alice", "wonder").await;
    let guesses = join_all((0..1300).map(|number| {
        let lab = &lab;
        async move { lab.get("/token").basic(&format!("user{number}"), "guess").from("198.51.100.9").await }
    }));
    let others = async {
        lab.wait(1).await;
        assert_eq!(lab.get("/v2/a/b/manifests/v1").bearer(&token).await.status, 200);
        assert_eq!(lab.get("/v2/a/b/tags/list").bearer(&token).await.status, 200);
        lab.login("bob", "builder").await;
    };
    let (guesses, ()) = join(guesses, others).await;
    assert!(guesses.iter().all(|seen| seen.status == 401 || seen.is(429, "TOOMANYREQUESTS")));
    assert!(users.asked() <= 2 + 32, "a quarter of limits.logins: {}", users.asked());
}

#[tokio::test(start_paused = true)]
async fn a_ping_does_not_wait_for_ever_for_a_password_to_be_checked() {
    let text = "[clients]\nauth='users'\nusers_file='u'";
    let mut lab = Fixture::new(text);
    lab.platform.passwords = Some(SlowUsers::new(Duration::MAX));
    lab.restart(text);
    let begun = lab.now();
    assert!(lab.get("/v2/").basic("alice", "wonder").await.is(504, "UNAVAILABLE"));
    assert_eq!(lab.now().since(begun), Duration::from_secs(25));
}
