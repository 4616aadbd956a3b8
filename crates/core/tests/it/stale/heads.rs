//! What a HEAD says of a tag, which containerd and crane ask before they pull by digest, and what it does not say.

use registry_proxy_core::testing::{Answer, Fault};

use crate::fixture::{Fixture, image};

#[tokio::test(start_paused = true)]
async fn a_tag_known_by_head_only_is_served_in_an_outage_where_its_image_is_here() {
    for (is_head_first, restarts) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut lab = Fixture::caching("");
        let (digest, layer) = image(&lab, "a/b", "1");
        image(&lab, "c/d", "1");
        if is_head_first {
            assert_eq!(lab.head("/v2/a/b/manifests/v1").await.status, 200);
        }
        // All of it comes through another repository.
        for path in ["/v2/c/d/manifests/v1".to_owned(), format!("/v2/c/d/blobs/{layer}")] {
            assert_eq!(lab.get(&path).await.status, 200);
        }
        lab.wait(1).await;
        let head = lab.head("/v2/a/b/manifests/v1").await;
        assert_eq!((head.status.as_u16(), head.header("docker-content-digest")), (200, &*digest));
        lab.wait(61).await;
        if restarts {
            lab.restart("");
        }
        lab.net.fault("*", "", 99, Fault::Say(Answer::new(503)));
        for (path, done) in [
            ("/v2/a/b/manifests/v1".to_owned(), "stale"),
            (format!("/v2/a/b/manifests/{digest}"), "hit"),
            (format!("/v2/a/b/blobs/{layer}"), "hit"),
        ] {
            let seen = lab.get(&path).await;
            assert_eq!(
                (seen.status.as_u16(), seen.done()),
                (200, done),
                "{is_head_first} {restarts} {path}: {seen:?}"
            );
        }
    }
}

/// A front that turns HEAD down before it looks at a login says nothing of who asks.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_declined_gives_nobody_access_to_what_is_cached() {
    const V1: &str = "/v2/a/secret/manifests/v1";
    const SECRET: &str = "repository:a/secret:pull";
    for declined in [400, 405, 501] {
        let lab = Fixture::caching("[clients]\nauth='upstream'").with_tokens();
        lab.registry.add_user("alice", "wonder");
        lab.registry.add_user("bob", "builder");
        lab.registry.make_private("a/secret", &["alice"]);
        let (manifest, layer) = image(&lab, "a/secret", "one");
        let alice = lab.login_for("alice", "wonder", SECRET).await;
        let paths =
            [V1.to_owned(), format!("/v2/a/secret/manifests/{manifest}"), format!("/v2/a/secret/blobs/{layer}")];
        for path in &paths {
            assert_eq!(lab.get(path).bearer(&alice).await.status, 200, "{path}");
        }
        lab.wait(3600).await;
        let bob = lab.login_for("bob", "builder", SECRET).await;
        lab.net.fault("HEAD", "/manifests/", 99, Fault::Say(Answer::new(declined)));
        lab.net.fault("GET", "/manifests/", 99, Fault::Say(Answer::new(503)));
        lab.net.fault("*", "/blobs/", 99, Fault::Say(Answer::new(503)));
        for path in &paths {
            let seen = lab.get(path).bearer(&bob).await;
            assert_eq!(seen.status, 504, "{declined} {path} {seen:?}");
        }
    }
}
