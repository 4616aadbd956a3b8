//! Where no request may wait for another's work, and the platform keeps a copy of what passes (Workers).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, RANGE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request};
use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{Profile, Store};
use registry_proxy_core::testing::{Answer, Fault, NativeBodies, PassingStore, Sent};
use registry_proxy_core::{Body, Cx};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, ORIGIN, STORAGE, Setup, manifest_of, noise};

const SIZE: usize = 300_000;

struct Isolate {
    lab: Fixture,
    store: Arc<PassingStore>,
    /// A blob in `a/b`.
    path: String,
    key: Key,
}

impl Isolate {
    fn new(text: &str) -> Self {
        let store = Arc::new(PassingStore::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start()))));
        let mut lab = Fixture::set_up(&Setup {
            text,
            profile: Profile::CloudflareWorkers,
            isolated: true,
            store: Some(store.clone()),
            ..Setup::default()
        });
        lab.platform.transport = Arc::new(NativeBodies(lab.net.clone()));
        lab.restart(text);
        let digest = lab.registry.put_blob("a/b", content());
        let key = Key::blob(&Digest::parse(&digest).expect("a digest"));
        Self { lab, store, path: format!("/v2/a/b/blobs/{digest}"), key }
    }

    fn gets(&self) -> usize {
        self.lab.net.sent("GET", "/blobs/").len()
    }

    async fn is_kept(&self) -> bool {
        self.store.stat(&self.key).await.expect("a store").is_some()
    }
}

fn content() -> Bytes {
    noise(SIZE)
}

#[tokio::test(start_paused = true)]
async fn a_cold_blob_is_cached_as_it_passes() {
    let mut it = Isolate::new("");
    let cold = it.lab.get(&it.path).await;
    assert_eq!((cold.status.as_u16(), cold.done(), cold.length), (200, "filled", Some(SIZE as u64)), "{cold:?}");
    assert_eq!(cold.body, content());
    let warm = it.lab.get(&it.path).await;
    assert_eq!((warm.done(), &warm.body), ("hit", &content()));
    let part = it.lab.get(&it.path).header("range", "bytes=1000-1999").await;
    assert_eq!((part.status.as_u16(), part.done()), (206, "hit"));
    assert_eq!(part.body, content().slice(1000..2000));
    assert_eq!(it.gets(), 1);
    // Another isolate: the bucket vouches for what it has.
    it.lab.restart("");
    assert_eq!(it.lab.head(&it.path).await.done(), "hit");
    assert_eq!(it.lab.get(&it.path).await.done(), "hit");
    assert_eq!(it.gets(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_reads_what_passes() {
    let is_read = async |it: &Isolate, range: Option<&'static str>| {
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = it.path.parse().expect("a path");
        request.headers_mut().insert(HOST, HeaderValue::from_static("proxy.example"));
        request.headers_mut().extend(range.map(|range| (RANGE, HeaderValue::from_static(range))));
        let response =
            it.lab.proxy.handle(&Cx { peer: None, introduced: None, is_tls: true, id: 1 }, request).await;
        assert!(response.status().is_success());
        matches!(response.body(), Body::Stream(_))
    };
    let mut it = Isolate::new("");
    assert!(!is_read(&it, Some("bytes=0-1999")).await, "a range of what is not here");
    assert!(!is_read(&it, None).await, "what is not here");
    it.lab.wait(1).await;
    assert!(it.is_kept().await);
    it.lab.restart("");
    assert!(!is_read(&it, None).await, "what is here");
    assert!(!is_read(&it, Some("bytes=0-1999")).await, "a range of what is here");
    assert_eq!(it.gets(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_who_the_platform_says_whatever_it_says_itself() {
    let it = Isolate::new("platform='cloudflare-workers'\n[quota.client]\nrequests_per_hour=1");
    for (forged, status) in [("198.51.100.1", 200), ("198.51.100.2", 429)] {
        let seen = it.lab.get(&it.path).from("192.0.2.1").header("x-forwarded-for", forged).await;
        assert_eq!(seen.status.as_u16(), status, "{seen:?}");
    }
}

/// In `wrangler dev`, and behind a route of plain HTTP.
#[tokio::test(start_paused = true)]
async fn a_client_that_came_by_http_is_sent_nowhere_else() {
    let it = Isolate::new(
        "platform='cloudflare-workers'\nsigning_key_file='k'\n[clients]\nauth='users'\nusers_file='u'",
    );
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = "http://127.0.0.1:8787/v2/".parse().expect("an address");
    let response = it.lab.proxy.handle(&Cx { peer: None, introduced: None, is_tls: false, id: 1 }, request).await;
    let challenge = response.headers()[WWW_AUTHENTICATE].to_str().expect("text");
    assert!(challenge.contains("realm=\"http://127.0.0.1:8787/token\""), "{challenge}");
}

#[tokio::test(start_paused = true)]
async fn two_who_want_one_cold_blob_both_fetch_it() {
    let it = Isolate::new("");
    it.lab.net.fault("GET", "/blobs/", 2, Fault::StallAfter(1000, Duration::from_secs(5)));
    let (one, two) = tokio::join!(async { it.lab.get(&it.path).await }, async { it.lab.get(&it.path).await });
    assert_eq!((one.done(), two.done()), ("filled", "filled"));
    assert_eq!((one.body, two.body), (content(), content()));
    assert_eq!(it.gets(), 2);
    assert_eq!(it.lab.get(&it.path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_have_no_end_and_are_not_cached() {
    let it = Isolate::new("");
    it.lab.net.fault("GET", "/blobs/", 1, Fault::change(|answer| answer.body = vec![7; SIZE].into()));
    let seen = it.lab.get(&it.path).await;
    assert!(seen.end.is_err() && seen.body.len() < SIZE, "{seen:?}");
    assert!(!it.is_kept().await);
    assert_eq!(it.lab.get(&it.path).await.body, content());
    assert!(it.is_kept().await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_not_cached() {
    for fault in [Fault::EndAfter(1000), Fault::BreakAfter(1000)] {
        let it = Isolate::new("");
        it.lab.net.fault("GET", "/blobs/", 1, fault);
        assert!(it.lab.get(&it.path).await.end.is_err());
        assert!(!it.is_kept().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_does_not_stop_the_copy() {
    let it = Isolate::new("");
    it.lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1000, Duration::from_secs(2)));
    tokio::select! {
        _ = async { it.lab.get(&it.path).await } => panic!("it cannot be here yet"),
        () = it.lab.wait(1) => {}
    }
    it.lab.wait(5).await;
    assert!(it.is_kept().await);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_does_not_stop_the_client() {
    let it = Isolate::new("");
    it.store.break_down();
    let seen = it.lab.get(&it.path).await;
    assert!(seen.end.is_ok() && seen.body == content(), "{seen:?}");
    assert!(!it.is_kept().await);
}

#[tokio::test(start_paused = true)]
async fn a_range_of_what_is_not_cached_is_passed_on_and_not_cached() {
    let it = Isolate::new("");
    let part = it.lab.get(&it.path).header("range", "bytes=0-999").await;
    assert_eq!((part.status.as_u16(), part.done()), (206, "relayed"));
    assert_eq!(part.body, content().slice(..1000));
    assert!(!it.is_kept().await);
    let beyond = it.lab.get(&it.path).header("range", "bytes=900000-").await;
    assert_eq!(beyond.status, 416);
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_cache_passes_by() {
    let it = Isolate::new("[cache]\nmax_size = '100KB'");
    let seen = it.lab.get(&it.path).await;
    assert_eq!((seen.done(), seen.body.clone()), ("relayed", content()), "{seen:?}");
    assert!(!it.is_kept().await);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_shared_and_access_is_not() {
    let it = Isolate::new("");
    assert_eq!(it.lab.get(&it.path).await.done(), "filled");
    let elsewhere = it.path.replace("a/b", "c/d");
    assert_eq!(it.lab.get(&elsewhere).await.status, 404);
    it.lab.wait(60).await;
    it.lab.registry.put_blob("c/d", content());
    let seen = it.lab.get(&elsewhere).await;
    assert_eq!((seen.done(), &seen.body), ("revalidated", &content()));
    // The second one asked for a single byte, as a 404 of HEAD proves nothing.
    let ranges: Vec<_> =
        it.lab.net.sent("GET", "/blobs/").iter().map(|sent| sent.header("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=0-0"]);
}

/// Without a length, as chunked answers come. workerd ends each of those properly, even where the upstream broke off.
fn chunked() -> Fault {
    Fault::change(|answer| answer.length = None)
}

#[tokio::test(start_paused = true)]
async fn a_blob_of_unknown_length_is_measured_before_it_leaves() {
    // What is kept, and what passes by.
    for text in ["", "[cache]\nmax_size = '100KB'"] {
        for says_nothing in [false, true] {
            let it = Isolate::new(text);
            it.lab.net.fault("GET", "/blobs/", 1, chunked());
            if says_nothing {
                it.lab.net.fault("HEAD", "/blobs/", 1, chunked());
            }
            let seen = it.lab.get(&it.path).await;
            assert_eq!((seen.status.as_u16(), seen.length), (200, Some(SIZE as u64)), "{seen:?}");
            assert_eq!(seen.header("content-length"), SIZE.to_string(), "{seen:?}");
            assert!(seen.end.is_ok() && seen.body == content());
            let asked: Vec<_> =
                it.lab.net.sent("*", "/blobs/").iter().map(|sent| sent.method.to_string()).collect();
            let expected: &[&str] = if says_nothing { &["GET", "HEAD", "GET"] } else { &["GET", "HEAD"] };
            assert_eq!(asked, expected, "by HEAD, and else by the first byte");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_of_unknown_length_has_the_one_that_its_manifest_says() {
    for text in ["", "[cache]\nmax_size = '100KB'"] {
        let it = Isolate::new(text);
        let digest = it.path.rsplit('/').next().expect("a digest");
        let manifest = format!(r#"{{"config":{{}},"layers":[{{"digest":"{digest}","size":{SIZE}}}]}}"#);
        it.lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest);
        assert_eq!(it.lab.get("/v2/a/b/manifests/v1").await.status, 200);
        it.lab.net.fault("*", "/blobs/", 9, chunked());
        let seen = it.lab.get(&it.path).await;
        assert_eq!((seen.status.as_u16(), seen.length), (200, Some(SIZE as u64)), "{seen:?}");
        assert_eq!(it.lab.net.sent("*", "/blobs/").len(), 1, "nobody was asked for it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_whose_length_nobody_says_is_refused() {
    for text in ["", "[cache]\nmax_size = '100KB'"] {
        let it = Isolate::new(text);
        let whole = content();
        it.lab.net.fault(
            "*",
            "/blobs/",
            99,
            Fault::change(move |answer| {
                *answer = Answer::new(200).body(whole.clone()).without_length();
            }),
        );
        let seen = it.lab.get(&it.path).await;
        assert!(seen.is(504, "UNAVAILABLE"), "{seen:?}");
        assert!(seen.json()["errors"][0]["message"].as_str().unwrap().contains("unknown length"), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_of_unknown_length_has_one_when_it_leaves() {
    let it = Isolate::new("");
    it.lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    it.lab.net.fault("GET", "/manifests/", 1, chunked());
    let seen = it.lab.get("/v2/a/b/manifests/v1").await;
    assert_eq!((seen.status.as_u16(), &seen.body), (200, &manifest_of(10)));
    assert_eq!(seen.length, Some(manifest_of(10).len() as u64));
}

#[tokio::test(start_paused = true)]
async fn a_storages_answer_of_unknown_length_is_refused() {
    let setup = Setup {
        profile: Profile::CloudflareWorkers,
        variables: &[("REGISTRY_BACKEND", ORIGIN), ("DEFAULT_BACKEND_HOST", "https://cdn.up.example.com")],
        ..Setup::default()
    };
    let lab = Fixture::set_up(&setup);
    lab.net.serve(STORAGE, |_: &Sent| Answer::new(200).body("bytes").without_length());
    let seen = lab.get("/store/blob?sig=1").await;
    assert!(seen.is(504, "UNAVAILABLE"), "{seen:?}");
    assert!(seen.json()["errors"][0]["message"].as_str().unwrap().contains("unknown length"), "{seen:?}");
}
