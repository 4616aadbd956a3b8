use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::access::issuers::token;
use crate::testing::{CountingEntropy, TestSignatures};

/// What time it is.
const NOW: u64 = 1_700_000_000;
const GITHUB: &str = "https://token.actions.githubusercontent.com";

fn config(url: &str, claims: &[(&str, &str)], name: &str) -> IssuerConfig {
    let claims: BTreeMap<_, _> =
        claims.iter().map(|(claim, wanted)| ((*claim).to_owned(), (*wanted).to_owned())).collect();
    IssuerConfig {
        url: url.into(),
        audience: "proxy.example.com".into(),
        claims,
        name: name.into(),
        allow: vec!["ghcr.io/acme/**".into()],
        jwks_file: None,
    }
}

fn rules(configs: &[IssuerConfig]) -> Vec<Arc<IssuerRule>> {
    let sealer = Sealer::new(None, Arc::new(CountingEntropy::new(1)));
    configs.iter().map(|config| Arc::new(IssuerRule::new(config, &sealer).unwrap())).collect()
}

/// As whom these claims are let in, or why they are not.
fn judged(configs: &[IssuerConfig], claims: &str) -> String {
    let token = TestSignatures::token(r#"{"alg":"EdDSA"}"#, claims, 1);
    match judge(&rules(configs), &token::read(&token).unwrap(), NOW) {
        Ok(candidate) => candidate.name.into(),
        Err(refused) => refused.why.to_string(),
    }
}

/// The claims of a job of GitHub's, some of them changed; `null` leaves one out.
fn job(changes: &str) -> String {
    let mut claims = serde_json::json!({
        "iss": GITHUB, "aud": "proxy.example.com", "sub": "repo:acme/app:ref:refs/heads/main",
        "repository": "acme/app", "repository_owner": "acme", "run_attempt": "1",
        "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 300,
    });
    let changes: serde_json::Map<String, Value> = serde_json::from_str(changes).unwrap();
    let all = claims.as_object_mut().unwrap();
    all.extend(changes);
    all.retain(|_, value| !value.is_null());
    claims.to_string()
}

#[test]
fn a_job_is_let_in_under_its_name_where_all_is_as_the_rule_wants() {
    let rule = [config(GITHUB, &[("repository_owner", "acme")], "{repository}")];
    for (changes, expected) in [
        ("{}", "acme/app"),
        (r#"{"aud":["other","proxy.example.com"]}"#, "acme/app"),
        (r#"{"aud":"sts.amazonaws.com"}"#, "its audience (aud) is not proxy.example.com"),
        (r#"{"aud":["proxy.example.com.evil.test"]}"#, "its audience (aud) is not proxy.example.com"),
        (r#"{"aud":[]}"#, "its audience (aud) is not proxy.example.com"),
        (r#"{"aud":{"proxy.example.com":1}}"#, "its audience (aud) is not proxy.example.com"),
        (r#"{"aud":null}"#, "its audience (aud) is not proxy.example.com"),
        (r#"{"iss":"https://evil.test"}"#, "its issuer (iss) is none of [[clients.issuer]]"),
        (
            r#"{"iss":"https://token.actions.githubusercontent.com/"}"#,
            "its issuer (iss) is none of [[clients.issuer]]",
        ),
        (
            r#"{"iss":["https://token.actions.githubusercontent.com"]}"#,
            "its issuer (iss) is none of [[clients.issuer]]",
        ),
        (r#"{"iss":null}"#, "its issuer (iss) is none of [[clients.issuer]]"),
        (r#"{"repository_owner":"evil"}"#, "its claim repository_owner does not match the rule"),
        (r#"{"repository_owner":"Acme"}"#, "its claim repository_owner does not match the rule"),
        (r#"{"repository_owner":["acme"]}"#, "its claim repository_owner does not match the rule"),
        (r#"{"repository_owner":null}"#, "its claim repository_owner does not match the rule"),
        (r#"{"repository":null}"#, "its claim repository is not there or cannot be a part of a name"),
        (r#"{"repository":""}"#, "its claim repository is not there or cannot be a part of a name"),
        (r#"{"repository":{"a":1}}"#, "its claim repository is not there or cannot be a part of a name"),
        (r#"{"repository":"a\nb"}"#, "its claim repository is not there or cannot be a part of a name"),
    ] {
        assert_eq!(judged(&rule, &job(changes)), expected, "{changes}");
    }
    let long = format!(r#"{{"repository":"{}"}}"#, "x".repeat(257));
    assert!(judged(&rule, &job(&long)).contains("cannot be a part of a name"));
}

#[test]
fn a_token_counts_from_its_beginning_to_its_end_and_a_minute_of_other_clocks() {
    let rule = [config(GITHUB, &[("repository_owner", "acme")], "{repository}")];
    for (changes, expected) in [
        (format!(r#"{{"exp":{}}}"#, NOW - 59), "acme/app"),
        (format!(r#"{{"exp":{}}}"#, NOW - 60), "it expired 1m ago (exp)"),
        (format!(r#"{{"exp":{}}}"#, NOW - 7200), "it expired 2h ago (exp)"),
        (format!(r#"{{"exp":{}.9}}"#, NOW - 59), "acme/app"),
        (format!(r#"{{"exp":"{}"}}"#, NOW + 300), "its claim exp is no time"),
        (r#"{"exp":-1}"#.to_owned(), "its claim exp is no time"),
        (r#"{"exp":1e300}"#.to_owned(), "its claim exp is no time"),
        (r#"{"exp":18446744073709551615}"#.to_owned(), "its claim exp is no time"),
        (r#"{"exp":null}"#.to_owned(), "it does not say when it expires (exp)"),
        (format!(r#"{{"nbf":{}}}"#, NOW + 60), "acme/app"),
        (format!(r#"{{"nbf":{}}}"#, NOW + 61), "it is not valid yet, but in 1m (nbf)"),
        (r#"{"nbf":"soon"}"#.to_owned(), "its claim nbf is no time"),
        (format!(r#"{{"iat":{}}}"#, NOW + 60), "acme/app"),
        (format!(r#"{{"iat":{}}}"#, NOW + 61), "it is not valid yet, but in 1m (iat)"),
        (r#"{"iat":true}"#.to_owned(), "its claim iat is no time"),
        // Kubernetes and others leave one of them out.
        (r#"{"nbf":null,"iat":null}"#.to_owned(), "acme/app"),
    ] {
        assert_eq!(judged(&rule, &job(&changes)), expected, "{changes}");
    }
}

#[test]
fn the_first_rule_of_an_issuer_that_fits_counts_and_others_speak_for_other_issuers_only() {
    let all = [
        config("https://gitlab.example", &[("sub", "**")], "gitlab:{sub}"),
        IssuerConfig { audience: "other.example".into(), ..config(GITHUB, &[("sub", "**")], "{sub}") },
        config(GITHUB, &[("repository", "acme/infra")], "infra-{run_attempt}"),
        config(GITHUB, &[("repository", "acme/*"), ("run_attempt", "1")], "acme:{repository}"),
    ];
    for (changes, expected) in [
        ("{}", "acme:acme/app"),
        (r#"{"repository":"acme/infra"}"#, "infra-1"),
        (r#"{"repository":"acme/infra","run_attempt":2}"#, "infra-2"),
        (r#"{"repository":"acme/app","run_attempt":2}"#, "its claim run_attempt does not match the rule"),
        (r#"{"repository":"evil/app"}"#, "its claim repository does not match the rule"),
        (r#"{"aud":"other.example"}"#, "repo:acme/app:ref:refs/heads/main"),
        (r#"{"aud":"third.example"}"#, "its audience (aud) is not proxy.example.com"),
    ] {
        assert_eq!(judged(&all, &job(changes)), expected, "{changes}");
    }
}

#[test]
fn a_pod_is_named_by_its_service_account() {
    const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
    let rule = [config(CLUSTER, &[("sub", "system:serviceaccount:ci:*")], "{sub}")];
    let pod = |sub: &str| {
        let inner = serde_json::json!({ "namespace": "ci", "serviceaccount": { "name": "builder" } });
        let claims = serde_json::json!({
            "iss": CLUSTER, "aud": ["proxy.example.com"], "sub": sub, "kubernetes.io": inner,
            "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 3600, "jti": "0",
        });
        judged(&rule, &claims.to_string())
    };
    assert_eq!(pod("system:serviceaccount:ci:builder"), "system:serviceaccount:ci:builder");
    assert_eq!(pod("system:serviceaccount:default:builder"), "its claim sub does not match the rule");
}

#[test]
fn every_part_of_a_rule_is_in_its_fingerprint() {
    let rule = config(GITHUB, &[("repository_owner", "acme")], "{repository}");
    let changed = [
        IssuerConfig { url: "https://i.test".into(), ..rule.clone() },
        IssuerConfig { audience: "other".into(), ..rule.clone() },
        IssuerConfig { claims: BTreeMap::from([("repository_owner".into(), "evil".into())]), ..rule.clone() },
        IssuerConfig { claims: BTreeMap::from([("actor".into(), "acme".into())]), ..rule.clone() },
        IssuerConfig { name: "{sub}".into(), ..rule.clone() },
        IssuerConfig { allow: vec!["ghcr.io/acme/app".into()], ..rule.clone() },
        IssuerConfig { allow: vec!["ghcr.io/acme/**".into(), "quay.io/acme/**".into()], ..rule.clone() },
        IssuerConfig { jwks_file: Some("keys.json".into()), ..rule.clone() },
    ];
    let mark = |config: &IssuerConfig| rules(std::slice::from_ref(config)).remove(0).mark.clone();
    assert_eq!(mark(&rule), mark(&rule.clone()));
    for other in changed {
        assert_ne!(mark(&rule), mark(&other), "{other:?}");
    }
}
