//! `[[clients.issuer]]`: tokens of an issuer with real keys, by the real binary.

mod forger;
mod signer;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use self::forger::Forger;
use self::signer::{Issuer, Signer, now};
use crate::fixture::{Client, Product, Setup, Upstream, basic, blob_path, content, one_upstream};

const AUDIENCE: &str = "proxy.example.com";

fn rule(issuer: &str) -> String {
    format!(
        "[clients]\nauth = 'users'\n[[clients.issuer]]\nurl = '{issuer}'\naudience = '{AUDIENCE}'\n\
         match = {{ repository_owner = 'acme' }}\nname = '{{repository}}'\nallow = ['up.test/**']\n"
    )
}

/// The claims of a job, some of them changed; `null` leaves one out.
fn job(issuer: &str, changes: &Value) -> Value {
    let now = now();
    let mut claims = json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "repo:acme/app:ref:refs/heads/main",
        "repository": "acme/app", "repository_owner": "acme", "iat": now, "nbf": now, "exp": now + 300,
    });
    let all = claims.as_object_mut().unwrap();
    all.extend(changes.as_object().unwrap_or(&Map::new()).clone());
    all.retain(|_, value| !value.is_null());
    claims
}

/// Status and message of a request for a token of ours, with the token as the password in a form.
async fn exchange(product: &Product, token: &str) -> (u16, String) {
    let form = format!("grant_type=password&username=any&password={token}&scope=repository:up.test/a/b:pull");
    let mut client = Client::connect(product.address).await;
    let length = form.len();
    let head = format!(
        "POST /token HTTP/1.1\r\nHost: proxy.test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
    );
    client.send(format!("{head}{form}")).await;
    let head = client.head().await;
    let body = client.take(head.length().unwrap()).await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let message = answer["errors"][0]["message"].as_str().or(answer["token"].as_str()).unwrap();
    (head.status, message.to_owned())
}

#[tokio::test]
async fn a_job_pulls_by_each_kind_of_key() {
    let upstream = Upstream::of_blob(content(100)).await;
    let signers = [Signer::rsa(), Signer::p256(), Signer::ed25519()];
    let issuer = Issuer::start(signers.iter().map(|signer| signer.jwk(signer.algorithm())).collect()).await;
    let product = Product::start(&one_upstream(&rule(&issuer.url), upstream.address, "")).await;
    for signer in &signers {
        let token = signer.token(signer.algorithm(), &job(&issuer.url, &Value::Null));
        let (status, sealed) = exchange(&product, &token).await;
        assert_eq!(status, 200, "{sealed}\n{}", product.log());
        let mut client = Client::connect(product.address).await;
        // The scope was for a/b, and the issuer's own token is for all that the rule allows.
        for (header, expected) in [
            (format!("Bearer {token}"), 200),
            (basic("any", &token), 200),
            (format!("Bearer {sealed}"), 401),
            ("Bearer e30.e30.e30".to_owned(), 401),
        ] {
            let (head, _) = client.get_with(&blob_path(), &format!("Authorization: {header}\r\n")).await;
            assert_eq!(head.status, expected, "{header}");
        }
    }
    let line = product.wait_for_line("keys of an issuer were fetched").await;
    assert!(line.contains("keys=3"), "{line}");
    product.wait_for_line("user=acme/app").await;
}

#[tokio::test]
async fn a_rotated_key_and_a_removed_issuer_end_tokens() {
    let upstream = Upstream::of_blob(content(100)).await;
    let (old, new) = (Signer::p256(), Signer::ed25519());
    let issuer = Issuer::start(vec![old.jwk("old")]).await;
    let text = one_upstream(&rule(&issuer.url), upstream.address, "");
    let product = Product::start(&text).await;
    let claims = job(&issuer.url, &Value::Null);
    assert_eq!(exchange(&product, &old.token("old", &claims)).await.0, 200);
    issuer.publish(vec![new.jwk("new")]);
    let (status, sealed) = exchange(&product, &new.token("new", &claims)).await;
    assert_eq!(status, 200, "it was fetched: {sealed}");
    let (status, message) = exchange(&product, &old.token("old", &claims)).await;
    assert_eq!(status, 401, "{message}");
    assert!(message.ends_with("the issuer has no key of its name (kid) for its algorithm"), "{message}");
    let ping = async || {
        let header = format!("Authorization: Bearer {sealed}\r\n");
        Client::connect(product.address).await.get_with("/v2/", &header).await.0.status
    };
    assert_eq!(ping().await, 200);
    product.setup.file("proxy.toml", &text.replace(&issuer.url, "https://other.test"));
    product.reload().await;
    assert_eq!(ping().await, 401);
}

#[tokio::test]
async fn forged_and_stale_tokens_are_refused_and_the_log_says_why() {
    let upstream = Upstream::of_blob(content(100)).await;
    let forger = Forger::start().await;
    let product = Product::start(&one_upstream(&rule(forger.url()), upstream.address, "")).await;
    let tokens = [forger.by_algorithm(), forger.by_claims(), forger.by_key(), forger.by_form()].concat();
    assert!(tokens.len() >= 50, "{}", tokens.len());
    let mut said = BTreeMap::new();
    for (what, token, expected) in &tokens {
        let (status, message) = exchange(&product, token).await;
        let is_too_large = expected.starts_with("larger");
        assert_eq!((status, &message), (if is_too_large { 413 } else { 401 }, expected), "{what}");
        let count = said.entry(expected.clone()).or_insert(0);
        *count += 1;
        // What is no token of an issuer has its line as before, by its reason.
        let part = match expected.as_str() {
            "incorrect user name or password" => "why=wrong login".to_owned(),
            "larger than 65536 bytes" => "why=too large".to_owned(),
            _ => format!("error={expected}"),
        };
        let lines = product.wait_for_lines(&part, *count).await;
        assert!(lines.iter().all(|line| line.contains("POST")), "{what}: {lines:?}");
        assert!(!product.log().contains(token.as_str()), "{what}: the token is in the log");
    }
    assert_eq!(exchange(&product, &forger.good()).await.0, 200, "and the right one is right");
    // In a header it does not even come in.
    let long = forger.changed(&json!({ "x": "x".repeat(100_000) }));
    let mut client = Client::connect(product.address).await;
    client.ask("GET", "/v2/", &format!("Authorization: Bearer {long}\r\n")).await;
    assert_eq!(client.head().await.status, 431);
    // At the resource itself a client is told the same, and how to log in.
    let header = format!("Authorization: Bearer {}\r\n", forger.changed(&json!({ "aud": "x" })));
    let (head, body) = Client::connect(product.address).await.get_with("/v2/", &header).await;
    assert_eq!(head.status, 401);
    assert!(head.get("www-authenticate").unwrap().ends_with("error=\"invalid_token\""), "{}", head.text);
    assert!(String::from_utf8(body).unwrap().contains("its audience (aud) is not"));
}

#[tokio::test]
async fn a_key_file_is_read_at_the_start_and_what_is_none_is_refused() {
    let upstream = Upstream::of_blob(content(100)).await;
    let signer = Signer::p256();
    let setup = Setup::new();
    let keys = setup.file("keys.json", &json!({ "keys": [signer.jwk("k")] }).to_string());
    let none = setup.file("none.json", "{\"keys\":[]}");
    let text = |keys: &str| {
        let rule = format!("{}jwks_file = '{keys}'\n", rule("https://cluster.internal"));
        one_upstream(&rule, upstream.address, "")
    };
    let config = setup.file("none.toml", &text(&none));
    let output = setup.run(&["--config", &config, "check"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = format!("clients.issuer[0].jwks_file: {none}: it has no key for RS256");
    assert!(!output.status.success() && said.contains(&expected), "{said}");
    let product = setup.start(&text(&keys)).await;
    let token = signer.token("k", &job("https://cluster.internal", &Value::Null));
    assert_eq!(exchange(&product, &token).await.0, 200);
}
