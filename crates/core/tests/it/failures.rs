//! Failing well: what happens when a registry does not answer, or answers nonsense.

mod outages;
mod told;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Response};
use registry_proxy_core::platform::{Outgoing, Transport, TransportError};
use registry_proxy_core::testing::{Answer, Fault, Gate, Registry};
use registry_proxy_core::{Body, Cx, Proxy};

use crate::fixture::{Call, Fixture, OCI_MANIFEST, ORIGIN, Setup, manifest_of, noise, upstream};

const V1: &str = "/v2/a/b/manifests/v1";

#[tokio::test(start_paused = true)]
async fn trouble_of_an_upstream_is_504_in_json() {
    let html = Answer::new(502)
        .header("content-type", "text/html")
        .body("<html>Bad gateway at origin.up.example.com</html>");
    for fault in [
        Fault::Refuse,
        Fault::Drop,
        Fault::Silence,
        Fault::Say(html),
        Fault::Say(Answer::new(500)),
        Fault::Say(Answer::new(503).header("retry-after", "999")),
        Fault::Say(Answer::new(204)),
        Fault::Say(Answer::new(299).body("what")),
    ] {
        let (lab, _, blob) = Fixture::stocked("");
        lab.net.fault("*", "/v2/", 99, fault);
        for path in [V1, &format!("/v2/a/b/blobs/{blob}"), "/v2/a/b/tags/list"] {
            let seen = lab.get(path).await;
            assert!(seen.is(504, "UNAVAILABLE"), "{path} {seen:?}");
            assert!(!String::from_utf8_lossy(&seen.body).contains("up.example.com"), "{seen:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_registry_is_given_up_within_the_deadlines() {
    for (text, seconds) in
        [("", 10), ("[timeouts]\nfirst_byte='4s'\nhead='6s'", 4), ("[timeouts]\nfirst_byte='60s'\nhead='6s'", 6)]
    {
        let (lab, _, _) = Fixture::stocked(text);
        lab.net.fault("*", "", 99, Fault::Silence);
        let begun = lab.now();
        assert!(lab.get(V1).await.is(504, "UNAVAILABLE"));
        assert_eq!(lab.now().since(begun), Duration::from_secs(seconds), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_begins_later_than_the_head_deadline_however_many_steps_are_slow() {
    let (lab, _, _) = Fixture::stocked("");
    let lab = lab.with_tokens();
    lab.net.fault("*", "", 99, Fault::Late(Duration::from_secs(9)));
    let begun = lab.now();
    assert!(lab.get(V1).await.is(504, "UNAVAILABLE"));
    assert_eq!(lab.now().since(begun), Duration::from_secs(25));
}

#[tokio::test(start_paused = true)]
async fn starting_and_the_ping_need_no_upstream() {
    let lab = Fixture::new("");
    lab.net.fault("*", "", 99, Fault::Silence);
    let begun = lab.now();
    assert_eq!(lab.get("/v2/").await.status, 200);
    assert_eq!(lab.get("/v2").await.status, 200);
    assert_eq!(lab.now().since(begun), Duration::ZERO);
    assert!(lab.net.log().is_empty());
}

/// Two addresses of one registry.
fn with_two_addresses() -> Fixture {
    let lab = Fixture::new(&format!(
        "[[upstream]]\nname='reg.example'\nurls=['{ORIGIN}','https://second.up.example.com']\ndefault=true"
    ));
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.serve("https://second.up.example.com", lab.registry.clone());
    lab
}

#[tokio::test(start_paused = true)]
async fn the_second_address_answers_where_the_first_does_not() {
    for fault in [Fault::Refuse, Fault::Drop, Fault::Silence, Fault::Say(Answer::new(503))] {
        let lab = with_two_addresses();
        lab.net.fault("*", ORIGIN, 99, fault);
        assert_eq!(lab.get(V1).await.status, 200);
        assert_eq!((lab.net.sent("*", ORIGIN).len(), lab.net.sent("*", "second").len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_cannot_be_reached_is_left_alone_and_then_tried_by_one() {
    let lab = with_two_addresses();
    lab.net.fault("*", ORIGIN, 2, Fault::Refuse);
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.get(V1).await.status, 200);
    lab.pause(Duration::from_millis(499)).await;
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.net.sent("*", ORIGIN).len(), 1, "left alone for half a second");
    lab.pause(Duration::from_millis(1)).await;
    let both = futures_util::future::join_all((0..20).map(|_| async { lab.get(V1).await })).await;
    assert!(both.iter().all(|seen| seen.status == 200));
    assert_eq!(lab.net.sent("*", ORIGIN).len(), 2, "one probe");
    lab.wait(11).await;
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.net.sent("*", ORIGIN).len(), 4, "and all again, once it answers");
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_at_the_first_address_is_not_looked_for_at_the_second() {
    let lab = with_two_addresses();
    assert_eq!(lab.get("/v2/a/b/manifests/v9").await.status, 404);
    assert!(lab.net.sent("*", "second").is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_all_addresses_are_down_the_answer_is_quick() {
    let lab = with_two_addresses();
    lab.net.fault("*", "", 99, Fault::Refuse);
    assert!(lab.get(V1).await.is(504, "UNAVAILABLE"));
    let begun = lab.now();
    let sent = lab.net.log().len();
    assert!(lab.get(V1).await.is(504, "UNAVAILABLE"));
    assert!(lab.now().since(begun) < Duration::from_millis(50));
    assert_eq!(lab.net.log().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn one_error_of_a_server_does_not_rest_its_address() {
    let (lab, _, _) = Fixture::stocked("");
    lab.net.fault("*", "", 1, Fault::Say(Answer::new(500)));
    assert_eq!(lab.get(V1).await.status, 504);
    assert_eq!(lab.get(V1).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_429_stays_429_with_a_time_to_wait_that_clients_understand() {
    for (said, expected) in [
        (Some("30"), "30"),
        (Some("99999"), "60"),
        (Some("soon"), "5"),
        (None, "5"),
        (Some("Tue, 14 Nov 2023 22:13:40 GMT"), "20"),
    ] {
        let (lab, _, _) = Fixture::stocked("");
        let mut answer = Answer::new(429).header("content-type", "text/plain").body("You have reached your limit");
        if let Some(said) = said {
            answer = answer.header("retry-after", said);
        }
        lab.net.fault("*", "/manifests/", 99, Fault::Say(answer));
        let seen = lab.get(V1).await;
        assert!(seen.is(429, "TOOMANYREQUESTS"), "{seen:?}");
        assert_eq!(seen.header("retry-after"), expected, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_that_is_over_soon_is_waited_for_once() {
    let (lab, _, _) = Fixture::stocked("");
    lab.net.fault("*", "/manifests/", 1, Fault::Say(Answer::new(429).header("retry-after", "2")));
    assert_eq!(lab.get(V1).await.status, 200);
    lab.net.fault("*", "/manifests/", 9, Fault::Say(Answer::new(429).header("retry-after", "2")));
    assert_eq!(lab.get(V1).await.status, 429);
    assert_eq!(lab.net.log().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_429_is_remembered_for_the_same_credential_and_for_manifests_alone() {
    let (lab, _, blob) = Fixture::stocked("");
    lab.net.fault("*", "/manifests/", 1, Fault::Say(Answer::new(429).header("retry-after", "30")));
    assert_eq!(lab.get(V1).await.status, 429);
    lab.wait(10).await;
    let seen = lab.get(V1).await;
    assert_eq!((seen.status.as_u16(), seen.header("retry-after")), (429, "20"));
    assert_eq!(lab.net.log().len(), 1, "not asked again");
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{blob}")).await.status, 200);
    lab.wait(21).await;
    assert_eq!(lab.get(V1).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_429_counts_for_as_long_as_the_registry_says_and_for_an_hour_at_most() {
    for (said, counts) in [("600", 600), ("99999", 3600)] {
        let (lab, _, _) = Fixture::stocked("");
        lab.net.fault("*", "/manifests/", 1, Fault::Say(Answer::new(429).header("retry-after", said)));
        assert_eq!(lab.get(V1).await.status, 429);
        // Three seconds before its end it would be waited for.
        lab.wait(counts - 4).await;
        let seen = lab.get(V1).await;
        assert_eq!((seen.status.as_u16(), seen.header("retry-after")), (429, "4"), "{said}");
        assert_eq!(lab.net.log().len(), 1, "not asked again: {said}");
        lab.wait(4).await;
        assert_eq!(lab.get(V1).await.status, 200, "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_of_one_account_does_not_hold_up_another() {
    let keys = "username='one'\npassword='1'\ncredentials=[{prefix='a/',username='two',password='2'}]";
    let lab = Fixture::new(&upstream(keys));
    lab.registry.guard(Gate::Basic);
    for (name, password, repository) in [("one", "1", "c/d"), ("two", "2", "a/b")] {
        lab.registry.add_user(name, password);
        lab.registry.put_manifest(repository, "v1", OCI_MANIFEST, manifest_of(10));
    }
    assert_eq!(lab.get(V1).await.status, 200);
    lab.net.fault("*", "/v2/a/b/", 1, Fault::Say(Answer::new(429).header("retry-after", "30")));
    assert_eq!(lab.get(V1).await.status, 429);
    assert_eq!(lab.get("/v2/c/d/manifests/v1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn other_refusals_of_an_upstream_keep_their_status_and_code() {
    let (lab, _, blob) = Fixture::stocked("");
    let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#;
    lab.net.fault("*", "/tags/", 1, Fault::Say(Answer::new(404).body(body)));
    assert!(lab.get("/v2/a/b/tags/list").await.is(404, "NAME_UNKNOWN"));
    lab.net.fault("*", "/blobs/", 1, Fault::Say(Answer::new(451).body(r#"{"errors":[{"code":"DENIED"}]}"#)));
    assert!(lab.get(&format!("/v2/a/b/blobs/{blob}")).await.is(451, "DENIED"));
    lab.net.fault("*", "/manifests/", 1, Fault::Say(Answer::new(404).body(body)));
    assert_eq!(lab.get(V1).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_missing_repository_says_so_for_manifests_and_blobs_too() {
    let (lab, _, blob) = Fixture::stocked("");
    let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#;
    lab.net.fault("*", "/v2/", 9, Fault::Say(Answer::new(404).body(body)));
    for path in [V1, &format!("/v2/a/b/blobs/{blob}")] {
        assert!(
            lab.get(path).await.is(404, "NAME_UNKNOWN"),
            "P-22: oras and containers/image decide by it: {path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn hostile_text_of_an_upstream_does_not_blow_up_an_error() {
    let (lab, _, _) = Fixture::stocked("");
    let body = serde_json::json!({ "errors": [{ "code": "X\r\nY", "message": "\u{1}<script>é".repeat(1000) }] });
    lab.net.fault("*", "/manifests/", 1, Fault::Say(Answer::new(403).body(body.to_string())));
    let seen = lab.get(V1).await;
    assert!(seen.is(403, "DENIED") && !seen.body.contains(&1));
    lab.net.fault("*", "/manifests/", 1, Fault::Say(Answer::new(403).body("x".repeat(1 << 20))));
    assert!(lab.get(V1).await.is(403, "DENIED"));
}

#[tokio::test(start_paused = true)]
async fn an_error_whose_body_never_comes_is_told_by_its_status() {
    let lab = Fixture::new("");
    lab.net.serve("https://origin.up.example.com/v2/c/", |_: &registry_proxy_core::testing::Sent| {
        Answer::new(403).body("{}")
    });
    lab.net.fault("*", "/v2/c/", 1, Fault::StallAfter(0, Duration::from_hours(1)));
    let begun = lab.now();
    assert!(lab.get("/v2/c/manifests/v1").await.is(403, "DENIED"));
    assert!(lab.now().since(begun) <= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_been_here_is_a_loop() {
    let (lab, _, _) = Fixture::stocked("");
    assert_eq!(lab.get(V1).await.status, 200);
    let via = lab.net.log()[0].header("via").to_owned();
    assert!(via.starts_with("1.1 registry-proxy-"), "{via}");
    let seen = lab.get(V1).header("via", &format!("1.1 other, {via}")).await;
    assert!(seen.is(504, "UNAVAILABLE"));
    assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"loop\"");
    assert_eq!(lab.net.log().len(), 1);
}

/// Sends what is asked of the proxy's address to the proxy.
struct Behind(Arc<Proxy>);

#[async_trait]
impl Transport for Behind {
    async fn send(&self, outgoing: Outgoing) -> Result<Response<Body>, TransportError> {
        let cx = Cx { peer: None, introduced: None, is_tls: true, id: 0 };
        Ok(Box::pin(self.0.handle(&cx, outgoing.request)).await)
    }
}

#[tokio::test(start_paused = true)]
async fn one_proxy_may_stand_behind_another() {
    let lab = Fixture::new("signing_key_file='far'");
    let blob = lab.registry.put_blob("a/b", noise(5000));
    let digest = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    let near = lab.beside("signing_key_file='near'", Arc::new(Behind(Arc::clone(&lab.proxy))), 9);
    for path in [format!("/v2/a/b/blobs/{blob}"), format!("/v2/a/b/manifests/{digest}"), V1.to_owned()] {
        assert_eq!(Call::new(&near, Method::GET, &path).await.status, 200, "{path}");
        assert_eq!(Call::new(&near, Method::HEAD, &path).await.status, 200, "{path}");
    }
    let call = Call::new(&near, Method::GET, &format!("/v2/a/b/blobs/{blob}")).header("range", "bytes=-10");
    assert_eq!(call.await.body, noise(5000).slice(4990..));
    assert_eq!(lab.net.log()[0].header("via").split(", ").count(), 2);
    let again = lab.beside("signing_key_file='far'", Arc::new(Behind(Arc::clone(&lab.proxy))), 9);
    assert_eq!(Call::new(&again, Method::GET, V1).await.status, 504, "the same key is the same deployment");
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_at_once_than_the_limit_and_places_become_free() {
    let lab = Fixture::new("[limits]\nwaiting=3");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.fault("*", "", 99, Fault::Late(Duration::from_secs(5)));
    let all = futures_util::future::join_all((0..5).map(|_| async { lab.get(V1).await })).await;
    let refused: Vec<_> = all.iter().filter(|seen| seen.status == 429).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|seen| seen.is(429, "TOOMANYREQUESTS") && seen.header("retry-after") == "1"));
    assert_eq!(lab.get(V1).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_leaves_its_place() {
    let lab = Fixture::new("[limits]\nwaiting=1");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.fault("*", "", 1, Fault::Silence);
    let gone = tokio::time::timeout(Duration::from_secs(1), async { lab.get(V1).await }).await;
    assert!(gone.is_err());
    assert_eq!(lab.get(V1).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_request_reaches_the_upstream_but_what_it_needs() {
    for isolated in [false, true] {
        let lab = Fixture::set_up(&Setup { isolated, ..Setup::default() });
        lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
        let blob = lab.registry.put_blob("a/b", noise(10));
        for path in [V1, &format!("/v2/a/b/blobs/{blob}"), "/v2/a/b/tags/list"] {
            let mut call = lab.get(path);
            for (name, value) in [
                ("authorization", "Basic aHVudGVyOjI="),
                ("cookie", "session=1"),
                ("forwarded", "for=1.2.3.4"),
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-host", "evil.example"),
                ("x-real-ip", "1.2.3.4"),
                ("x-fc-request-id", "1"),
                ("x-fc-access-key-secret", "key"),
                ("cf-connecting-ip", "1.2.3.4"),
                ("accept-encoding", "gzip"),
                ("user-agent", "docker/24"),
                ("connection", "upgrade"),
                ("te", "trailers"),
                ("origin", "https://evil.example"),
                ("x-meta-source-client", "x"),
            ] {
                call = call.header(name, value);
            }
            assert_eq!(call.await.status, 200, "{path}");
        }
        for sent in lab.net.log() {
            let mut names: Vec<&str> = sent.headers.keys().map(http::HeaderName::as_str).collect();
            names.sort_unstable();
            names.retain(|name| *name != "accept");
            assert_eq!(names, ["accept-encoding", "user-agent", "via"], "{}", sent.url);
            assert_eq!(sent.header("accept-encoding"), "identity");
            assert!(sent.header("user-agent").starts_with("registry-proxy/"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_configured_registries_are_ever_dialled() {
    let lab = Fixture::new("");
    lab.net.serve("https://evil.example", Registry::default());
    for path in [
        "/v2/evil.example/a/manifests/v1",
        "/evil.example/v2/a/manifests/v1",
        "/v2/a/b/manifests/v1?ns=evil.example",
        "/v2/localhost/a/manifests/v1",
        "/v2/evil.example:5000/a/b/manifests/v1",
    ] {
        assert_eq!(lab.get(path).header("host", "evil.example").await.status, 404, "{path}");
    }
    assert!(lab.net.log().is_empty());
}
