//! Logins that a cloud issues (`upstream.login`): renewed once for all who wait, before their end, and after a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::{IssuedLogin, LoginIssuer, NotIssued};
use registry_proxy_core::secret::{Basic, Secret};
use registry_proxy_core::testing::{Answer, Fault, Gate, Sent, Server as _};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, Lines, OCI_MANIFEST, ORIGIN, Setup, image, manifest_of, upstream};

const V1: &str = "/v2/a/b/manifests/v1";
const FIRST: &str = "Basic QVdTOmxvZ2luLTE=";
const SECOND: &str = "Basic QVdTOmxvZ2luLTI=";
const HALF_AN_HOUR: u64 = 1800;
const TWELVE_HOURS: u64 = 43_200;

/// A cloud that issues `AWS:login-1`, `AWS:login-2` and so on, each for twelve hours.
#[derive(Default)]
struct Cloud {
    asked: AtomicUsize,
    takes: Duration,
    is_down: AtomicBool,
}

#[async_trait]
impl LoginIssuer for Cloud {
    async fn issue(&self, upstream: usize) -> Result<IssuedLogin, NotIssued> {
        assert_eq!(upstream, 0);
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::time::sleep(self.takes).await;
        if self.is_down.load(Ordering::Relaxed) {
            return Err(NotIssued("169.254.169.254 answers 503".to_owned()));
        }
        let basic = Basic { username: "AWS".to_owned(), password: Secret::new(format!("login-{number}")) };
        Ok(IssuedLogin { basic, life: Duration::from_secs(TWELVE_HOURS) })
    }
}

impl Cloud {
    fn taking(seconds: u64) -> Arc<Self> {
        Arc::new(Self { takes: Duration::from_secs(seconds), ..Self::default() })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }
}

/// Before a registry that knows the logins of this cloud.
fn lab(cloud: &Arc<Cloud>, is_caching: bool) -> Fixture {
    let store = is_caching.then(|| Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start()))) as Arc<_>);
    let text = upstream("login='ecr'");
    let lab =
        Fixture::set_up(&Setup { text: &text, store, login_issuer: Some(cloud.clone()), ..Setup::default() });
    lab.registry.guard(Gate::Basic);
    for number in 1..9 {
        lab.registry.add_user("AWS", &format!("login-{number}"));
    }
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab
}

/// As whom manifests were asked for since the last question; without those that showed what kind of login is wanted.
fn asked_as(lab: &Fixture) -> Vec<String> {
    let sent = lab.net.sent("*", "/manifests/");
    lab.net.forget();
    sent.iter().map(|sent| sent.header("authorization").to_owned()).filter(|who| !who.is_empty()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_pulls_at_once_wait_for_one_login() {
    let cloud = Cloud::taking(2);
    let lab = lab(&cloud, false);
    let tags: Vec<String> = (0..100).map(|number| format!("t{number}")).collect();
    for tag in &tags {
        lab.registry.put_manifest("a/b", tag, OCI_MANIFEST, manifest_of(10));
    }
    let pulls = tags.iter().map(|tag| lab.get(&format!("/v2/a/b/manifests/{tag}")).into_future());
    let seen = join_all(pulls).await;
    assert!(seen.iter().all(|seen| seen.status == 200), "{seen:?}");
    assert_eq!(cloud.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_is_renewed_before_its_end_and_no_pull_waits_for_it() {
    let cloud = Cloud::taking(2);
    let lab = lab(&cloud, false);
    assert_eq!(lab.get(V1).await.status, 200);
    lab.wait(TWELVE_HOURS - HALF_AN_HOUR - 10).await;
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(cloud.asked(), 1, "not earlier than need be");
    lab.wait(20).await;
    asked_as(&lab);
    let begun = lab.now();
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.now().since(begun), Duration::ZERO);
    assert_eq!(asked_as(&lab), [FIRST]);
    lab.wait(3).await;
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!((asked_as(&lab), cloud.asked()), (vec![SECOND.to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_login_is_replaced_at_once_and_by_one_call() {
    let cloud = Cloud::taking(1);
    let lab = lab(&cloud, false);
    let tags: Vec<String> = (0..50).map(|number| format!("t{number}")).collect();
    for tag in &tags {
        lab.registry.put_manifest("a/b", tag, OCI_MANIFEST, manifest_of(10));
    }
    assert_eq!(lab.get(V1).await.status, 200);
    lab.wait(60).await;
    // As ECR says it of a login that has ended.
    let registry = lab.registry.clone();
    lab.net.serve(ORIGIN, move |sent: &Sent| match sent.header("authorization") {
        FIRST => Answer::new(403),
        _ => registry.answer(sent),
    });
    let pulls = tags.iter().map(|tag| lab.get(&format!("/v2/a/b/manifests/{tag}")).into_future());
    let seen = join_all(pulls).await;
    assert!(seen.iter().all(|seen| seen.status == 200), "{seen:?}");
    assert_eq!(cloud.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_account_may_not_read_costs_one_renewal_a_minute() {
    let cloud = Cloud::taking(0);
    let lab = lab(&cloud, false);
    assert_eq!(lab.get(V1).await.status, 200);
    lab.wait(60).await;
    lab.net.fault("*", "/manifests/", 999, Fault::Say(Answer::new(403)));
    for _ in 0..20 {
        assert!(lab.get(V1).await.status.is_client_error());
        lab.wait(1).await;
    }
    assert_eq!(cloud.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_identity_service_is_down_what_is_cached_is_served() {
    let cloud = Cloud::taking(0);
    let lab = lab(&cloud, true);
    let (_, layer) = image(&lab, "a/b", "1");
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{layer}")).await.status, 200);
    lab.wait(TWELVE_HOURS).await;
    cloud.set_down(true);
    let warnings = Lines::of_warnings();
    let seen = lab.get(V1).await;
    assert_eq!((seen.status.as_u16(), seen.done()), (200, "stale"), "{seen:?}");
    let seen = lab.get("/v2/a/b/manifests/other").await;
    assert_eq!(seen.status, 504, "{seen:?}");
    assert!(
        String::from_utf8_lossy(&seen.body).contains("this proxy's login to it could not be renewed"),
        "{seen:?}"
    );
    assert!(format!("{:?}", warnings.take()).contains("169.254.169.254 answers 503"), "the log says why");
    // A minute of requests: pauses of 1, 2, 4, 8, 16 and 32 seconds.
    for _ in 0..62 {
        lab.get("/v2/a/b/manifests/other").await;
        lab.wait(1).await;
    }
    assert_eq!(cloud.asked(), 1 + 6);
    cloud.set_down(false);
    lab.wait(60).await;
    assert_eq!(lab.get(V1).await.done(), "revalidated");
}

#[tokio::test(start_paused = true)]
async fn an_identity_service_that_never_answers_holds_nobody_for_long() {
    let cloud = Cloud::taking(3600);
    let lab = lab(&cloud, false);
    let begun = lab.now();
    assert_eq!(lab.get(V1).await.status, 504);
    assert_eq!(lab.now().since(begun), Duration::from_secs(15));
    assert_eq!(lab.get(V1).await.status, 504);
    assert_eq!(lab.now().since(begun), Duration::from_secs(15), "it is not asked again at once");
}
