//! `clients.auth = "upstream"`: each client with its own login, and nobody with another's.

use std::sync::Arc;

use registry_proxy_core::seal::{SealPurpose, Sealer};
use registry_proxy_core::secret::Secret;
use registry_proxy_core::testing::{Answer, CountingEntropy, Fault, Gate, Registry, Sent, Server as _};

use crate::fixture::{Fixture, OCI_MANIFEST, ORIGIN, REALM, manifest_of, noise, upstream};

const MODE: &str = "[clients]\nauth='upstream'";
const OTHER: &str = "https://origin.other.test";

/// Two registries: `reg.example`, where alice and bob may log in and only alice may read `a/secret`, and
/// `other.example`, which knows neither. Tells the digest of a blob of `a/secret`.
fn town() -> (Fixture, String) {
    let text = format!("{MODE}\n{}[[upstream]]\nname='other.example'\nurls=['{OTHER}']\n", upstream(""));
    let lab = Fixture::new(&text).with_tokens();
    lab.registry.add_user("alice", "wonder");
    lab.registry.add_user("bob", "builder");
    lab.registry.make_private("a/secret", &["alice"]);
    for repository in ["a/secret", "a/public"] {
        lab.registry.put_manifest(repository, "v1", OCI_MANIFEST, manifest_of(10));
    }
    let blob = lab.registry.put_blob("a/secret", noise(100));
    let other = Registry::default();
    other.guard(Gate::Bearer { realm: format!("{OTHER}/token"), service: None });
    other.put_manifest("a/public", "v1", OCI_MANIFEST, manifest_of(20));
    lab.net.serve(OTHER, other);
    (lab, blob)
}

const SECRET: &str = "repository:a/secret:pull";

#[tokio::test(start_paused = true)]
async fn alice_sees_what_is_hers_and_bob_and_strangers_do_not() {
    let (lab, blob) = town();
    let (manifest, blob) = ("/v2/a/secret/manifests/v1".to_owned(), format!("/v2/a/secret/blobs/{blob}"));
    let alice = lab.login_for("alice", "wonder", SECRET).await;
    let bobs = lab.login_for("bob", "builder", SECRET).await;
    let nobody = lab.anonymous().await;
    for path in [&manifest, &blob] {
        assert_eq!(lab.get(path).await.status, 401, "first without a token");
        assert_eq!(lab.get(path).bearer(&alice).await.status, 200);
        // After alice has been there, nothing of hers serves another.
        assert!(lab.get(path).bearer(&bobs).await.is(403, "DENIED"));
        assert_eq!(lab.head(path).bearer(&bobs).await.status, 403);
        assert_eq!(lab.get(path).bearer(&nobody).await.status, 401);
        assert_eq!(lab.get(path).bearer(&alice).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_not_to_be_had_by_another_repositorys_name() {
    let (lab, blob) = town();
    let alice = lab.login_for("alice", "wonder", SECRET).await;
    assert_eq!(lab.get(&format!("/v2/a/secret/blobs/{blob}")).bearer(&alice).await.status, 200);
    let bobs = lab.login_for("bob", "builder", "repository:a/public:pull").await;
    assert!(lab.get(&format!("/v2/a/public/blobs/{blob}")).bearer(&bobs).await.is(404, "BLOB_UNKNOWN"));
}

#[tokio::test(start_paused = true)]
async fn everybody_sees_what_is_public() {
    let (lab, _) = town();
    let nobody = lab.anonymous().await;
    assert_eq!(lab.get("/v2/").await.status, 401);
    assert_eq!(lab.get("/v2/").bearer(&nobody).await.status, 200);
    assert_eq!(lab.get("/v2/a/public/manifests/v1").bearer(&nobody).await.status, 200);
    let seen = lab.get("/v2/a/secret/manifests/v1").bearer(&nobody).await;
    assert!(
        seen.header("www-authenticate")
            .ends_with("scope=\"repository:a/secret:pull\",error=\"insufficient_scope\"")
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_refused_by_the_upstream_and_told_so() {
    let (lab, _) = town();
    let seen = lab.get(&format!("/token?scope={SECRET}")).basic("alice", "wrong").await;
    assert!(seen.is(401, "UNAUTHORIZED"));
    let sent = lab.net.sent("GET", REALM);
    assert_eq!((sent.len(), sent[0].parameter("scope").as_deref()), (1, Some(SECRET)));
}

#[tokio::test(start_paused = true)]
async fn a_login_for_one_registry_is_never_shown_to_another() {
    let (lab, _) = town();
    let alice = lab.login_for("alice", "wonder", SECRET).await;
    lab.net.forget();
    let elsewhere = lab.get("/v2/other.example/a/public/manifests/v1").bearer(&alice).await;
    assert!(elsewhere.header("www-authenticate").ends_with("error=\"insufficient_scope\""), "{elsewhere:?}");
    assert!(lab.net.log().is_empty());
    // The same name at the other registry, by ns: asked for as nobody.
    assert_eq!(lab.get("/v2/a/secret/manifests/v1?ns=other.example").bearer(&alice).await.status, 404);
    assert!(!lab.net.log().is_empty());
    for sent in lab.net.log() {
        assert!(sent.url.starts_with(OTHER), "{}", sent.url);
        assert!(!sent.header("authorization").starts_with("Basic"), "{}", sent.url);
        assert!(!sent.url.contains("alice") && sent.body.is_empty(), "{}", sent.url);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clients_password_goes_to_its_realm_and_to_no_other_host() {
    let (lab, blob) = town();
    lab.registry.redirect_blobs(crate::fixture::STORAGE);
    let alice = lab.login_for("alice", "wonder", SECRET).await;
    for (path, status) in [
        ("/v2/a/secret/manifests/v1".to_owned(), 200),
        (format!("/v2/a/secret/blobs/{blob}"), 200),
        ("/v2/a/secret/manifests/v1?ns=other.example".to_owned(), 404),
    ] {
        assert_eq!(lab.get(&path).bearer(&alice).await.status, status, "{path}");
    }
    let log = lab.net.log();
    let basic: Vec<&Sent> = log.iter().filter(|sent| sent.header("authorization").starts_with("Basic")).collect();
    assert!(!basic.is_empty() && basic.iter().all(|sent| sent.url.starts_with(REALM)), "{basic:?}");
}

#[tokio::test(start_paused = true)]
async fn a_basic_login_at_a_repository_is_not_sent_to_a_realm_elsewhere() {
    let (lab, _) = town();
    lab.registry.guard(Gate::Bearer { realm: "https://evil.example/token".to_owned(), service: None });
    lab.net.serve("https://evil.example", |_: &Sent| Answer::new(200).body("{\"token\":\"t\"}"));
    assert!(lab.get("/v2/a/secret/manifests/v1").basic("alice", "wonder").await.is(504, "UNAVAILABLE"));
    assert!(lab.get(&format!("/token?scope={SECRET}")).basic("alice", "wonder").await.is(504, "UNAVAILABLE"));
    assert!(lab.net.sent("*", "evil.example").is_empty());
}

#[tokio::test(start_paused = true)]
async fn scopes_name_the_repository_as_the_upstream_does() {
    let text = format!("{MODE}\n[[upstream]]\nname='docker.io'\n{}", upstream("hosts=['r.example']"));
    let lab = Fixture::new(&text).with_tokens();
    lab.registry.add_user("alice", "wonder");
    let hub = Registry::default();
    hub.add_user("alice", "hubhub");
    hub.guard(Gate::Bearer { realm: "https://auth.docker.io/token".to_owned(), service: None });
    lab.net.serve("https://registry-1.docker.io", hub.clone());
    lab.net.serve("https://auth.docker.io", hub);
    for (asked, expected) in [
        ("repository:docker.io/busybox:pull", "repository:library/busybox:pull"),
        ("repository:docker.io/a/b:pull,push", "repository:a/b:pull"),
    ] {
        lab.net.forget();
        lab.login_for("alice", "hubhub", asked).await;
        assert_eq!(
            lab.net.sent("GET", "auth.docker.io")[0].parameter("scope").as_deref(),
            Some(expected),
            "{asked}"
        );
    }
    lab.net.forget();
    lab.login_for("alice", "wonder", "repository:reg.example/a/b:pull").await;
    assert_eq!(lab.net.sent("GET", REALM)[0].parameter("scope").as_deref(), Some("repository:a/b:pull"));
    lab.net.forget();
    let seen =
        lab.get("/token?scope=repository:c/d:pull").header("host", "r.example").basic("alice", "wonder").await;
    assert_eq!(seen.status, 200);
    assert_eq!(lab.net.sent("GET", REALM)[0].parameter("scope").as_deref(), Some("repository:c/d:pull"));
}

#[tokio::test(start_paused = true)]
async fn one_token_is_for_one_registry() {
    let (lab, _) = town();
    let both = "/token?scope=repository:a/secret:pull&scope=repository:other.example/a/public:pull";
    assert_eq!(lab.get(both).basic("alice", "wonder").await.status, 400);
    let both = "/token?scope=repository:a/secret:pull%20repository:other.example/a/public:pull";
    assert_eq!(lab.get(both).basic("alice", "wonder").await.status, 400);
    assert!(lab.net.log().is_empty());
    let mount =
        "/token?scope=repository:a/secret:pull,push&scope=repository:a/public:pull&scope=registry:catalog:*";
    assert_eq!(lab.get(mount).basic("alice", "wonder").await.status, 200, "a mount asks for two of the same");
}

#[tokio::test(start_paused = true)]
async fn logins_may_be_posted_and_refresh_tokens_may_not() {
    let (lab, _) = town();
    let form = "grant_type=password&username=alice&password=wonder&service=proxy.example&scope=repository%3Aa%2Fsecret%3Apull";
    let seen = lab.post("/token").form(form).await;
    let token = seen.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(lab.get("/v2/a/secret/manifests/v1").bearer(&token).await.status, 200);
    assert_eq!(lab.post("/token").form("grant_type=refresh_token&refresh_token=x").await.status, 401);
    let nobody =
        lab.post("/token").form("service=proxy.example&scope=repository%3Aa%2Fpublic%3Apull&client_id=x").await;
    assert_eq!(nobody.status, 200, "containerd asks so without credentials");
}

#[tokio::test(start_paused = true)]
async fn a_client_by_ns_without_a_login_reads_what_is_public() {
    let (lab, _) = town();
    let nobody = lab.anonymous().await;
    let seen = lab.get("/v2/a/public/manifests/v1?ns=other.example").bearer(&nobody).await;
    assert_eq!(
        (seen.status.as_u16(), &seen.body, seen.header("oci-namespace")),
        (200, &manifest_of(20), "other.example")
    );
}

#[tokio::test(start_paused = true)]
async fn trouble_behind_the_token_endpoint_is_no_wrong_password() {
    for (fault, status) in [
        (Fault::Refuse, 504),
        (Fault::Say(Answer::new(500)), 504),
        (Fault::Say(Answer::new(429).header("retry-after", "9")), 429),
    ] {
        let (lab, _) = town();
        lab.net.fault("*", REALM, 9, fault);
        let seen = lab.get(&format!("/token?scope={SECRET}")).basic("alice", "wonder").await;
        assert_eq!(seen.status, status);
        assert_eq!(seen.header("retry-after"), if status == 429 { "9" } else { "5" }, "P-44");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_cannot_say_how_it_checks_logins_has_not_accepted_one() {
    for (answer, status, retry_after) in [
        (Answer::new(429).header("retry-after", "9"), 429, "9"),
        (Answer::new(503).header("retry-after", "7"), 504, "7"),
        (Answer::new(500), 504, "5"),
        (Answer::new(401), 504, "5"),
        (Answer::new(401).header("www-authenticate", "Negotiate"), 504, "5"),
        (Answer::new(403), 504, "5"),
    ] {
        let (lab, _) = town();
        // A refusal without a usable challenge is asked about twice: `/v2/`, and the repository.
        let times = if answer.status.is_client_error() && status == 504 { 2 } else { 1 };
        lab.net.fault("GET", ORIGIN, times, Fault::Say(answer.clone()));
        let seen = lab.get(&format!("/token?scope={SECRET}")).basic("alice", "wrong").await;
        assert_eq!((seen.status.as_u16(), seen.header("retry-after")), (status, retry_after), "{answer:?}");
        let seen = lab.get(&format!("/token?scope={SECRET}")).basic("alice", "wrong").await;
        assert_eq!(seen.status, 401, "nothing of it is remembered");
        lab.login_for("alice", "wonder", SECRET).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_with_basic_that_is_limited_has_not_accepted_a_login() {
    let lab = Fixture::new(MODE);
    lab.registry.guard(Gate::Basic);
    lab.registry.add_user("alice", "wonder");
    assert!(lab.get("/token").basic("alice", "wrong").await.is(401, "UNAUTHORIZED"));
    for (answer, status) in
        [(Answer::new(429).header("retry-after", "9"), 429), (Answer::new(502).header("retry-after", "9"), 504)]
    {
        lab.net.fault("GET", ORIGIN, 1, Fault::Say(answer));
        // Another one, since it is known of the first that it is wrong.
        let seen = lab.get("/token").basic("alice", &format!("wrong at {status}")).await;
        assert_eq!((seen.status.as_u16(), seen.header("retry-after")), (status, "9"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_at_a_registry_with_basic_is_checked_there() {
    let lab = Fixture::new(MODE);
    lab.registry.guard(Gate::Basic);
    lab.registry.add_user("alice", "wonder");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    assert!(lab.get("/token").basic("alice", "wrong").await.is(401, "UNAUTHORIZED"));
    let alice = lab.login("alice", "wonder").await;
    assert_eq!(lab.get("/v2/a/b/manifests/v1").bearer(&alice).await.status, 200);
    assert_eq!(lab.get("/v2/a/b/manifests/v1").bearer(&lab.anonymous().await).await.status, 401);
}

/// A registry with Basic where each repository has users of its own: nobody is let in at `/v2/`.
#[tokio::test(start_paused = true)]
async fn where_the_ping_refuses_every_login_the_repository_says_whether_a_login_is_right() {
    let lab = Fixture::new(MODE);
    lab.registry.guard(Gate::Basic);
    lab.registry.make_private("", &[]);
    for (name, password, repository) in [("alice", "wonder", "a/secret"), ("bob", "builder", "b/secret")] {
        lab.registry.add_user(name, password);
        lab.registry.make_private(repository, &[name]);
        lab.registry.put_manifest(repository, "v1", OCI_MANIFEST, manifest_of(10));
    }
    let token = |name: &str, password: &str, scope: &str| {
        lab.get(&format!("/token?scope=repository:{scope}:pull")).basic(name, password)
    };
    let alice = token("alice", "wonder", "a/secret").await.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(lab.get("/v2/a/secret/manifests/v1").bearer(&alice).await.status, 200);
    assert_eq!(lab.get("/v2/a/secret/manifests/v1").basic("alice", "wonder").await.status, 200);
    for (name, password, scope) in [
        ("alice", "wrong", "a/secret"),
        ("bob", "builder", "a/secret"),
        ("mallory", "wonder", "a/secret"),
        ("bob", "wonder", "b/secret"),
    ] {
        assert!(token(name, password, scope).await.is(401, "UNAUTHORIZED"), "{name} {password} {scope}");
    }
    assert!(lab.get("/token").basic("alice", "wonder").await.is(401, "UNAUTHORIZED"), "as at the registry itself");
}

/// A registry with Basic that lets whoever comes in at `/v2/`, and not to its repositories.
#[tokio::test(start_paused = true)]
async fn where_the_ping_accepts_every_login_the_repository_says_whether_a_login_is_right() {
    let lab = Fixture::new(MODE);
    let registry = lab.registry.clone();
    registry.guard(Gate::Basic);
    registry.add_user("alice", "wonder");
    registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    let door = format!("{ORIGIN}/v2/");
    lab.net.serve(&door.clone(), move |sent: &Sent| {
        if sent.url == door { Answer::new(200).body("{}") } else { registry.answer(sent) }
    });
    let path = "/token?scope=repository:a/b:pull";
    for _ in 0..2 {
        assert!(lab.get(path).basic("alice", "wrong").await.is(401, "UNAUTHORIZED"));
        assert_eq!(lab.get(path).basic("alice", "wonder").await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_login_that_may_not_read_this_repository_is_right_all_the_same() {
    let lab = Fixture::new(MODE);
    lab.registry.guard(Gate::Basic);
    lab.registry.add_user("alice", "wonder");
    lab.registry.make_private("b/secret", &["bob"]);
    lab.registry.put_manifest("b/secret", "v1", OCI_MANIFEST, manifest_of(10));
    let alice = lab.login_for("alice", "wonder", "repository:b/secret:pull").await;
    assert!(lab.get("/v2/b/secret/manifests/v1").bearer(&alice).await.is(403, "DENIED"));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_this_proxy_again_is_seen_when_a_login_is_checked() {
    let lab = Fixture::new(MODE);
    lab.registry.guard(Gate::Basic);
    lab.registry.make_private("", &[]);
    lab.get("/token?scope=repository:a/b:pull").basic("alice", "wonder").await;
    assert!(!lab.net.log().is_empty());
    assert!(lab.net.log().iter().all(|sent| !sent.header("via").is_empty()), "P-127");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_version_before_still_reads_in_mode_upstream() {
    let lab = Fixture::new(&format!("signing_key_file='k'\n{MODE}"));
    lab.registry.guard(Gate::Basic);
    lab.registry.add_user("alice", "wonder");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    let sealer = Sealer::new(Some(&Secret::new("what-is-in-k")), Arc::new(CountingEntropy::new(7)));
    let login = serde_json::json!({ "upstream": "reg.example", "username": "alice", "password": "wonder" });
    let note = serde_json::json!({
        "holder": { "Login": login },
        "scopes": ["repository:a/b:pull"],
        "expires": crate::clock::EPOCH + 300
    });
    let token = sealer.seal(SealPurpose::Token, &note);
    assert_eq!(lab.get("/v2/a/b/manifests/v1").bearer(&token).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_clients_token_holds_no_readable_password() {
    let (lab, _) = town();
    let alice = lab.login_for("alice", "wonder", SECRET).await;
    assert!(!alice.contains("wonder") && alice.len() < 4096);
    lab.wait(3600).await;
    let seen = lab.get("/v2/a/public/manifests/v1").bearer(&alice).await;
    assert!(seen.header("www-authenticate").ends_with("error=\"invalid_token\""));
    assert!(lab.net.sent("*", ORIGIN).iter().all(|sent| !sent.header("authorization").contains(&alice)));
}

#[tokio::test(start_paused = true)]
async fn our_own_account_is_not_lent_to_clients() {
    let text = format!("{MODE}\n{}", upstream("username='robot'\npassword='s3cret'"));
    let lab = Fixture::new(&text).with_tokens();
    lab.registry.add_user("robot", "s3cret");
    lab.registry.make_private("a/b", &["robot"]);
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    let nobody = lab.anonymous().await;
    assert_eq!(lab.get("/v2/a/b/manifests/v1").bearer(&nobody).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn where_ns_alone_names_the_registry_its_login_has_an_entry_point_of_its_own() {
    let text = format!("[clients]\nauth='upstream'\n{}", crate::fixture::upstream(""));
    let seen = Fixture::new(&text).get("/v2/a/b/manifests/v1?ns=reg.example").await;
    let challenge = seen.header("www-authenticate");
    assert!(challenge.contains("realm=\"https://proxy.example/reg.example/token\""), "P-09: {challenge}");
}

#[tokio::test(start_paused = true)]
async fn a_token_stays_below_4_kib_or_is_refused_with_a_reason() {
    let (lab, _) = town();
    let scopes = |count: usize, length: usize| -> String {
        let scope = |number| format!("scope=repository:a/{number:0length$}:pull,push");
        (0..count).map(scope).collect::<Vec<_>>().join("&")
    };
    for (count, length) in [(32, 20), (100, 20), (8, 200)] {
        let seen = lab.get(&format!("/token?{}", scopes(count, length))).basic("alice", "wonder").await;
        assert_eq!(seen.status, 200, "{count} of {length}");
        assert!(seen.json()["token"].as_str().unwrap().len() < 4096, "P-47: {count} of {length}");
    }
    let all = format!("/token?{}", scopes(32, 200));
    let seen = lab.get(&all).basic("alice", "wonder").await;
    assert_eq!(seen.status, 400);
    assert!(seen.json()["errors"][0]["message"].as_str().unwrap().contains("fewer repositories"), "{seen:?}");
    // What everybody may see needs no scope in the token.
    let seen = lab.get(&all).await;
    assert_eq!(seen.status, 200);
    assert!(seen.json()["token"].as_str().unwrap().len() < 200);
}
