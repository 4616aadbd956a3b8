//! What an operator is told: each thing once, and nothing that is secret.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use registry_proxy_core::admin::Command;
use registry_proxy_core::notification::{EventKind, Notification, Notifications, Notify};
use registry_proxy_core::testing::{Answer, Fault};

use crate::fixture::{Fixture, OCI_MANIFEST, image, manifest_of, noise, upstream};

/// Wants these, and remembers what it was told.
struct Operator {
    wants: &'static [EventKind],
    told: Mutex<Vec<Notification>>,
}

impl Notify for Operator {
    fn wants(&self, kind: EventKind) -> bool {
        self.wants.contains(&kind)
    }

    fn notify(&self, notification: Notification) {
        self.told.lock().expect("no test panics here").push(notification);
    }
}

impl Operator {
    fn take(&self) -> Vec<Notification> {
        std::mem::take(&mut self.told.lock().expect("no test panics here"))
    }
}

/// With a cache, and an operator who wants these.
fn with_operator(text: &str, wants: &'static [EventKind]) -> (Fixture, Arc<Operator>) {
    let mut lab = Fixture::caching(text);
    let operator = Arc::new(Operator { wants, told: Mutex::default() });
    lab.platform.notifications = Notifications::to(Arc::clone(&operator) as Arc<dyn Notify>);
    lab.restart(text);
    (lab, operator)
}

const V1: &str = "/v2/a/b/manifests/v1";

#[tokio::test(start_paused = true)]
async fn a_tag_that_moves_is_told_once_however_many_ask() {
    let (mut lab, operator) = with_operator("", EventKind::ALL);
    let (first, _) = image(&lab, "a/b", "1");
    assert_eq!(lab.get(V1).await.status, 200);
    lab.wait(60).await;
    assert_eq!(lab.get(V1).await.done(), "revalidated");
    assert_eq!(operator.take(), [], "where it was before");
    let (second, _) = image(&lab, "a/b", "2");
    lab.wait(60).await;
    join_all((0..5).map(|_| async { lab.get(V1).await })).await;
    lab.reload("");
    lab.get(V1).await;
    let moved = |from: &str, to: &str| Notification::TagMoved {
        upstream: "reg.example".into(),
        repository: "a/b".into(),
        tag: "v1".into(),
        from: from.into(),
        to: to.into(),
    };
    assert_eq!(operator.take(), [moved(&first, &second)]);
    image(&lab, "a/b", "1");
    lab.wait(60).await;
    lab.head(V1).await;
    assert_eq!(operator.take(), [moved(&second, &first)], "and back");
}

#[tokio::test(start_paused = true)]
async fn a_held_tag_is_told_when_it_is_held_and_when_clients_get_it() {
    let hold = "[cache]\ntags=[{match='reg.example/**',hold='3d'}]\n";
    let (lab, operator) = with_operator(hold, &[EventKind::Held, EventKind::Released]);
    let (first, _) = image(&lab, "a/b", "1");
    lab.get(V1).await;
    assert_eq!(operator.take(), [], "a tag that is seen for the first time is served");
    let (second, _) = image(&lab, "a/b", "2");
    lab.wait(100).await;
    join_all((0..5).map(|_| async { lab.get(V1).await })).await;
    let told_held = |to: &str| Notification::Held {
        upstream: "reg.example".into(),
        repository: "a/b".into(),
        tag: "v1".into(),
        served: Some(first.as_str().into()),
        to: to.into(),
        held_seconds: 3 * 24 * 3600,
    };
    let released = |from: &str, to: &str| Notification::Released {
        upstream: "reg.example".into(),
        repository: "a/b".into(),
        tag: "v1".into(),
        from: Some(from.into()),
        to: to.into(),
    };
    assert_eq!(operator.take(), [told_held(&second)]);
    lab.wait(3 * 24 * 3600).await;
    lab.get(V1).await;
    assert_eq!(operator.take(), [released(&first, &second)], "its time is over");
    image(&lab, "a/b", "3");
    lab.wait(100).await;
    lab.get(V1).await;
    operator.take();
    let admin = lab.proxy.cache_admin().expect("a cache");
    admin.run(&Command::Release("**".to_owned()), &|_| {}).await.expect("a store");
    let told = operator.take();
    assert!(matches!(told.as_slice(), [Notification::Released { .. }]), "an operator lets it through: {told:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_what_nobody_wants_to_hear() {
    let (lab, operator) = with_operator("", &[EventKind::Corrupt]);
    image(&lab, "a/b", "1");
    lab.get(V1).await;
    image(&lab, "a/b", "2");
    lab.wait(60).await;
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(operator.take(), []);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_answers_nobody_for_ten_seconds_is_told_once_and_so_is_its_return() {
    let (lab, operator) = with_operator("", EventKind::ALL);
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.fault("*", "", 999, Fault::Refuse);
    let mut told_after = None;
    for second in 0..60 {
        assert_eq!(lab.get(V1).await.status, 504);
        if !operator.told.lock().unwrap().is_empty() {
            told_after.get_or_insert(second);
        }
        lab.wait(1).await;
    }
    let down =
        Notification::UpstreamDown { upstream: "reg.example".into(), why: "the connection was refused".into() };
    assert_eq!(operator.take(), [down]);
    // It is probed after 0.5, 1, 2, 4 and 8 seconds: the first probe after ten tells it.
    assert!(told_after.is_some_and(|second| (10..=17).contains(&second)), "{told_after:?}");
    lab.net.heal();
    lab.wait(60).await;
    assert_eq!(lab.get(V1).await.status, 200);
    let told = operator.take();
    assert!(matches!(told.as_slice(), [Notification::UpstreamUp { down_seconds: 100..=125, .. }]), "{told:?}");
    lab.get(V1).await;
    assert_eq!(operator.take(), []);
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_and_an_upstream_with_another_address_are_not_told() {
    let (lab, operator) = with_operator("", EventKind::ALL);
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.fault("*", "", 3, Fault::Refuse);
    for _ in 0..8 {
        lab.get(V1).await;
        lab.wait(1).await;
    }
    let two = "[[upstream]]\nname='reg.example'\ndefault=true\nurls=['https://first.up.example.com','https://origin.up.example.com']\n";
    let (lab, other) = with_operator(two, EventKind::ALL);
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.fault("*", "first.up", 999, Fault::Refuse);
    for _ in 0..30 {
        assert_eq!(lab.get(V1).await.status, 200);
        lab.wait(60).await;
    }
    assert_eq!((operator.take(), other.take()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn content_that_is_not_what_its_digest_says_is_told() {
    let (lab, operator) = with_operator("", EventKind::ALL);
    let blob = lab.registry.put_blob("a/b", noise(200_000));
    lab.net.fault("GET", "/blobs/", 1, Fault::change(|answer| answer.body = noise(200_001).slice(1..)));
    lab.get(&format!("/v2/a/b/blobs/{blob}")).await;
    lab.wait(1).await;
    assert_eq!(operator.take(), [Notification::Corrupt { content: "download", digest: blob.into() }]);
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_repository_and_a_quota_that_is_used_up_are_told_once_an_hour() {
    let text = format!("[quota.client]\nrequests_per_hour=2\n{}", upstream("repositories={deny=['secret/**']}"));
    let (lab, operator) = with_operator(&text, EventKind::ALL);
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    for path in ["/v2/secret/x/manifests/v1", "/v2/secret/x/tags/list", "/v2/nothing.test/x/manifests/v1"] {
        lab.get(path).from("192.0.2.1").await;
    }
    for _ in 0..5 {
        lab.get(V1).from("192.0.2.1").await;
    }
    let refused = Notification::Refused {
        why: "repository not allowed",
        upstream: Some("reg.example".into()),
        repository: Some("secret/x".into()),
        client: Some("192.0.2.1".into()),
    };
    let quota = |client: &str| Notification::Quota {
        limit: "quota.client.requests_per_hour",
        retry_after_seconds: 2800,
        client: Some(client.into()),
    };
    assert_eq!(operator.take(), [refused, quota("192.0.2.1")]);
    for _ in 0..3 {
        lab.get(V1).from("192.0.2.2").await;
    }
    assert_eq!(operator.take(), [quota("192.0.2.2")], "each client's is one of its own");
}

#[tokio::test(start_paused = true)]
async fn no_secret_and_no_address_of_an_upstream_is_told() {
    let keys = "[log]\nclient='none'\n[clients]\nauth='users'\nusers_file='u'\npath_secret_file='secret'\n[limits]\nwrong_logins=1\n[quota.client]\nrequests_per_hour=9\n";
    let text = format!(
        "{keys}{}",
        upstream("username='robot'\npassword='robots-password'\nrepositories={deny=['denied/**']}")
    );
    let (lab, operator) = with_operator(&text, EventKind::ALL);
    let blob = lab.registry.put_blob("a/b", noise(200_000));
    image(&lab, "a/b", "1");
    let path = |rest: &str| format!("/v2/what-is-in-secret/{rest}");
    let v1 = path("a/b/manifests/v1");
    for word in ["wrong-1", "wrong-2", "wrong-3"] {
        lab.get(&path("a/b/manifests/v1")).basic("alice", word).await;
    }
    // Logins of that address are checked again.
    lab.wait(61).await;
    lab.get(&path("denied/x/manifests/v1")).basic("alice", "wonder").await;
    lab.get(&v1).basic("alice", "wonder").await;
    image(&lab, "a/b", "2");
    lab.wait(60).await;
    lab.get(&v1).basic("alice", "wonder").await;
    lab.net.fault("GET", "/blobs/", 1, Fault::change(|answer| answer.body = noise(200_001).slice(1..)));
    lab.get(&path(&format!("a/b/blobs/{blob}"))).basic("alice", "wonder").await;
    lab.net.fault("*", "", 999, Fault::Say(Answer::new(429)));
    lab.net.heal();
    lab.net.fault("*", "", 999, Fault::Refuse);
    for _ in 0..30 {
        lab.wait(1).await;
        lab.get(&path("a/b/manifests/v9")).basic("alice", "wonder").await;
    }
    let told = operator.take();
    let kinds: Vec<EventKind> = told.iter().map(Notification::kind).collect();
    for kind in [EventKind::TagMoved, EventKind::Refused, EventKind::Corrupt, EventKind::Quota] {
        assert!(kinds.contains(&kind), "{kind:?} is not in {kinds:?}");
    }
    for notification in &told {
        let text = format!("{} {}", serde_json::to_string(notification).unwrap(), notification.subject());
        for secret in
            ["what-is-in", "wrong-", "wonder", "alice", "robot", "up.example.com", "10.0.0.", "203.0.113"]
        {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}
