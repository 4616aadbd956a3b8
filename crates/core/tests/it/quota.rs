//! Quotas: who is refused, for how long, and what it costs the store.

mod fetched;
mod sharing;

use std::sync::Arc;

use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::Profile;

use crate::clock::TokioClock;
use crate::fixture::{Call, Fixture, ORIGIN, STORAGE, Seen, Setup, noise};

/// Seconds from the beginning of a test to the end of its hour, and of its day (22:13:20 UTC).
const TO_NEXT_HOUR: u64 = 2800;
const TO_NEXT_DAY: u64 = 6400;

/// A proxy with these limits before a registry with `a/b:v1` and a blob of 5000 bytes: fixture, blob's path.
fn limited(limits: &str) -> (Fixture, String) {
    let (lab, _, blob) = Fixture::stocked(limits);
    (lab, format!("/v2/a/b/blobs/{blob}"))
}

async fn tag(lab: &Fixture, peer: &str) -> u16 {
    lab.get("/v2/a/b/manifests/v1").from(peer).await.status.as_u16()
}

fn message(seen: &Seen) -> String {
    seen.json()["errors"][0]["message"].as_str().expect("a message").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_used_up_its_hour_is_told_so_and_until_when() {
    let (lab, _) = limited("[quota.client]\nrequests_per_hour=3");
    for _ in 0..3 {
        assert_eq!(tag(&lab, "192.0.2.1").await, 200);
    }
    let seen = lab.get("/v2/a/b/manifests/v1").from("192.0.2.1").await;
    assert!(seen.is(429, "TOOMANYREQUESTS"), "{seen:?}");
    assert_eq!(seen.header("retry-after"), TO_NEXT_HOUR.to_string());
    assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"quota.client reached\"");
    assert_eq!(
        message(&seen),
        "this client has used up the requests of this hour (quota.client.requests_per_hour); the next hour begins at 23:00 UTC, in 2800 seconds"
    );
    assert_eq!(tag(&lab, "192.0.2.2").await, 200, "others have their own");
    lab.wait(TO_NEXT_HOUR - 1).await;
    let seen = lab.get("/v2/a/b/manifests/v1").from("192.0.2.1").await;
    assert_eq!((seen.status.as_u16(), seen.header("retry-after")), (429, "1"));
    lab.wait(1).await;
    for expected in [200, 200, 200, 429] {
        assert_eq!(tag(&lab, "192.0.2.1").await, expected, "the next hour is like the first");
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_that_is_used_up_does_not_begin_anew_with_the_hour() {
    let (lab, _) = limited("[quota.total]\nrequests_per_day=4\nrequests_per_hour=3");
    for expected in [200, 200, 200, 429] {
        assert_eq!(tag(&lab, "192.0.2.1").await, expected);
    }
    lab.wait(TO_NEXT_HOUR).await;
    for expected in [200, 429] {
        assert_eq!(tag(&lab, "192.0.2.2").await, expected);
    }
    let seen = lab.get("/v2/a/b/manifests/v1").await;
    assert_eq!(seen.header("retry-after"), (TO_NEXT_DAY - TO_NEXT_HOUR).to_string());
    assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"quota.total reached\"");
    assert!(message(&seen).contains("quota.total.requests_per_day"), "{seen:?}");
    assert!(message(&seen).contains("00:00 UTC"), "{seen:?}");
    lab.wait(TO_NEXT_DAY - TO_NEXT_HOUR).await;
    for expected in [200, 200, 200, 429] {
        assert_eq!(tag(&lab, "192.0.2.1").await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn all_addresses_of_a_64_are_one_client() {
    let (lab, _) = limited("[quota.client]\nrequests_per_hour=2");
    assert_eq!(tag(&lab, "2001:db8:1:2::1").await, 200);
    assert_eq!(tag(&lab, "2001:db8:1:2:3:4:5:6").await, 200);
    assert_eq!(tag(&lab, "2001:db8:1:2:ffff::").await, 429);
    assert_eq!(tag(&lab, "2001:db8:1:3::1").await, 200);
}

#[tokio::test(start_paused = true)]
async fn only_a_trusted_proxy_says_who_the_client_is() {
    let (lab, _) = limited("trusted_proxies=['10.0.0.0/8']\n[quota.client]\nrequests_per_hour=1");
    let ask = async |peer: &str, client: &str| {
        lab.get("/v2/a/b/manifests/v1").from(peer).header("x-forwarded-for", client).await.status.as_u16()
    };
    assert_eq!(ask("10.0.0.1", "192.0.2.1").await, 200);
    assert_eq!(ask("10.0.0.2", "192.0.2.2").await, 200);
    assert_eq!(ask("10.0.0.2", "192.0.2.1").await, 429, "by whichever way");
    assert_eq!(ask("10.0.0.1", "192.0.2.99, 192.0.2.1").await, 429, "what the client itself wrote is not read");
    assert_eq!(ask("198.51.100.1", "192.0.2.3").await, 200);
    assert_eq!(ask("198.51.100.1", "192.0.2.4").await, 429, "this one may say what it likes");
}

#[tokio::test(start_paused = true)]
async fn many_addresses_push_nobody_out_of_the_count_and_do_not_come_through_unlimited() {
    let (lab, _) = limited("[quota]\nmax_clients=10\n[quota.client]\nrequests_per_hour=2");
    for expected in [200, 200, 429] {
        assert_eq!(tag(&lab, "192.0.2.1").await, expected);
    }
    let mut served = 0;
    for number in 0..200 {
        served += u32::from(tag(&lab, &format!("198.51.100.{number}")).await == 200);
    }
    assert_eq!(served, 9 + 2, "nine that there is room for, and what one may have for all the rest");
    assert_eq!(tag(&lab, "192.0.2.1").await, 429, "still counted");
    assert_eq!(tag(&lab, "198.51.100.0").await, 200, "and whoever came in time has what is theirs");
    lab.wait(TO_NEXT_HOUR).await;
    assert_eq!(tag(&lab, "198.51.100.0").await, 200);
    lab.wait(TO_NEXT_DAY - TO_NEXT_HOUR).await;
    for expected in [200, 200, 429] {
        assert_eq!(tag(&lab, "203.0.113.200").await, expected, "room again");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_count_as_they_leave_and_what_is_under_way_is_not_cut() {
    let (lab, blob) = limited("[quota.client]\nbytes_per_hour=5001");
    assert_eq!(lab.get(&blob).await.body.len(), 5000);
    let seen = lab.get(&blob).await;
    assert_eq!((seen.status.as_u16(), seen.body.len()), (200, 5000), "one byte was left, and nothing is cut");
    let seen = lab.get(&blob).await;
    assert!(seen.is(429, "TOOMANYREQUESTS"), "{seen:?}");
    assert!(message(&seen).contains("quota.client.bytes_per_hour"), "{seen:?}");
    assert_eq!(lab.get(&blob).from("192.0.2.1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_was_promised_and_not_sent_does_not_count() {
    let (lab, blob) = limited("[quota.total]\nbytes_per_hour=5000");
    for _ in 0..3 {
        let (head, mut body) = lab.begin(&blob).await.into_parts();
        assert_eq!(head.status, 200);
        let first = body.chunk().await.expect("a piece").expect("bytes").len();
        assert!(first < 1600, "{first}: three of them are less than the limit");
        // The client leaves.
        drop(body);
    }
    assert_eq!(lab.get(&blob).await.status, 200);
    assert_eq!(lab.get(&blob).await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn a_head_counts_as_a_request_and_for_no_bytes() {
    let (lab, blob) = limited("[quota.client]\nbytes_per_hour=100\nrequests_per_hour=5");
    for _ in 0..4 {
        let seen = lab.head(&blob).await;
        assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, "5000"));
    }
    assert_eq!(lab.get(&blob).await.status, 200);
    let seen = lab.head(&blob).await;
    assert_eq!(
        (seen.status.as_u16(), seen.header("x-registry-proxy")),
        (429, "refused; why=\"quota.client reached\"")
    );
}

#[tokio::test(start_paused = true)]
async fn pings_and_tokens_and_those_who_are_not_let_in_do_not_count() {
    let (lab, _) = limited("[clients]\nauth='users'\nusers_file='u'\n[quota.total]\nrequests_per_day=1");
    for _ in 0..5 {
        assert_eq!(lab.get("/v2/").basic("alice", "wonder").await.status, 200);
        lab.login("alice", "wonder").await;
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 401);
    }
    let token = lab.login("alice", "wonder").await;
    let ask = || lab.get("/v2/a/b/manifests/v1").bearer(&token);
    assert_eq!(ask().await.status, 200);
    assert_eq!(ask().await.status, 429);
    assert_eq!(
        lab.get("/v2/").basic("alice", "wonder").await.status,
        200,
        "clients still find out where they are"
    );
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 401, "who is nobody learns nothing of the limits");
}

#[tokio::test(start_paused = true)]
async fn a_closed_quota_refuses_all_content_and_asks_nobody() {
    let (lab, blob) = limited("[quota]\nmode='closed'\n[clients]\nauth='users'\nusers_file='u'");
    for path in ["/v2/a/b/manifests/v1", &blob, "/v2/a/b/tags/list"] {
        let seen = lab.get(path).await;
        assert!(seen.is(429, "TOOMANYREQUESTS"), "{seen:?}");
        assert_eq!(seen.header("retry-after"), "3600");
        assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"quota.mode is closed\"");
    }
    assert_eq!(lab.post("/v2/a/b/blobs/uploads/").await.status, 429);
    assert_eq!(lab.get("/v2/").basic("alice", "wonder").await.status, 200);
    assert_eq!(lab.net.lines(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn limits_that_are_off_do_not_hold() {
    let (lab, blob) = limited("[quota]\nmode='off'\n[quota.client]\nrequests_per_hour=1\nbytes_per_day=1");
    for _ in 0..3 {
        assert_eq!(lab.get(&blob).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_configuration_goes_on_counting() {
    let (mut lab, blob) = limited("[quota.client]\nrequests_per_hour=3");
    let (_, mut under_way) = lab.begin(&blob).await.into_parts();
    assert_eq!(tag(&lab, "203.0.113.7").await, 200);
    lab.reload("[quota.client]\nrequests_per_hour=2");
    assert_eq!(tag(&lab, "203.0.113.7").await, 429, "two were counted before");
    lab.reload("[quota.client]\nbytes_per_hour=5000");
    assert_eq!(tag(&lab, "203.0.113.7").await, 200);
    while under_way.chunk().await.is_some() {}
    assert_eq!(tag(&lab, "203.0.113.7").await, 429, "what began before counts where it is looked for now");
    lab.reload("[quota]\nmode='off'");
    assert_eq!(tag(&lab, "203.0.113.7").await, 200);
}

#[tokio::test(start_paused = true)]
async fn what_a_store_of_ours_sends_in_our_place_counts() {
    let store = MemoryStore::new(1 << 30, Arc::new(TokioClock::start())).shared().in_parts_of(1 << 20);
    let store = store.linking("https://store.example/".parse().unwrap());
    let lab = Fixture::set_up(&Setup {
        text: "[quota.client]\nbytes_per_hour='14MB'",
        profile: Profile::TencentScf,
        store: Some(Arc::new(store)),
        ..Setup::default()
    });
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(7_000_000)));
    for expected in [307, 307, 429] {
        assert_eq!(lab.get(&path).await.status, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn storage_behind_the_proxy_counts_too() {
    let variables = [("REGISTRY_BACKEND", ORIGIN), ("DEFAULT_BACKEND_HOST", STORAGE)];
    let lab = Fixture::set_up(&Setup {
        text: "[quota.client]\nrequests_per_hour=2",
        variables: &variables,
        ..Setup::default()
    });
    let ask = || -> Call { lab.get("/somewhere/else") };
    for _ in 0..2 {
        assert_ne!(ask().await.status, 429);
    }
    assert_eq!(ask().await.status, 429);
}
