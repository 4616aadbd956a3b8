//! What an outage costs after its first failure: whoever has failed is left alone, whether it is the registry itself,
//! its token server, or where its redirects lead.

use std::time::Duration;

use registry_proxy_core::testing::{Answer, Fault, Gate};

use super::{V1, with_two_addresses};
use crate::fixture::{Call, Fixture, ORIGIN, REALM, STORAGE, noise};

/// Asks twice: the first is given up after the deadline of a first byte, the second at once and without asking `host`.
async fn costs_its_deadline_once(lab: &Fixture, host: &str, ask: impl Fn() -> Call) {
    let begun = lab.now();
    assert!(ask().await.is(504, "UNAVAILABLE"), "{host}");
    assert_eq!(lab.now().since(begun), Duration::from_secs(10), "{host}");
    let (begun, sent) = (lab.now(), lab.net.sent("*", host).len());
    assert!(ask().await.is(504, "UNAVAILABLE"), "{host}");
    assert!(lab.now().since(begun) < Duration::from_millis(50), "{host}");
    assert_eq!(lab.net.sent("*", host).len(), sent, "{:?}", lab.net.lines());
    lab.net.heal();
    lab.wait(11).await;
    assert_eq!(ask().await.status, 200, "{host}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_token_server_costs_its_deadline_once() {
    // Everything, and the token server alone.
    for silent in ["", REALM] {
        let (lab, _, _) = Fixture::stocked("");
        let lab = lab.with_tokens();
        assert_eq!(lab.get(V1).await.status, 200);
        lab.wait(400).await;
        lab.net.fault("*", silent, 99, Fault::Silence);
        costs_its_deadline_once(&lab, "", || lab.get(V1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_server_of_two_addresses_costs_its_deadline_once() {
    let lab = with_two_addresses().with_tokens();
    assert_eq!(lab.get(V1).await.status, 200);
    lab.net.fault("*", ORIGIN, 1, Fault::Say(Answer::new(503)));
    assert_eq!(lab.get(V1).await.status, 200);
    lab.wait(400).await;
    lab.net.fault("*", "", 99, Fault::Silence);
    costs_its_deadline_once(&lab, "", || lab.get(V1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_storage_host_costs_its_deadline_once() {
    let (lab, _, blob) = Fixture::stocked("");
    lab.registry.redirect_blobs(STORAGE);
    lab.net.fault("*", STORAGE, 99, Fault::Silence);
    costs_its_deadline_once(&lab, STORAGE, || lab.get(&format!("/v2/a/b/blobs/{blob}"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_registry_costs_a_login_its_deadline_once() {
    for gate in [Gate::Bearer { realm: REALM.to_owned(), service: None }, Gate::Basic] {
        for is_known in [false, true] {
            let lab = Fixture::new("[clients]\nauth='upstream'");
            lab.registry.guard(gate.clone());
            lab.registry.add_user("alice", "wonder");
            if is_known {
                lab.login("alice", "wonder").await;
                lab.wait(400).await;
            }
            lab.net.fault("*", "", 99, Fault::Silence);
            let login = || lab.get("/token?scope=repository:a/b:pull").basic("alice", "wonder");
            costs_its_deadline_once(&lab, "", login).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_host_that_is_slow_with_one_blob_serves_the_others() {
    let (lab, _, slow) = Fixture::stocked("");
    let other = lab.registry.put_blob("a/b", noise(10));
    lab.registry.redirect_blobs(STORAGE);
    lab.net.fault("*", &format!("{STORAGE}/a/b/{slow}"), 1, Fault::Silence);
    let others = async {
        lab.wait(5).await;
        lab.get(&format!("/v2/a/b/blobs/{other}")).await
    };
    let (seen, other) =
        futures_util::future::join(async { lab.get(&format!("/v2/a/b/blobs/{slow}")).await }, others).await;
    assert_eq!((seen.status.as_u16(), other.status.as_u16()), (504, 200));
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{slow}")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_slow_question_does_not_rest_an_address_that_answers_others() {
    let (lab, _, blob) = Fixture::stocked("");
    lab.net.fault("*", "/tags/", 1, Fault::Silence);
    let slow = async { lab.get("/v2/a/b/tags/list").await };
    let others = async {
        lab.wait(5).await;
        lab.get(V1).await
    };
    let (slow, other) = futures_util::future::join(slow, others).await;
    assert_eq!((slow.status.as_u16(), other.status.as_u16()), (504, 200));
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{blob}")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn one_failed_connect_costs_half_a_second() {
    let (lab, _, _) = Fixture::stocked("");
    lab.net.fault("*", "", 1, Fault::Refuse);
    assert_eq!(lab.get(V1).await.status, 504);
    lab.pause(Duration::from_millis(490)).await;
    let seen = lab.get(V1).await;
    assert_eq!((seen.status.as_u16(), lab.net.log().len()), (504, 1), "it is left alone");
    lab.pause(Duration::from_millis(10)).await;
    assert_eq!(lab.get(V1).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_an_address_grows_to_timeouts_down_and_begins_anew_once_it_answers() {
    for (text, expected) in
        [("", &[0_u128, 5, 15, 35, 75, 155, 255, 355][..]), ("[timeouts]\ndown='1s'", &[0, 5, 15, 25, 35])]
    {
        let (lab, _, _) = Fixture::stocked(text);
        for _ in 0..2 {
            lab.net.forget();
            let last = *expected.last().unwrap_or(&0);
            lab.net.fault("*", "", 99, Fault::Refuse);
            let begun = lab.now();
            for _ in 0..=last {
                // Many at once are one failure.
                let all = futures_util::future::join_all((0..9).map(|_| async { lab.get(V1).await })).await;
                assert!(all.iter().all(|seen| seen.status == 504));
                lab.pause(Duration::from_millis(100)).await;
            }
            let mut at: Vec<u128> =
                lab.net.log().iter().map(|sent| sent.at.since(begun).as_millis() / 100).collect();
            // Before the first failure was known all of them went out.
            at.dedup();
            assert_eq!(at, expected, "{text}");
            assert!(lab.net.log().len() <= 9 + expected.len(), "one probe at a time: {:?}", lab.net.log().len());
            lab.net.heal();
            lab.wait(10).await;
            assert_eq!(lab.get(V1).await.status, 200);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_broke_goes_on_as_soon_as_its_address_may_be_asked() {
    let (lab, _, blob) = Fixture::stocked("");
    lab.net.fault("*", "/blobs/", 1, Fault::BreakAfter(1000));
    lab.net.fault("*", "/blobs/", 1, Fault::Refuse);
    let begun = lab.now();
    let seen = lab.get(&format!("/v2/a/b/blobs/{blob}")).await;
    assert!(seen.end.is_ok() && seen.body == noise(5000), "{:?}", seen.end);
    assert!(lab.now().since(begun) < Duration::from_secs(3), "{:?}", lab.now().since(begun));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_decides_nothing_leaves_the_address_to_the_next() {
    // Who tries goes away; or the connection breaks, twice, as it is tried again.
    for (fault, times, leaves) in [(Fault::Silence, 1, true), (Fault::Drop, 2, false)] {
        for through in [ORIGIN, REALM] {
            let (lab, _, _) = Fixture::stocked("");
            let lab = if through == REALM { lab.with_tokens() } else { lab };
            lab.net.fault("*", through, 1, Fault::Refuse);
            assert_eq!(lab.get(V1).await.status, 504);
            lab.pause(Duration::from_millis(500)).await;
            lab.net.fault("*", through, times, fault.clone());
            let probe = tokio::time::timeout(Duration::from_secs(1), async { lab.get(V1).await });
            assert_eq!(probe.await.is_err(), leaves, "{through}");
            lab.net.heal();
            assert_eq!(lab.get(V1).await.status, 200, "{through}, {leaves}");
        }
    }
}
