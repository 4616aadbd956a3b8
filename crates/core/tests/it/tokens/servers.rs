//! Token servers as they are: what their answers leave out, how they redirect, and where a challenge stands.

use http::HeaderValue;
use registry_proxy_core::testing::{Answer, Fault, Sent, Server as _};
use serde_json::{Value, json};

use super::{ACCOUNT, V1, carries_password, challenge, with_account};
use crate::fixture::{Fixture, Lines, OCI_MANIFEST, ORIGIN, REALM, manifest_of, upstream};

/// With tokens, and what the token server says changed.
fn with_answers(status: u16, change: impl Fn(&str) -> Value + Send + Sync + 'static) -> Fixture {
    let lab = Fixture::stocked("").0.with_tokens();
    let change = move |answer: &mut Answer| {
        let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
        *answer = Answer::new(status).body(change(said["token"].as_str().expect("a token")).to_string());
    };
    lab.net.fault("*", REALM, 99, Fault::change(change));
    lab
}

/// Removes the challenge of a 401.
fn say_nothing(answer: &mut Answer) {
    answer.headers.remove("www-authenticate");
}

#[tokio::test(start_paused = true)]
async fn an_empty_token_beside_an_access_token_is_none() {
    let lab = with_answers(200, |token| json!({ "token": "", "access_token": token }));
    assert_eq!(lab.get(V1).await.status, 200);
    let lab = with_answers(200, |token| json!({ "token": null, "access_token": token }));
    assert_eq!(lab.get(V1).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_token_may_be_a_text_or_a_fraction_and_the_status_201() {
    for (status, life, fetches) in [
        (200, json!("300"), 1),
        (200, json!(300.5), 1),
        (200, json!("300.0"), 1),
        (201, json!(300), 1),
        // What says nothing is a minute.
        (200, json!("soon"), 2),
        (200, json!(-300), 2),
        (200, json!({}), 2),
        (200, Value::Null, 2),
    ] {
        let said = life.clone();
        let lab = with_answers(status, move |token| json!({ "token": token, "expires_in": said }));
        for _ in 0..2 {
            assert_eq!(lab.get(V1).await.status, 200, "{status} {life}");
            lab.wait(200).await;
        }
        assert_eq!(lab.net.sent("*", REALM).len(), fetches, "{status} {life}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_realm_that_redirects_on_its_own_origin_is_followed_with_the_login() {
    for status in [301, 302, 303, 307, 308] {
        let lab = with_account("");
        let there = format!("{REALM}/v2?service=up&scope=repository:a/b:pull");
        lab.net.fault("*", REALM, 1, Fault::Say(Answer::new(status).header("location", &there)));
        assert_eq!(lab.get(V1).await.status, 200, "{status}");
        let asked = lab.net.sent("*", REALM);
        assert_eq!((asked.len(), &asked[1].url), (2, &there), "{status}");
        assert!(asked.iter().all(carries_password), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_realm_that_redirects_elsewhere_is_followed_without_the_login() {
    for account in [ACCOUNT, "username='<token>'\npassword='s3cret'"] {
        for is_back in [false, true] {
            let lab = Fixture::new(&upstream(account)).with_tokens();
            lab.registry.add_user("robot", "s3cret");
            lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
            let there = "https://login.elsewhere.example/t?service=up&scope=repository:a/b:pull";
            let (registry, back) = (lab.registry.clone(), format!("{REALM}?back=1&scope=repository:a/b:pull"));
            lab.net.serve("https://login.elsewhere.example/", move |sent: &Sent| {
                if is_back {
                    return Answer::new(307).header("location", &back);
                }
                registry.answer(&Sent {
                    url: sent.url.replace("https://login.elsewhere.example/t", REALM),
                    ..sent.clone()
                })
            });
            lab.net.fault("*", REALM, 1, Fault::Say(Answer::new(307).header("location", there)));
            assert_eq!(lab.get(V1).await.status, 200, "{account}");
            let with: Vec<String> =
                lab.net.log().iter().filter(|sent| carries_password(sent)).map(|sent| sent.url.clone()).collect();
            assert!(with.len() == 1 && with[0].starts_with(REALM) && !with[0].contains("back"), "{with:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_realm_that_redirects_for_ever_or_where_we_do_not_go_is_a_failure() {
    for location in [REALM, "http://auth.up.example.com/token", "https://10.0.0.5/token", "ftp://x/"] {
        let lab = with_account("");
        lab.net.fault("*", REALM, 99, Fault::Say(Answer::new(307).header("location", location)));
        assert!(lab.get(V1).await.is(504, "UNAVAILABLE"), "{location}");
        assert!(lab.net.log().len() <= 12, "{location}: {:?}", lab.net.lines());
        assert!(lab.net.sent("*", "http://auth").is_empty() && lab.net.sent("*", "10.0.0.5").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_bare_401_to_a_remembered_token_is_asked_again_with_a_new_one() {
    let (lab, _, _) = Fixture::stocked("");
    let lab = lab.with_tokens();
    assert_eq!(lab.get(V1).await.status, 200);
    lab.registry.revoke_tokens();
    lab.net.forget();
    lab.net.fault("*", "/manifests/", 1, Fault::change(say_nothing));
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!((lab.net.sent("*", ORIGIN).len(), lab.net.sent("*", REALM).len()), (2, 1));
    lab.net.forget();
    lab.net.fault("*", "/manifests/", 99, Fault::Say(Answer::new(401)));
    assert_eq!(lab.get(V1).await.status, 403);
    assert_eq!((lab.net.sent("*", ORIGIN).len(), lab.net.sent("*", REALM).len()), (2, 1), "once, and no more");
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_only_the_ping_gives_is_asked_for_once() {
    for account in ["", ACCOUNT] {
        let lab = Fixture::new(&upstream(account)).with_tokens();
        lab.registry.add_user("robot", "s3cret");
        lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
        if !account.is_empty() {
            lab.registry.make_private("a/b", &["robot"]);
        }
        lab.net.fault("*", "/manifests/", 99, Fault::change(say_nothing));
        for _ in 0..2 {
            assert_eq!(lab.get(V1).await.status, 200, "{account}");
        }
        let pings = lab.net.log().iter().filter(|sent| sent.path() == "/v2/").count();
        assert_eq!((pings, lab.net.sent("*", "/manifests/").len()), (1, 3), "{:?}", lab.net.lines());
    }
    let lab = Fixture::new(&upstream(ACCOUNT)).with_tokens();
    lab.net.fault("*", "", 99, Fault::Say(Answer::new(401)));
    assert!(lab.get(V1).await.is(403, "DENIED"), "where the ping gives none either, that is all");
    assert_eq!(lab.net.log().len(), 2, "{:?}", lab.net.lines());
}

#[tokio::test(start_paused = true)]
async fn a_challenge_with_bytes_that_are_not_ascii_is_understood() {
    for description in ["Anmeldung erforderlich, bitte \u{e4}ndern".as_bytes(), b"caf\xe9"] {
        let (lab, _, _) = Fixture::stocked("");
        let lab = lab.with_tokens();
        let line = [
            br#"Bearer realm="https://auth.up.example.com/token",service="up",error_description=""#,
            description,
            b"\"",
        ];
        let line = HeaderValue::from_bytes(&line.concat()).expect("a header's value");
        let mut answer = challenge(&[]);
        answer.headers.insert("www-authenticate", line);
        lab.net.fault("*", ORIGIN, 1, Fault::Say(answer));
        assert_eq!(lab.get(V1).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_names_the_token_server_where_it_is_the_one_that_failed() {
    for fault in [
        Fault::Refuse,
        Fault::Drop,
        Fault::Silence,
        Fault::Say(Answer::new(500)),
        Fault::Say(Answer::new(200).body("<html>")),
        Fault::Say(Answer::new(307).header("location", "ftp://x/")),
    ] {
        let lines = Lines::of_warnings();
        let (lab, _, _) = Fixture::stocked("");
        let lab = lab.with_tokens();
        lab.net.fault("*", REALM, 99, fault);
        assert_eq!(lab.get(V1).await.status, 504);
        let line = lines.only();
        assert_eq!((line["upstream"].as_str(), line["realm"].as_str()), ("reg.example", REALM), "{line:?}");
    }
}
