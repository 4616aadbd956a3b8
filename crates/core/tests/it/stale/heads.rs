//! Tags of which only a HEAD has been asked, as containerd and crane ask before they pull by digest.

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
