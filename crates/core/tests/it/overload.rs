//! More requests than there are places for.

use std::time::Duration;

use async_trait::async_trait;
use registry_proxy_core::platform::Passwords;
use registry_proxy_core::secret::Basic;
use registry_proxy_core::testing::Fault;

use crate::fixture::{Fixture, OCI_MANIFEST, manifest_of};

#[tokio::test(start_paused = true)]
async fn the_ping_is_answered_however_many_wait() {
    let lab = Fixture::new("[limits]\nwaiting=3");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.fault("*", "", 99, Fault::Late(Duration::from_secs(5)));
    let manifests =
        futures_util::future::join_all((0..3).map(|_| async { lab.get("/v2/a/b/manifests/v1").await }));
    let pings = async {
        lab.wait(1).await;
        for path in ["/v2/", "/v2", "/reg.example/v2/"] {
            assert_eq!(lab.get(path).await.status, 200, "{path}");
        }
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 429);
    };
    let (manifests, ()) = futures_util::future::join(manifests, pings).await;
    assert!(manifests.iter().all(|seen| seen.status == 200));
}

/// Passwords that nobody ever gets an answer about.
struct Never;

#[async_trait]
impl Passwords for Never {
    async fn verify(&self, _: &Basic) -> bool {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_does_not_wait_for_ever_for_a_password_to_be_checked() {
    let text = "[clients]\nauth='users'\nusers_file='u'";
    let mut lab = Fixture::new(text);
    lab.platform.passwords = Some(std::sync::Arc::new(Never));
    lab.restart(text);
    let begun = lab.now();
    assert!(lab.get("/v2/").basic("alice", "wonder").await.is(504, "UNAVAILABLE"));
    assert_eq!(lab.now().since(begun), Duration::from_secs(25));
}
