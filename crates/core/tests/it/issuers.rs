//! Jobs and pods that log in with a token of an OIDC issuer (`[[clients.issuer]]`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use registry_proxy_core::config::Config;
use registry_proxy_core::jwks::KeySet;
use registry_proxy_core::platform::{Reach, TokenIssuers};
use registry_proxy_core::testing::{Answer, Fault, Sent, TestSignatures};
use serde_json::{Value, json};

use crate::clock::EPOCH;
use crate::fixture::{Fixture, Lines, OCI_MANIFEST, image, noise, upstream};

const ISSUER: &str = "https://issuer.test";
const RULE: &str = "[clients]\nauth='users'\n[[clients.issuer]]\nurl='https://issuer.test'\naudience='proxy.example'\n\
                    match={repository_owner='acme'}\nname='{repository}'\nallow=['reg.example/a/**']\n";
const V1: &str = "/v2/a/b/manifests/v1";
const HOUR: u64 = 3600;

/// A proxy, and an issuer whose keys the test changes.
struct Lab {
    fixture: Fixture,
    keys: Arc<Mutex<Vec<Value>>>,
}

impl Lab {
    /// With this configuration.
    fn new(text: &str) -> Self {
        Self::over(Fixture::new(text))
    }

    fn over(fixture: Fixture) -> Self {
        image(&fixture, "a/b", "first");
        image(&fixture, "c/d", "second");
        let keys = Arc::new(Mutex::new(vec![TestSignatures::jwk("k1", 1)]));
        fixture.net.serve(&format!("{ISSUER}/.well-known/openid-configuration"), |_: &Sent| {
            let document = json!({ "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys") });
            Answer::new(200).body(document.to_string())
        });
        let published = Arc::clone(&keys);
        fixture.net.serve(&format!("{ISSUER}/keys"), move |_: &Sent| {
            let keys = published.lock().expect("keys").clone();
            Answer::new(200).body(json!({ "keys": keys }).to_string())
        });
        Self { fixture, keys }
    }

    fn publish(&self, keys: &[(&str, u8)]) {
        *self.keys.lock().expect("keys") = keys.iter().map(|(kid, key)| TestSignatures::jwk(kid, *key)).collect();
    }

    /// What the issuer was asked.
    fn asked(&self) -> usize {
        self.fixture.net.sent("GET", ISSUER).len()
    }

    /// Status and message of a request for a token of ours.
    async fn exchange(&self, token: &str) -> (u16, String) {
        let seen = self.fixture.get("/token?scope=repository:a/b:pull").basic("any", token).await;
        let message = seen.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
        (seen.status.as_u16(), message)
    }

    /// Status of a pull with the issuer's token.
    async fn pull(&self, token: &str) -> u16 {
        self.fixture.get(V1).bearer(token).await.status.as_u16()
    }
}

/// A token of a job of acme's that began at the beginning, by the key of this name.
fn job_by(kid: &str, key: u8) -> String {
    job_until(kid, key, 100 * HOUR)
}

fn job_until(kid: &str, key: u8, seconds: u64) -> String {
    signed(&format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#), seconds, key)
}

fn signed(header: &str, seconds: u64, key: u8) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": "proxy.example", "sub": "repo:acme/app:ref:refs/heads/main",
        "repository": "acme/app", "repository_owner": "acme",
        "iat": EPOCH, "nbf": EPOCH, "exp": EPOCH + seconds,
    });
    TestSignatures::token(header, &claims.to_string(), key)
}

fn job() -> String {
    job_by("k1", 1)
}

#[tokio::test(start_paused = true)]
async fn a_job_pulls_with_its_token_however_clients_send_it_and_the_log_names_it() {
    let lab = Lab::new(RULE);
    let lines = Lines::of_requests();
    for user in ["any", "", "alice"] {
        let seen = lab.fixture.get(V1).basic(user, &job()).await;
        assert_eq!(seen.status, 200, "{user}: {seen:?}");
        let line = lines.only();
        assert_eq!((line["user"].as_str(), line["issuer"].as_str()), ("acme/app", ISSUER));
        assert_eq!(lab.fixture.get("/v2/").basic(user, &job()).await.status, 200);
        assert_eq!(lines.only()["user"], "acme/app");
    }
    assert_eq!(lab.fixture.get(V1).bearer(&job()).await.status, 200);
    assert_eq!(lab.fixture.get("/v2/").bearer(&job()).await.status, 200);
    lines.take();
    let scope = "scope=repository:a/b:pull";
    let form = format!("grant_type=password&username=any&password={}&{scope}", job());
    for call in [
        lab.fixture.get(&format!("/token?{scope}")).basic("any", &job()),
        lab.fixture.get(&format!("/token?{scope}")).bearer(&job()),
        lab.fixture.post("/token").header("content-type", "application/x-www-form-urlencoded").body(form),
    ] {
        let seen = call.await;
        assert_eq!(seen.status, 200, "{seen:?}");
        assert_eq!(lines.only()["user"], "acme/app");
        let token = seen.json()["token"].as_str().unwrap().to_owned();
        assert!(!token.contains('.'), "one of our own");
        assert_eq!(lab.fixture.get(V1).bearer(&token).await.status, 200);
        assert_eq!(lab.fixture.get("/v2/").bearer(&token).await.status, 200);
        lines.take();
    }
    assert_eq!(lab.asked(), 2, "the issuer's configuration and its keys, once");
    for sent in lab.fixture.net.log() {
        assert_eq!(sent.header("authorization"), "", "no token goes anywhere: {}", sent.url);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_gets_what_its_rule_allows_and_never_more() {
    let lab = Lab::new(&format!("{RULE}\n{}", upstream("push=true")));
    let lab = &lab;
    let token = |scope: &'static str| async move {
        let seen = lab.fixture.get(&format!("/token?scope={scope}")).basic("any", &job()).await;
        assert_eq!(seen.status, 200, "{scope}");
        seen.json()["token"].as_str().unwrap().to_owned()
    };
    let denied = |action: &str, repository: &str| {
        format!("acme/app may not {action} reg.example/{repository} here: [[clients.issuer]] does not allow it")
    };
    let all = token("repository:a/b:pull,push,delete%20repository:c/d:*").await;
    let lines = Lines::of_requests();
    for bearer in [&all, &job()] {
        assert_eq!(lab.fixture.get(V1).bearer(bearer).await.status, 200);
        for (call, action, repository) in [
            (lab.fixture.get("/v2/c/d/manifests/v1"), "pull", "c/d"),
            (lab.fixture.post("/v2/a/b/blobs/uploads/"), "push", "a/b"),
            (lab.fixture.put("/v2/a/b/manifests/v2"), "push", "a/b"),
            (lab.fixture.delete(V1), "delete", "a/b"),
        ] {
            let seen = call.bearer(bearer).await;
            assert!(seen.is(403, "DENIED"), "{action} {repository}: {seen:?}");
            assert_eq!(seen.json()["errors"][0]["message"], denied(action, repository));
            assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"beyond the issuer's rule\"");
            assert_eq!(lines.take().pop().unwrap()["error"], denied(action, repository));
        }
    }
    for scope in ["repository:c/d:pull", "repository:a/b:push", ""] {
        let narrow = token(scope).await;
        let seen = lab.fixture.get(V1).bearer(&narrow).await;
        assert_eq!(seen.status, 401, "{scope}");
        assert!(seen.header("www-authenticate").ends_with(",error=\"insufficient_scope\""), "{scope}");
    }
    assert!(lab.fixture.net.log().iter().all(|sent| matches!(sent.method.as_str(), "GET" | "HEAD")));
}

/// A registry may accept a manifest that names layers it does not have.
#[tokio::test(start_paused = true)]
async fn a_manifest_that_names_a_cached_blob_of_another_repository_opens_nothing_to_a_job() {
    let users = "[clients]\nauth='users'\nusers_file='u'\n";
    let rule = RULE.replace("[clients]\nauth='users'\n", users);
    let lab = Lab::over(Fixture::caching(&format!("{rule}{}", upstream(""))));
    let layer = lab.fixture.registry.put_blob("c/secret", noise(7000));
    let secret = format!(r#"{{"layers":[{{"digest":"{layer}"}}]}}"#);
    lab.fixture.registry.put_manifest("c/secret", "v1", OCI_MANIFEST, secret);
    for path in ["/v2/c/secret/manifests/v1", &format!("/v2/c/secret/blobs/{layer}")] {
        assert_eq!(lab.fixture.get(path).basic("alice", "wonder").await.status, 200, "{path}");
    }
    lab.fixture.wait(5).await;
    let naming = format!(r#"{{"layers":[{{"digest":"{layer}"}}],"annotations":{{}}}}"#);
    lab.fixture.registry.put_manifest("a/b", "v9", OCI_MANIFEST, naming);
    assert_eq!(lab.fixture.get("/v2/a/b/manifests/v9").bearer(&job()).await.status, 200);
    assert_eq!(lab.fixture.get(&format!("/v2/a/b/blobs/{layer}")).bearer(&job()).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_only_ns_names_is_held_against_the_rule_when_it_is_asked() {
    let other = "[[upstream]]\nname='other.example'\nurls=['https://origin.up.example.com']\n";
    let rule = RULE.replace("reg.example/a/**", "other.example/a/**");
    let lab = Lab::new(&format!("{rule}\n{}{other}", upstream("")));
    let seen = lab.fixture.get("/token?scope=repository:a/b:pull").basic("any", &job()).await;
    let token = seen.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(lab.fixture.get(&format!("{V1}?ns=other.example")).bearer(&token).await.status, 200);
    assert_eq!(lab.fixture.get(&format!("{V1}?ns=reg.example")).bearer(&token).await.status, 403);
    assert_eq!(lab.fixture.get(V1).bearer(&token).await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn users_of_the_password_file_log_in_beside_and_a_refused_token_is_no_guess_of_theirs() {
    let text = RULE.replace("auth='users'", "auth='users'\nusers_file='u'");
    let lab = Lab::new(&text);
    for _ in 0..30 {
        let (status, _) = lab.exchange(&job_by("k1", 9)).await;
        assert_eq!(status, 401);
        assert_eq!(lab.fixture.get(V1).basic("alice", &job_by("k1", 9)).await.status, 401);
    }
    assert_eq!(lab.fixture.get(V1).basic("alice", "wonder").await.status, 200, "alice was not slowed down");
    assert_eq!(lab.fixture.get(V1).basic("alice", "eyes.are.blue").await.status, 401, "a password with dots");
    let token = lab.fixture.login("alice", "wonder").await;
    assert_eq!(lab.fixture.get("/v2/c/d/manifests/v1").bearer(&token).await.status, 401);
    assert_eq!(lab.fixture.get(V1).bearer(&token).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn our_tokens_end_with_their_rule_and_issuer() {
    // Tokens outlive a reload by a key that stays.
    let keyed = |text: &str| format!("signing_key='0123456789abcdef0123456789abcdef'\n{text}");
    let mut lab = Lab::new(&keyed(RULE));
    let seen = lab.fixture.get("/token?scope=repository:a/b:pull").basic("any", &job()).await;
    let token = seen.json()["token"].as_str().unwrap().to_owned();
    let users = "[clients]\nauth='users'\nusers_file='u'\n";
    for (text, sealed, issuers) in [
        (RULE.to_owned(), 200, 200),
        (
            format!(
                "{RULE}\n[[clients.issuer]]\nurl='https://i.test'\naudience='a'\nmatch={{sub='x'}}\nallow=['**']\n"
            ),
            200,
            200,
        ),
        (RULE.replace("'acme'", "'acm*'"), 401, 200),
        (RULE.replace("a/**", "a/*"), 401, 200),
        (RULE.replace("'acme'", "'evil'"), 401, 401),
        (RULE.replace("audience='proxy.example'", "audience='other.example'"), 401, 401),
        (RULE.replace(ISSUER, "https://other.test"), 401, 401),
        (users.to_owned(), 401, 401),
        (RULE.to_owned(), 200, 200),
    ] {
        lab.fixture.reload(&keyed(&text));
        assert_eq!(lab.pull(&token).await, sealed, "{text}");
        assert_eq!(lab.pull(&job()).await, issuers, "{text}");
    }
    assert_eq!(lab.asked(), 4, "the keys outlive a reload, but not a configuration without the issuer");
}

#[tokio::test(start_paused = true)]
async fn a_token_counts_until_its_end_however_often_it_was_verified() {
    let lab = Lab::new(RULE);
    let token = job_until("k1", 1, 300);
    for (wait, expected) in [(0, 200), (359, 200), (1, 401)] {
        lab.fixture.wait(wait).await;
        assert_eq!(lab.pull(&token).await, expected, "{wait}");
    }
    let (status, message) = lab.exchange(&token).await;
    let expected = "the token of https://issuer.test is not accepted: it expired 1m ago (exp)";
    assert_eq!((status, message.as_str()), (401, expected));
}

#[tokio::test(start_paused = true)]
async fn a_new_key_counts_at_once_and_a_removed_one_within_the_hour() {
    let lab = Lab::new(RULE);
    let (old, new) = (job_by("k1", 1), job_by("k2", 2));
    assert_eq!(lab.pull(&old).await, 200);
    lab.publish(&[("k1", 1), ("k2", 2)]);
    assert_eq!(lab.pull(&new).await, 200, "the issuer was asked for it");
    assert_eq!(lab.asked(), 4);
    lab.publish(&[("k2", 2)]);
    assert_eq!((lab.pull(&old).await, lab.pull(&new).await, lab.asked()), (200, 200, 4));
    lab.fixture.wait(HOUR).await;
    let lines = Lines::of_requests();
    assert_eq!(lab.pull(&old).await, 401, "the keys were fetched anew, without it");
    let line = lines.only();
    let expected = "the token of https://issuer.test is not accepted: the issuer has no key of its name (kid) for its algorithm";
    assert_eq!((line["why"].as_str(), line["error"].as_str()), ("issuer's token refused", expected));
    assert_eq!(lab.pull(&new).await, 200);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_makes_the_issuer_be_asked_once_a_minute() {
    let lab = Lab::new(RULE);
    assert_eq!(lab.pull(&job()).await, 200);
    assert_eq!(lab.asked(), 2);
    for kid in ["k9", "k8", "../../keys", "/etc/passwd", "k1\\u0000", "' OR 1=1"] {
        let (status, message) = lab.exchange(&job_by(kid, 9)).await;
        assert_eq!(status, 401, "{kid}");
        assert!(message.ends_with("the issuer has no key of its name (kid) for its algorithm"), "{message}");
    }
    assert_eq!(lab.asked(), 4, "once for all of them");
    lab.fixture.wait(60).await;
    assert_eq!(lab.exchange(&job_by("k9", 9)).await.0, 401);
    assert_eq!(lab.asked(), 6);
    assert!(lab.fixture.net.sent("GET", ISSUER).iter().all(|sent| !sent.url.contains("passwd")));
    assert_eq!(lab.pull(&job()).await, 200, "others are not touched by it");
    assert_eq!(lab.asked(), 6);
}

#[tokio::test(start_paused = true)]
async fn old_keys_count_for_a_day_while_the_issuer_is_down() {
    let lab = Lab::new(RULE);
    assert_eq!(lab.pull(&job()).await, 200);
    lab.fixture.net.fault("GET", "issuer.test", 10_000, Fault::Refuse);
    let lines = Lines::of_warnings();
    for _ in 0..23 {
        lab.fixture.wait(HOUR).await;
        assert_eq!(lab.pull(&job()).await, 200);
        assert_eq!(lab.pull(&job()).await, 200, "the issuer is left alone for a minute");
        let said = lines.only();
        assert_eq!(said["message"], "the keys of an issuer cannot be fetched");
        assert_eq!((said["error"].as_str(), said["issuer"].as_str()), ("it cannot be reached", ISSUER));
    }
    lab.fixture.wait(HOUR).await;
    let seen = lab.fixture.get("/token").basic("any", &job()).await;
    assert!(seen.is(504, "UNAVAILABLE"), "{seen:?}");
    let expected =
        "the token of https://issuer.test is not accepted: the issuer's keys are not here: it cannot be reached";
    assert_eq!(seen.json()["errors"][0]["message"], expected);
    assert_eq!(seen.header("x-registry-proxy"), "failed; why=\"no keys of the issuer\"");
    lab.fixture.net.heal();
    assert_eq!(lab.exchange(&job()).await.0, 504, "it is left alone for ten seconds");
    lab.fixture.wait(10).await;
    assert_eq!(lab.exchange(&job()).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_had_let_nobody_in_and_it_is_said_why() {
    let large = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{ISSUER}/keys","x":"{}"}}"#, "x".repeat(64 << 10));
    let discovery =
        |issuer: &str, keys: &str| Answer::new(200).body(json!({"issuer": issuer, "jwks_uri": keys}).to_string());
    let many: Vec<_> = (0..101).map(|n| TestSignatures::jwk(&format!("k{n}"), 1)).collect();
    let many = Answer::new(200).body(json!({ "keys": many }).to_string());
    let elsewhere = Answer::new(302).header("location", "https://evil.test/");
    for (part, fault, expected) in [
        ("openid", Fault::Refuse, "it cannot be reached"),
        ("openid", Fault::Drop, "it cannot be reached"),
        ("openid", Fault::Silence, "it did not answer in time"),
        ("keys", Fault::StallAfter(5, Duration::from_secs(30)), "it did not answer in time"),
        ("keys", Fault::BreakAfter(5), "it cannot be reached"),
        ("openid", Fault::Say(elsewhere.clone()), "it answered 302 instead of 200"),
        ("keys", Fault::Say(Answer::new(404)), "it answered 404 instead of 200"),
        ("keys", Fault::Say(elsewhere), "it answered 302 instead of 200"),
        ("openid", Fault::Say(Answer::new(200).body(large.clone())), "its answer has more than 65536 bytes"),
        (
            "openid",
            Fault::Say(Answer::new(200).body(large).without_length()),
            "its answer has more than 65536 bytes",
        ),
        (
            "keys",
            Fault::Say(Answer::new(200).body("x".repeat((512 << 10) + 1))),
            "its answer has more than 524288 bytes",
        ),
        ("keys", Fault::Say(many), "of its keys: it has more than 100 keys"),
        (
            "keys",
            Fault::Say(Answer::new(200).body(r#"{"keys":[]}"#)),
            "of its keys: it has no key for RS256 (2048 to 4096 bits), ES256 or EdDSA (Ed25519)",
        ),
        (
            "keys",
            Fault::Say(Answer::new(200).body("<html>")),
            "of its keys: expected a JSON Web Key Set: {\"keys\": [...]}",
        ),
        (
            "openid",
            Fault::Say(Answer::new(200).body("<html>")),
            "its /.well-known/openid-configuration has no issuer and jwks_uri",
        ),
        (
            "openid",
            Fault::Say(discovery("https://evil.test", "https://issuer.test/keys")),
            "its /.well-known/openid-configuration is of another issuer",
        ),
        (
            "openid",
            Fault::Say(discovery("https://issuer.test/", "https://issuer.test/keys")),
            "its /.well-known/openid-configuration is of another issuer",
        ),
        (
            "openid",
            Fault::Say(discovery(ISSUER, "http://issuer.test/keys")),
            "its jwks_uri is neither https nor on the issuer's own host and port",
        ),
        // Where an issuer leads, private addresses are out of reach.
        ("openid", Fault::Say(discovery(ISSUER, "https://169.254.169.254/keys")), "it cannot be reached"),
        ("openid", Fault::Say(discovery(ISSUER, "https://10.0.0.1/keys")), "it cannot be reached"),
    ] {
        let lab = Lab::new(RULE);
        lab.fixture.net.fault("GET", part, 1, fault);
        let lines = Lines::of_warnings();
        let before = lab.fixture.now();
        let (status, message) = lab.exchange(&job()).await;
        assert_eq!(
            (status, message),
            (504, format!("the token of {ISSUER} is not accepted: the issuer's keys are not here: {expected}"))
        );
        assert!(lab.fixture.now().since(before) <= Duration::from_secs(10), "{expected}");
        assert_eq!(lines.only()["error"], expected);
        let seen = lab.fixture.get("/v2/").bearer(&job()).await;
        assert_eq!(seen.status, 401, "a ping is answered 200 or 401 (P-17)");
        lab.fixture.wait(10).await;
        assert_eq!(lab.exchange(&job()).await.0, 200, "it was asked again: {expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_at_another_host_are_fetched_from_public_addresses_only() {
    let lab = Lab::new(RULE);
    lab.fixture.net.serve("https://keys.test", |_: &Sent| {
        Answer::new(200).body(json!({ "keys": [TestSignatures::jwk("k1", 1)] }).to_string())
    });
    let document = json!({ "issuer": ISSUER, "jwks_uri": "https://keys.test/jwks" }).to_string();
    lab.fixture.net.fault("GET", "openid", 1, Fault::Say(Answer::new(200).body(document)));
    assert_eq!(lab.pull(&job()).await, 200);
    let sent = lab.fixture.net.sent("GET", "test/");
    let reached: Vec<_> = sent.iter().map(|sent| (sent.url.as_str(), sent.reach)).collect();
    let expected = [
        ("https://issuer.test/.well-known/openid-configuration", Reach::Configured),
        ("https://keys.test/jwks", Reach::Public),
    ];
    assert_eq!(reached, expected);
}

#[tokio::test(start_paused = true)]
async fn a_key_file_is_enough_and_nobody_is_asked() {
    let mut lab = Lab::new(RULE);
    let keys = json!({ "keys": [TestSignatures::jwk("k1", 1)] }).to_string();
    lab.fixture.platform.token_issuers = Some(TokenIssuers {
        key_files: vec![Some(KeySet::parse(keys.as_bytes()).unwrap())],
        ..lab.fixture.platform.token_issuers.clone().unwrap()
    });
    lab.fixture.restart(&format!("{RULE}jwks_file='keys.json'\n"));
    assert_eq!(lab.pull(&job()).await, 200);
    assert_eq!(lab.pull(&job_by("k2", 2)).await, 401);
    assert_eq!(lab.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_verifies_nothing_lets_nobody_in() {
    let mut lab = Lab::new(RULE);
    lab.fixture.platform.token_issuers = None;
    lab.fixture.restart(RULE);
    let (status, message) = lab.exchange(&job()).await;
    assert_eq!(status, 504);
    assert!(message.ends_with("this build or platform verifies no tokens of issuers"), "{message}");
    assert_eq!(lab.pull(&job()).await, 504);
}

#[tokio::test(start_paused = true)]
async fn many_who_come_at_once_ask_the_issuer_once() {
    let lab = Lab::new(RULE);
    lab.fixture.net.fault("GET", "openid", 1, Fault::Late(Duration::from_secs(1)));
    let token = job();
    let pulls = futures_util::future::join_all((0..50).map(|_| lab.pull(&token))).await;
    assert_eq!(pulls, vec![200; 50]);
    assert_eq!(lab.asked(), 2);
}

/// Prints how long a request takes with a token that was verified before: `cargo test -p registry-proxy-core --features testing
/// --test it remembered -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures"]
async fn how_long_a_request_with_a_remembered_token_takes() {
    const TIMES: u32 = 20_000;
    let lab = Lab::new(RULE);
    let token = job();
    for (what, bearer) in [("no token", None), ("a remembered token", Some(&token))] {
        let begin = std::time::Instant::now();
        for _ in 0..TIMES {
            let call = lab.fixture.get("/v2/");
            let seen = match bearer {
                Some(token) => call.bearer(token).await,
                None => call.await,
            };
            assert_eq!(seen.status == 200, bearer.is_some());
        }
        eprintln!("a ping with {what}: {:?}", begin.elapsed() / TIMES);
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_issuer_a_token_is_a_password_like_another() {
    let lab = Lab::new("[clients]\nauth='users'\nusers_file='u'\n");
    let (status, message) = lab.exchange(&job()).await;
    assert_eq!((status, message.as_str()), (401, "incorrect user name or password"));
    let seen = lab.fixture.get(V1).bearer(&job()).await;
    assert!(seen.header("www-authenticate").ends_with("error=\"invalid_token\""));
    assert_eq!(lab.asked(), 0);
    assert!(Config::default().clients.issuer.is_empty());
}
