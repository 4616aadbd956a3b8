//! What those are told who pull while a registry fails, and what the log is.

use registry_proxy_core::platform::Unconnected;
use registry_proxy_core::testing::{Answer, Fault};

use super::V1;
use crate::fixture::{Fixture, Lines, REALM, Seen, image};

fn message(seen: &Seen) -> String {
    seen.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned()
}

const REFUSED: Fault = Fault::Unconnected(Unconnected::Refused);

#[tokio::test(start_paused = true)]
async fn a_504_names_the_registry_and_the_kind_of_failure_and_no_address() {
    for (fault, kind) in [
        (Fault::Unconnected(Unconnected::NotResolved), "its host name was not resolved"),
        (REFUSED, "the connection was refused"),
        (Fault::Unconnected(Unconnected::TimedOut), "the connection timed out"),
        (Fault::Unconnected(Unconnected::Certificate), "its certificate was not accepted"),
        (Fault::Unconnected(Unconnected::Proxy), "the forward proxy gave no connection"),
        (Fault::Unconnected(Unconnected::Unknown), "no connection"),
        (Fault::Silence, "no answer in time"),
        (Fault::Drop, "the connection broke"),
        (Fault::Say(Answer::new(502).body("at 10.0.0.5")), "it answered 502 Bad Gateway"),
    ] {
        let (lab, _, blob) = Fixture::stocked("");
        lab.net.fault("*", "", 99, fault);
        for path in [V1, &format!("/v2/a/b/blobs/{blob}"), "/v2/a/b/tags/list"] {
            let seen = lab.get(path).await;
            let message = message(&seen);
            let first = format!("the registry reg.example gave no usable answer: {kind}");
            assert!(seen.is(504, "UNAVAILABLE") && message.starts_with(&first), "{path}: {message}");
            let body = String::from_utf8_lossy(&seen.body);
            assert!(!body.contains("up.example.com") && !body.contains("10.0.0.5"), "{body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_registry_is_left_alone_is_told_what_it_failed_by() {
    let (lab, _, _) = Fixture::stocked("");
    lab.net.fault("*", "", 1, REFUSED);
    let told = "the registry reg.example gave no usable answer: the connection was refused";
    assert_eq!(message(&lab.get(V1).await), told);
    let seen = lab.get(V1).await;
    assert_eq!(message(&seen), format!("{told} a moment ago; it is not asked again for some seconds"));
    assert_eq!(seen.header("x-registry-proxy"), "failed; why=\"upstream left alone after a failure\"");
    assert_eq!(lab.net.log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_nobody_can_check_says_why() {
    let lab = Fixture::new("[clients]\nauth='upstream'").with_tokens();
    lab.registry.add_user("alice", "wonder");
    lab.net.fault("*", REALM, 99, Fault::Unconnected(Unconnected::Certificate));
    let seen = lab.get("/token?scope=repository:a/b:pull").basic("alice", "wonder").await;
    let told = "the registry could not check the login: its certificate was not accepted";
    assert_eq!((seen.status.as_u16(), &*message(&seen)), (504, told));
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_404_tells_who_says_so() {
    let mut lab = Fixture::caching("");
    let (_, layer) = image(&lab, "a/b", "1");
    let missing = layer.replace(&layer[7..12], "00000");
    let of = |seen: &Seen| (seen.code(), seen.header("x-registry-proxy").to_owned(), message(seen));
    for (path, code, what) in [
        ("/v2/a/b/manifests/v9".to_owned(), "MANIFEST_UNKNOWN", "manifest"),
        (format!("/v2/a/b/blobs/{missing}"), "BLOB_UNKNOWN", "blob"),
    ] {
        for (why, words) in [
            ("not found at the upstream", "the registry does not have it"),
            ("not found a moment ago", "the registry did not have it a moment ago"),
        ] {
            let expected =
                (code.to_owned(), format!("refused; why=\"{why}\""), format!("{what} unknown: {words}"));
            assert_eq!(of(&lab.get(&path).await), expected);
        }
    }
    lab.restart("[cache]\noffline=true");
    for path in
        ["/v2/a/b/manifests/v9".to_owned(), format!("/v2/a/b/blobs/{missing}"), "/v2/a/b/tags/list".to_owned()]
    {
        let (_, why, words) = of(&lab.get(&path).await);
        assert_eq!(why, "refused; why=\"offline and not here\"", "{path}");
        assert!(words.ends_with("it is not cached, and this proxy asks no registry (cache.offline)"), "{words}");
    }
    let seen = lab.get("/v2/other.example/b/manifests/v1").await;
    assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"registry not served\"");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_whose_connections_break_has_one_line_with_a_count() {
    let lines = Lines::of_warnings();
    let (lab, _, blob) = Fixture::stocked("");
    lab.net.fault("*", "", usize::MAX, Fault::Drop);
    let blob = format!("/v2/a/b/blobs/{blob}");
    for _ in 0..100 {
        assert_eq!((lab.get(V1).await.status.as_u16(), lab.get(&blob).await.status.as_u16()), (504, 504));
    }
    let first = lines.only();
    assert_eq!((first["message"].as_str(), first["repeated"].as_str()), ("upstream gave no answer", "0"));
    lab.wait(30).await;
    lab.get(V1).await;
    let asked = lab.net.log().len();
    // The first has its own line, and the last is one of two tries.
    assert_eq!(lines.only()["repeated"], (asked - 3).to_string());
    // And what came last is told once the upstream answers, though nothing more of it comes.
    lab.wait(30).await;
    lab.net.heal();
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lines.only()["repeated"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_504_says_when_to_come_again() {
    for fault in [REFUSED, Fault::Drop, Fault::Silence, Fault::Say(Answer::new(502))] {
        let (lab, _, _) = Fixture::stocked("");
        lab.net.fault("*", "", 99, fault.clone());
        assert_eq!(lab.get(V1).await.header("retry-after"), "1");
    }
    // While it is left alone, for as long as it is.
    let (lab, _, _) = Fixture::stocked("");
    lab.net.fault("*", "", 99, Fault::Silence);
    for expected in ["1", "10"] {
        assert_eq!(lab.get(V1).await.header("retry-after"), expected);
    }
    lab.wait(4).await;
    assert_eq!(lab.get(V1).await.header("retry-after"), "6");
    // What it says is no matter of time.
    let (lab, digest, _) = Fixture::stocked("");
    lab.net.fault("*", "", 99, Fault::Say(Answer::new(200).body("<html>")));
    let seen = lab.get(&format!("/v2/a/b/manifests/{digest}")).await;
    assert_eq!((seen.status.as_u16(), seen.header("retry-after")), (504, ""));
}
