//! Who may use this proxy: open hosts, and hosts with users of their own.

use std::sync::Arc;

use registry_proxy_core::seal::{SealPurpose, Sealer};
use registry_proxy_core::secret::Secret;
use registry_proxy_core::testing::{Answer, CountingEntropy, Fault, Users};

use crate::fixture::{Call, Fixture, OCI_MANIFEST, manifest_of};

const USERS: &str = "[clients]\nauth='users'\nusers_file='u'";
const V1: &str = "/v2/a/b/manifests/v1";

#[tokio::test(start_paused = true)]
async fn an_open_host_never_says_401_whatever_the_upstream_says() {
    for status in [401, 403] {
        let (lab, digest, blob) = Fixture::stocked("");
        let said = Answer::new(status)
            .header("www-authenticate", "Basic realm=\"origin.up.example.com\"")
            .body(r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#);
        lab.net.fault("*", "/v2/", 99, Fault::Say(said));
        for path in
            [V1, &format!("/v2/a/b/manifests/{digest}"), &format!("/v2/a/b/blobs/{blob}"), "/v2/a/b/tags/list"]
        {
            let seen = lab.get(path).await;
            assert!(seen.is(403, "DENIED"), "{path}");
            let message = "the registry reg.example refuses access: requested access is denied";
            assert_eq!(seen.json()["errors"][0]["message"], message, "{path}");
            assert_eq!(lab.head(path).await.status, 403, "{path}");
        }
        for suffix in [".sig", ".att", ".sbom"] {
            let path = format!("/v2/a/b/manifests/{}{suffix}", digest.replace(':', "-"));
            assert!(lab.get(&path).await.is(404, "MANIFEST_UNKNOWN"), "P-23: {suffix}");
            assert_eq!(lab.head(&path).await.status, 404, "P-23: {suffix}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_host_takes_credentials_that_nobody_asked_for_and_passes_none_on() {
    let (lab, _, _) = Fixture::stocked("");
    assert_eq!(lab.get("/v2/").basic("mallory", "hunter2").await.status, 200);
    assert_eq!(lab.get(V1).basic("mallory", "hunter2").await.status, 200);
    assert_eq!(lab.get(V1).bearer("of-somebody-else").await.status, 200);
    assert_eq!(lab.get("/token?scope=repository:a/b:pull").basic("mallory", "hunter2").await.status, 200);
    assert!(lab.net.log().iter().all(|sent| sent.header("authorization").is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_host_with_users_challenges_at_the_ping_and_everywhere_else() {
    let (lab, _, blob) = Fixture::stocked(USERS);
    let seen = lab.get("/v2/").await;
    assert!(seen.is(401, "UNAUTHORIZED"));
    assert_eq!(
        seen.header("www-authenticate"),
        "Bearer realm=\"https://proxy.example/token\",service=\"proxy.example\""
    );
    let seen = lab.get("/v2/reg.example/a/b/manifests/v1").await;
    assert_eq!(
        seen.header("www-authenticate"),
        "Bearer realm=\"https://proxy.example/token\",service=\"proxy.example\",scope=\"repository:reg.example/a/b:pull\""
    );
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{blob}")).await.status, 401);
    let plain = lab.get("/v2/").in_the_clear().header("host", "proxy.example:3000").await;
    assert!(plain.header("www-authenticate").contains("realm=\"http://proxy.example:3000/token\""));
    assert!(lab.net.log().is_empty(), "a stranger makes no upstream work");
}

#[tokio::test(start_paused = true)]
async fn docker_login_goes_through_and_a_pull_after_it() {
    let (lab, _, blob) = Fixture::stocked(USERS);
    let challenge = lab.get("/v2/").await.header("www-authenticate").to_owned();
    assert!(challenge.contains("/token"));
    let path = "/token?account=alice&client_id=docker&offline_token=true&service=proxy.example";
    let seen = lab.get(path).basic("alice", "wonder").await;
    let answer = seen.json();
    assert_eq!(answer["token"], answer["access_token"]);
    assert!(answer["expires_in"].as_u64().unwrap() >= 60 && answer.get("refresh_token").is_none());
    let token = answer["token"].as_str().unwrap();
    assert!(token.len() < 4096);
    assert_eq!(lab.get("/v2/").bearer(token).await.status, 200);
    let token = lab.login_for("alice", "wonder", "repository:a/b:pull").await;
    assert_eq!(lab.get(V1).bearer(&token).await.status, 200);
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{blob}")).bearer(&token).await.status, 200);
    assert_eq!(lab.get("/v2/a/b/tags/list").bearer(&token).await.status, 200);
    assert!(lab.net.log().iter().all(|sent| sent.header("authorization").is_empty()), "our token stays with us");
}

#[tokio::test(start_paused = true)]
async fn a_token_opens_what_it_was_asked_for_and_nothing_else() {
    let (lab, _, _) = Fixture::stocked(&format!("{USERS}\n{}", crate::fixture::upstream("push=true")));
    let uploads = "/v2/a/b/blobs/uploads/";
    for (scope, pulls, pushes) in [
        ("repository:a/b:pull", 200, 401),
        ("repository:a/b:pull,push", 200, 202),
        ("repository:a/b:push,pull%20repository:c/d:pull", 200, 202),
        ("repository:c/d:pull&scope=repository:a/b:*", 200, 202),
        ("repository:c/d:pull", 401, 401),
        ("repository:reg.example/a/b:pull", 401, 401),
        ("registry:catalog:*", 401, 401),
        ("", 401, 401),
    ] {
        let token = lab.login_for("alice", "wonder", scope).await;
        let pull = lab.get(V1).bearer(&token).await;
        let push = lab.post(uploads).bearer(&token).await;
        assert_eq!((pull.status.as_u16(), push.status.as_u16()), (pulls, pushes), "{scope}");
        for refused in [pull, push].iter().filter(|seen| seen.status == 401) {
            let challenge = refused.header("www-authenticate");
            assert!(challenge.ends_with(",error=\"insufficient_scope\""), "P-36, P-48: {challenge}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_401_everywhere() {
    let lab = Fixture::new(USERS);
    for (user, password) in [("alice", "wrong"), ("alice", ""), ("mallory", "wonder"), ("", "wonder")] {
        assert!(lab.get("/token").basic(user, password).await.is(401, "UNAUTHORIZED"), "{user}");
        assert_eq!(lab.get("/v2/").basic(user, password).await.status, 401, "{user}");
        assert_eq!(lab.get(V1).basic(user, password).await.status, 401, "{user}");
        // Three wrong ones of a name, and it has to wait; ten minutes later they count no more.
        lab.wait(600).await;
    }
    assert!(lab.get("/token").await.is(401, "UNAUTHORIZED"));
    assert!(lab.get("/token").header("authorization", "Basic Og==").await.is(401, "UNAUTHORIZED"));
    assert!(lab.net.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_empty_login_means_nobody() {
    let lab = Fixture::new(USERS);
    let seen = lab.get("/v2/").header("authorization", "Basic Og==").await;
    assert_eq!(seen.status, 401);
    assert!(!seen.header("www-authenticate").contains("error="), "nobody is no wrong token");
}

#[tokio::test(start_paused = true)]
async fn passwords_may_be_posted_in_a_form() {
    let (lab, _, _) = Fixture::stocked(USERS);
    for form in [
        "grant_type=password&username=alice&password=wonder&service=proxy.example&scope=repository%3Aa%2Fb%3Apull",
        "username=alice&password=wonder&scope=repository:a/b:pull",
        "grant_type=password&client_id=containerd&username=alice&password=wonder&access_type=offline&scope=repository%3Ac%2Fd%3Apull+repository%3Aa%2Fb%3Apull",
    ] {
        let seen = lab.post("/token").form(form).await;
        assert_eq!(seen.status, 200, "{form}");
        let token = seen.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(lab.get(V1).bearer(&token).await.status, 200);
    }
    assert_eq!(lab.post("/token").body("username=alice&password=wonder").await.status, 200);
    assert!(
        lab.post("/token").form("grant_type=password&username=alice&password=wrong").await.is(401, "UNAUTHORIZED")
    );
}

#[tokio::test(start_paused = true)]
async fn grants_and_methods_that_we_do_not_have_are_refused_so_that_clients_fall_back() {
    let lab = Fixture::new(USERS);
    let seen = lab.post("/token").form("grant_type=refresh_token&refresh_token=x").await;
    assert_eq!(seen.status, 401);
    let large = "x".repeat(70_000);
    assert_eq!(lab.post("/token").body(format!("username=alice&password={large}")).await.status, 413);
    assert_eq!(lab.post("/token").body(vec![0xff, 0xfe]).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_supported_at_the_token_endpoint_is_404() {
    let lab = Fixture::new(USERS);
    for seen in [lab.put("/token").await, lab.delete("/token").await] {
        assert_eq!(seen.status, 404, "P-39: 405 is fatal to containerd and crane");
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_end_and_clients_are_told_that_it_was_the_token() {
    let (lab, _, _) = Fixture::stocked(USERS);
    let token = lab.login("alice", "wonder").await;
    lab.wait(3599).await;
    assert_eq!(lab.get(V1).bearer(&token).await.status, 200);
    lab.wait(1).await;
    let seen = lab.get(V1).bearer(&token).await;
    assert_eq!(seen.status, 401);
    assert!(seen.header("www-authenticate").ends_with(",error=\"invalid_token\""), "{seen:?}");
    assert!(lab.get("/v2/").bearer(&token).await.header("www-authenticate").ends_with(",error=\"invalid_token\""));
}

/// containerd 1.6 takes one token for a whole pull, however long its layers take.
#[tokio::test(start_paused = true)]
async fn a_token_reads_for_longer_than_clients_are_told_and_writes_no_longer() {
    let keys = crate::fixture::upstream("push=true");
    for (life, reads) in [("", 3600), ("read_token_life='10m'", 600), ("read_token_life='5m'", 300)] {
        let (lab, _, blob) = Fixture::stocked(&format!("{USERS}\n{life}\n{keys}"));
        let seen = lab.get("/token?scope=repository:a/b:pull,push,delete").basic("alice", "wonder").await;
        assert_eq!(seen.json()["expires_in"], 300, "others renew");
        let token = seen.json()["token"].as_str().unwrap().to_owned();
        let (uploads, blob) = ("/v2/a/b/blobs/uploads/", format!("/v2/a/b/blobs/{blob}"));
        lab.wait(299).await;
        assert_eq!(lab.post(uploads).bearer(&token).await.status, 202);
        lab.wait(1).await;
        for seen in [
            lab.post(uploads).bearer(&token).await,
            lab.put(V1).bearer(&token).await,
            lab.delete(&blob).bearer(&token).await,
            lab.get("/v2/a/b/blobs/uploads/session?_s=x").bearer(&token).await,
        ] {
            assert!(seen.is(401, "UNAUTHORIZED"), "{seen:?}");
            assert!(seen.header("www-authenticate").ends_with(",error=\"invalid_token\""), "{seen:?}");
        }
        assert!(lab.registry.deleted().is_empty());
        if reads > 300 {
            lab.wait(reads - 301).await;
            for path in ["/v2/", V1, &blob, "/v2/a/b/tags/list"] {
                assert_eq!(lab.get(path).bearer(&token).await.status, 200, "{path} {life}");
            }
            lab.wait(1).await;
        }
        assert_eq!(lab.get(V1).bearer(&token).await.status, 401, "{life}");
    }
}

/// The password file as it is after a change: what `bob` had stays.
fn without_alice() -> Users {
    Users(vec![("bob", "builder")])
}

fn with_another_alice() -> Users {
    Users(vec![("alice", "looking-glass"), ("bob", "builder")])
}

#[tokio::test(start_paused = true)]
async fn a_users_token_ends_with_the_user_and_with_the_password() {
    let text = format!("signing_key_file='k'\n{USERS}");
    for change in [without_alice, with_another_alice] {
        let (mut lab, _, layer) = Fixture::stocked(&text);
        let layer = format!("/v2/a/b/blobs/{layer}");
        let (alice, bob) = (lab.login("alice", "wonder").await, lab.login("bob", "builder").await);
        assert_eq!(lab.get(V1).bearer(&alice).await.status, 200);
        lab.reload(&text);
        assert_eq!(lab.get(V1).bearer(&alice).await.status, 200, "nothing has changed for alice");
        lab.platform.passwords = Some(Arc::new(change()));
        // Another replica that has read the new file, and this one after a signal.
        let replica = lab.beside(&text, lab.net.clone(), 99);
        let call = |path: &str| Call::new(&replica, http::Method::GET, path);
        assert_eq!(call(V1).bearer(&bob).await.status, 200);
        assert_eq!(call(V1).bearer(&alice).await.status, 401);
        lab.reload(&text);
        for path in [V1, &layer, "/v2/"] {
            let seen = lab.get(path).bearer(&alice).await;
            assert!(seen.header("www-authenticate").ends_with(",error=\"invalid_token\""), "{path} {seen:?}");
            assert_eq!(lab.get(path).bearer(&bob).await.status, 200, "{path}");
            assert_eq!(lab.get(path).basic("alice", "wonder").await.status, 401, "{path}: not remembered either");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_version_before_is_refused_with_the_ordinary_challenge() {
    let (lab, _, _) = Fixture::stocked(&format!("signing_key_file='k'\n{USERS}"));
    let key = Secret::new("what-is-in-k");
    let sealer = Sealer::new(Some(&key), Arc::new(CountingEntropy::new(7)));
    let holder = serde_json::json!({ "User": { "name": "alice" } });
    let scopes = ["repository:a/b:pull"];
    let note = serde_json::json!({ "holder": holder, "scopes": scopes, "expires": crate::clock::EPOCH + 300 });
    let seen = lab.get(V1).bearer(&sealer.seal(SealPurpose::Token, &note)).await;
    assert!(seen.is(401, "UNAUTHORIZED"));
    let challenge = seen.header("www-authenticate");
    assert!(challenge.ends_with("scope=\"repository:a/b:pull\",error=\"invalid_token\""), "{challenge}");
}

#[tokio::test(start_paused = true)]
async fn forged_tokens_open_nothing() {
    let lab = Fixture::new(USERS);
    let token = lab.login("alice", "wonder").await;
    let mut tampered = token.clone();
    tampered.replace_range(40..41, if &token[40..41] == "A" { "B" } else { "A" });
    for forged in [&*tampered, "x", "", "eyJhbGciOiJub25lIn0.eyJuYW1lIjoiYWxpY2UifQ.", &token[1..]] {
        let seen = lab.get("/v2/").bearer(forged).await;
        assert_eq!(seen.status, 401, "{forged}");
    }
    let other = Fixture::set_up(&crate::fixture::Setup {
        text: &format!("signing_key_file='k'\n{USERS}"),
        ..Default::default()
    });
    assert_eq!(other.get("/v2/").bearer(&token).await.status, 401, "of another deployment");
}

#[tokio::test(start_paused = true)]
async fn a_users_name_in_an_anonymous_token_is_none() {
    let open = Fixture::new("signing_key_file='k'");
    let token = open.anonymous().await;
    let users = Fixture::new(&format!("signing_key_file='k'\n{USERS}"));
    assert_eq!(users.get("/v2/").bearer(&token).await.status, 401);
    assert_eq!(users.get(V1).bearer(&token).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn replicas_that_share_the_key_accept_each_others_tokens() {
    let text = format!("signing_key_file='k'\n{USERS}");
    let lab = Fixture::new(&text);
    let token = lab.login("alice", "wonder").await;
    let replica = lab.beside(&text, lab.net.clone(), 99);
    assert_eq!(crate::fixture::Call::new(&replica, http::Method::GET, "/v2/").bearer(&token).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn realm_and_scope_name_the_repository_as_the_client_does() {
    let text = format!("{USERS}\n{}", crate::fixture::upstream("hosts=['hub.example']"));
    let lab = Fixture::new(&text);
    for (host, path, realm, scope) in [
        (
            "proxy.example",
            "/reg.example/v2/a/manifests/v1",
            "https://proxy.example/reg.example/token",
            "repository:a:pull",
        ),
        ("hub.example", "/v2/a/manifests/v1", "https://hub.example/token", "repository:a:pull"),
        ("proxy.example", "/v2/a/b/blobs/uploads/", "https://proxy.example/token", "repository:a/b:pull"),
    ] {
        let seen = lab.get(path).header("host", host).await;
        let challenge = seen.header("www-authenticate");
        assert_eq!(seen.status, 401, "{path}");
        assert!(challenge.contains(&format!("realm=\"{realm}\"")), "P-03, P-33: {challenge}");
        assert!(challenge.contains(&format!("scope=\"{scope}")), "{challenge}");
    }
}

#[tokio::test(start_paused = true)]
async fn repositories_that_the_rules_leave_out_are_403_and_not_asked_for() {
    let lab = Fixture::new(&crate::fixture::upstream("repositories={allow=['a/**'],deny=['a/secret']}"));
    for repository in ["a/b", "a/secret", "c/d"] {
        lab.registry.put_manifest(repository, "v1", OCI_MANIFEST, manifest_of(10));
    }
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200);
    lab.net.forget();
    assert!(lab.get("/v2/a/secret/manifests/v1").await.is(403, "DENIED"));
    assert!(lab.get("/v2/c/d/manifests/v1").await.is(403, "DENIED"));
    assert!(lab.net.log().is_empty());
}
