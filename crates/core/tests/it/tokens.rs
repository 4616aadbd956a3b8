//! The token dance with upstreams.

mod servers;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use registry_proxy_core::name::RepositoryName;
use registry_proxy_core::platform::CredentialStore;
use registry_proxy_core::secret::{Basic, Secret};
use registry_proxy_core::testing::{Answer, Fault, Gate, Registry, Sent, Server as _};

use crate::fixture::{Fixture, OCI_MANIFEST, ORIGIN, REALM, Setup, manifest_of, upstream};

const V1: &str = "/v2/a/b/manifests/v1";
const ACCOUNT: &str = "username='robot'\npassword='s3cret'";

/// A fixture with tokens and our account.
fn with_account(keys: &str) -> Fixture {
    let lab = Fixture::new(&upstream(&format!("{ACCOUNT}\n{keys}"))).with_tokens();
    lab.registry.add_user("robot", "s3cret");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.registry.make_private("a/b", &["robot"]);
    lab
}

fn challenge(lines: &[&str]) -> Answer {
    lines.iter().fold(Answer::new(401), |answer, line| answer.header("www-authenticate", line))
}

/// Our password, in whatever way it may be sent.
fn carries_password(sent: &Sent) -> bool {
    sent.header("authorization").starts_with("Basic ")
        || String::from_utf8_lossy(&sent.body).contains("s3cret")
        || sent.url.contains("s3cret")
}

#[tokio::test(start_paused = true)]
async fn an_anonymous_token_is_fetched_for_the_repository_and_not_for_the_bogus_scope() {
    let (lab, _, _) = Fixture::stocked("");
    let lab = lab.with_tokens();
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(
        lab.net.lines(),
        [
            format!("GET {ORIGIN}{V1}"),
            format!("GET {REALM}?service=up&scope=repository%3Aa%2Fb%3Apull"),
            format!("GET {ORIGIN}{V1}"),
        ]
    );
    lab.net.forget();
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.net.log().len(), 1, "the token is remembered");
}

#[tokio::test(start_paused = true)]
async fn our_password_goes_to_the_token_server_and_to_nobody_else() {
    let lab = with_account("");
    assert_eq!(lab.get(V1).await.status, 200);
    let with: Vec<String> =
        lab.net.log().iter().filter(|sent| carries_password(sent)).map(|sent| sent.origin().to_owned()).collect();
    assert_eq!(with, ["https://auth.up.example.com"]);
}

#[tokio::test(start_paused = true)]
async fn our_password_goes_to_no_realm_that_is_not_trusted() {
    for realm in
        ["https://evil.example/token", "http://auth.up.example.com/token", "https://up.example.com.evil.example/t"]
    {
        let lab = with_account("");
        lab.net.serve(realm, |_: &Sent| Answer::new(200).body("{\"token\":\"t\"}"));
        lab.registry.guard(Gate::Bearer { realm: realm.to_owned(), service: None });
        let seen = lab.get(V1).await;
        assert!(seen.is(504, "UNAVAILABLE"));
        assert_eq!(seen.header("x-registry-proxy"), "failed; why=\"realm not trusted\"");
        assert!(lab.net.log().iter().all(|sent| sent.origin() == ORIGIN && !carries_password(sent)), "{realm}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_realm_that_the_configuration_names_is_trusted() {
    let lab = with_account("realms=['https://sso.elsewhere.example']");
    lab.registry.guard(Gate::Bearer { realm: "https://sso.elsewhere.example/t".to_owned(), service: None });
    lab.net.serve("https://sso.elsewhere.example/t", lab.registry.clone());
    assert_eq!(lab.get(V1).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn fifty_who_ask_at_once_make_one_token_request() {
    let (lab, _, _) = Fixture::stocked("");
    let lab = lab.with_tokens();
    lab.net.fault("*", "", 999, Fault::Late(Duration::from_millis(50)));
    let all = futures_util::future::join_all((0..50).map(|_| async { lab.get(V1).await })).await;
    assert!(all.iter().all(|seen| seen.status == 200));
    assert_eq!(lab.net.sent("*", REALM).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_requests_may_not_wait_for_each_other_each_fetches_its_own_token() {
    let lab = Fixture::set_up(&Setup { isolated: true, ..Setup::default() }).with_tokens();
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.fault("*", "", 999, Fault::Late(Duration::from_millis(50)));
    let all = futures_util::future::join_all((0..5).map(|_| async { lab.get(V1).await })).await;
    assert!(all.iter().all(|seen| seen.status == 200));
    assert_eq!(lab.net.sent("*", REALM).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_one_who_fetches_may_go_away() {
    let (lab, _, _) = Fixture::stocked("");
    let lab = lab.with_tokens();
    lab.net.fault("*", REALM, 1, Fault::Silence);
    let impatient = tokio::time::timeout(Duration::from_secs(1), async { lab.get(V1).await });
    let patient = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        lab.get(V1).await
    };
    let (gone, seen) = futures_util::future::join(impatient, patient).await;
    assert!(gone.is_err());
    assert_eq!(seen.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_life_is_used_for_less_than_a_minute() {
    let (lab, _, _) = Fixture::stocked("");
    let lab = lab.with_tokens();
    lab.registry.set_token_life(None);
    assert_eq!(lab.get(V1).await.status, 200);
    lab.wait(30).await;
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.net.sent("*", REALM).len(), 1);
    lab.wait(25).await;
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.net.sent("*", REALM).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_too_long_to_be_one_is_not_taken() {
    for (length, status) in [(65_536, 200), (65_537, 504), (900_000, 504)] {
        let (lab, _, _) = Fixture::stocked("");
        let lab = lab.with_tokens();
        let registry = lab.registry.clone();
        let long = "t".repeat(length);
        let answer = format!(r#"{{"token":"{long}","access_token":"{long}","expires_in":300}}"#);
        lab.net.serve(REALM, move |_: &Sent| Answer::new(200).body(answer.clone()));
        lab.net.serve(ORIGIN, move |sent: &Sent| {
            let mut sent = sent.clone();
            if sent.header("authorization").len() == "Bearer ".len() + long.len() {
                sent.headers.remove("authorization");
                registry.guard(Gate::Open);
            }
            registry.answer(&sent)
        });
        let seen = lab.get(V1).await;
        assert_eq!(seen.status, status, "{length}");
        assert!(status == 200 || seen.header("x-registry-proxy").contains("too large"), "{length} {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_taken_back_is_replaced_once() {
    let (lab, _, _) = Fixture::stocked("");
    let lab = lab.with_tokens();
    assert_eq!(lab.get(V1).await.status, 200);
    lab.registry.revoke_tokens();
    lab.net.forget();
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!((lab.net.sent("*", ORIGIN).len(), lab.net.sent("*", REALM).len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_403_to_a_remembered_token_is_asked_again_with_a_fresh_one() {
    let (lab, _, _) = Fixture::stocked("");
    let lab = lab.with_tokens();
    assert_eq!(lab.get(V1).await.status, 200);
    lab.net.forget();
    let expired = Answer::new(403)
        .body(r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}"#);
    lab.net.fault("*", "/manifests/", 1, Fault::Say(expired.clone()));
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!((lab.net.sent("*", ORIGIN).len(), lab.net.sent("*", REALM).len()), (2, 1));
    lab.net.forget();
    lab.net.fault("*", "/manifests/", 99, Fault::Say(expired));
    assert_eq!(lab.get(V1).await.status, 403);
    assert_eq!((lab.net.sent("*", ORIGIN).len(), lab.net.sent("*", REALM).len()), (2, 1), "once, and no more");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_never_stops_saying_401_is_asked_a_few_times_only() {
    for lines in [
        vec!["Bearer realm=\"https://auth.up.example.com/token\",service=\"up\""],
        vec!["Basic realm=\"x\""],
        vec!["Negotiate"],
        vec![],
    ] {
        for account in ["", ACCOUNT] {
            let lab = Fixture::new(&upstream(account)).with_tokens();
            lab.registry.add_user("robot", "s3cret");
            lab.net.fault("*", ORIGIN, 99, Fault::Say(challenge(&lines)));
            assert!(lab.get(V1).await.is(403, "DENIED"), "{lines:?}");
            assert!(lab.net.log().len() <= 4, "{lines:?} {:?}", lab.net.lines());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_names_another_realm_each_time_is_asked_a_few_times_only() {
    let lab = Fixture::new("");
    let count = std::sync::atomic::AtomicUsize::new(0);
    lab.net.serve("https://origin.up.example.com/v2/a/", move |_: &Sent| {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        challenge(&[&format!("Bearer realm=\"https://auth{count}.up.example.com/token\"")])
    });
    for host in 0..20 {
        lab.net.serve(&format!("https://auth{host}.up.example.com/"), |_: &Sent| {
            Answer::new(200).body("{\"token\":\"t\"}")
        });
    }
    assert!(lab.get(V1).await.is(403, "DENIED"));
    assert!(lab.net.log().len() <= 8, "{:?}", lab.net.lines());
}

#[tokio::test(start_paused = true)]
async fn another_realm_on_expiry_is_believed_after_it_was_heard_without_a_login() {
    // As nvcr.io does: the realm of an expired token's 401 is not the one of a stranger's.
    let (lab, _, _) = Fixture::stocked("");
    let lab = lab.with_tokens();
    assert_eq!(lab.get(V1).await.status, 200);
    lab.registry.revoke_tokens();
    lab.net.forget();
    let odd = challenge(&["Bearer realm=\"https://authn.up.example.com/odd\",scope=\"\""]);
    lab.net.fault("*", ORIGIN, 1, Fault::Say(odd));
    assert_eq!(lab.get(V1).await.status, 200, "{:?}", lab.net.lines());
    assert_eq!(lab.net.log()[1].header("authorization"), "", "the true challenge is heard without a login");
    assert!(lab.net.sent("*", "authn.up.example.com").is_empty());
}

#[tokio::test(start_paused = true)]
async fn odd_challenges_are_understood() {
    let real = "Bearer realm=\"https://auth.up.example.com/token\",service=\"up\",scope=\"\"";
    for lines in [
        vec!["Basic realm=\"x\"", real],
        vec![real, "Basic realm=\"x\""],
        vec!["Basic realm=\"x\", Bearer realm=\"https://auth.up.example.com/token\",service=\"up\""],
        vec!["bearer REALM=https://auth.up.example.com/token , Service=up"],
        vec!["Bearer realm=\"https://auth.up.example.com/token\",service=\"\",scope=\"\""],
    ] {
        let (lab, _, _) = Fixture::stocked("");
        let lab = lab.with_tokens();
        lab.net.fault("*", ORIGIN, 1, Fault::Say(challenge(&lines)));
        assert_eq!(lab.get(V1).await.status, 200, "{lines:?}");
        let token = &lab.net.sent("*", REALM)[0];
        assert_ne!(token.parameter("service").as_deref(), Some(""), "P-30");
        assert_eq!(token.parameter("scope").as_deref(), Some("repository:a/b:pull"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_wants_basic_gets_basic_and_clients_do_not_notice() {
    let lab = with_account("");
    lab.registry.guard(Gate::Basic);
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.get("/v2/").await.status, 200);
    let lab = Fixture::new("");
    lab.registry.guard(Gate::Basic);
    assert!(lab.get(V1).await.is(403, "DENIED"), "without an account nothing can be had");
    assert_eq!(lab.net.log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn trouble_at_the_token_server_is_told_from_a_refusal() {
    for (fault, status, retry_after) in [
        (Fault::Refuse, 504, "1"),
        (Fault::Drop, 504, "1"),
        (Fault::Silence, 504, "1"),
        (Fault::Say(Answer::new(500)), 504, "1"),
        (Fault::Say(Answer::new(200).body("<html>")), 504, ""),
        (Fault::Say(Answer::new(200).body("{\"token\":\"\"}")), 504, ""),
        (Fault::Say(Answer::new(302).header("location", "https://nowhere.example/")), 504, "1"),
        (Fault::BreakAfter(5), 504, "1"),
        (Fault::Say(Answer::new(401)), 403, ""),
        (Fault::Say(Answer::new(403)), 403, ""),
        (Fault::Say(Answer::new(429).header("retry-after", "17")), 429, "17"),
    ] {
        let (lab, _, _) = Fixture::stocked("");
        let lab = lab.with_tokens();
        lab.net.fault("*", REALM, 99, fault);
        let seen = lab.get(V1).await;
        assert_eq!(seen.status, status);
        assert_eq!(seen.header("retry-after"), retry_after);
        assert!(lab.net.sent("*", REALM).len() <= 2, "{:?}", lab.net.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_token_server_is_remembered_too() {
    let (lab, _, _) = Fixture::stocked("");
    let lab = lab.with_tokens();
    lab.net.fault("*", REALM, 99, Fault::Say(Answer::new(429).header("retry-after", "30")));
    assert_eq!(lab.get(V1).await.status, 429);
    let sent = lab.net.log().len();
    assert_eq!(lab.get(V1).await.status, 429);
    assert_eq!(lab.net.log().len(), sent, "P-119: a burst of clients does not reach the upstream");
}

#[tokio::test(start_paused = true)]
async fn an_identity_token_is_posted_and_not_sent_as_a_password() {
    let lab = Fixture::new(&upstream("username='<token>'\npassword='s3cret'")).with_tokens();
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    assert_eq!(lab.get(V1).await.status, 200);
    let sent = &lab.net.sent("POST", REALM)[0];
    let form = String::from_utf8(sent.body.to_vec()).unwrap();
    assert!(form.contains("grant_type=refresh_token") && form.contains("refresh_token=s3cret"), "{form}");
    assert_eq!(sent.header("authorization"), "");
}

#[tokio::test(start_paused = true)]
async fn the_account_with_the_longest_prefix_is_used() {
    let keys =
        "credentials=[{prefix='a/',username='short',password='1'},{prefix='a/b',username='long',password='2'}]";
    let lab = Fixture::new(&upstream(&format!("{ACCOUNT}\n{keys}")));
    lab.registry.guard(Gate::Basic);
    for (user, password, repository) in [("robot", "s3cret", "x/y"), ("short", "1", "a/c"), ("long", "2", "a/b")] {
        lab.registry.add_user(user, password);
        lab.registry.put_manifest(repository, "v1", OCI_MANIFEST, manifest_of(10));
        lab.registry.make_private(repository, &[user]);
        assert_eq!(lab.get(&format!("/v2/{repository}/manifests/v1")).await.status, 200, "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn official_images_of_docker_hub_get_their_library_in_path_and_scope() {
    let lab = Fixture::new("[[upstream]]\nname='docker.io'\ndefault=true");
    let hub = Registry::default();
    hub.put_manifest("library/busybox", "v1", OCI_MANIFEST, manifest_of(10));
    hub.guard(Gate::Bearer { realm: "https://auth.docker.io/token".to_owned(), service: None });
    lab.net.serve("https://registry-1.docker.io", hub.clone());
    lab.net.serve("https://auth.docker.io", hub);
    for path in
        ["/v2/busybox/manifests/v1", "/v2/docker.io/busybox/manifests/v1", "/v2/library/busybox/manifests/v1"]
    {
        assert_eq!(lab.get(path).await.status, 200, "{path}");
    }
    let token = &lab.net.sent("*", "auth.docker.io")[0];
    assert_eq!(token.parameter("scope").as_deref(), Some("repository:library/busybox:pull"));
    assert!(lab.net.sent("*", "registry-1").iter().all(|sent| sent.path() == "/v2/library/busybox/manifests/v1"));
}

/// Has another password once the first was refused, and notes what was.
struct Stored(Mutex<Vec<Basic>>);

impl Stored {
    fn told(&self) -> Vec<Basic> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl CredentialStore for Stored {
    async fn find(&self, _upstream: usize, _host: &str, _repository: &RepositoryName) -> Option<Basic> {
        let password = if self.told().is_empty() { "old" } else { "new" };
        Some(Basic { username: "robot".to_owned(), password: Secret::new(password) })
    }

    fn refused(&self, login: &Basic) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(login.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_login_that_is_refused_is_looked_up_anew_for_the_next_request() {
    for gate in [Gate::Basic, Gate::Bearer { realm: REALM.to_owned(), service: None }] {
        let (mut lab, _, _) = Fixture::stocked("");
        lab.registry.guard(gate);
        lab.registry.add_user("robot", "new");
        lab.registry.make_private("a/b", &["robot"]);
        let stored = Arc::new(Stored(Mutex::default()));
        lab.platform.credentials = Some(stored.clone());
        lab.restart("");
        assert_ne!(lab.get(V1).await.status, 200);
        let refused: Vec<_> = stored.told().iter().map(|login| login.password.expose().to_owned()).collect();
        assert_eq!(refused, ["old"]);
        assert_eq!(lab.get(V1).await.status, 200);
        assert_eq!(stored.told().len(), 1, "what is right is not refused");
    }
}
