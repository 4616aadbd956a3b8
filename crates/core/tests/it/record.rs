//! Each request is counted and has its line, whatever becomes of it.

use std::sync::Mutex;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use registry_proxy_core::telemetry::REQUESTS;
use registry_proxy_core::testing::Fault;

use crate::fixture::{Fixture, Lines, OCI_MANIFEST, manifest_of};

/// Writes down what requests were counted as: `status outcome why`.
#[derive(Default)]
struct Counted(Mutex<Vec<String>>);

impl Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == REQUESTS {
            let label =
                |name| key.labels().find(|label| label.key() == name).map_or("", metrics::Label::value).to_owned();
            let line = ["endpoint", "status", "outcome", "why"].map(label).join(" ");
            self.0.lock().expect("nobody panicked").push(line);
        }
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_client_leaves_before_the_answer_begins_is_counted_once_as_that() {
    let counted = Counted::default();
    let _guard = metrics::set_default_local_recorder(&counted);
    let (lab, _, blob) = Fixture::stocked("");
    let path = format!("/v2/a/b/blobs/{blob}");
    lab.net.fault("*", "/blobs/", 1, Fault::Silence);
    let gone = tokio::time::timeout(Duration::from_secs(1), async { lab.get(&path).await }).await;
    assert!(gone.is_err());
    assert_eq!(lab.get(&path).await.status, 200);
    assert_eq!(*counted.0.lock().unwrap(), ["blob 4xx abandoned client left", "blob 2xx relayed no store"]);
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_an_id_of_its_own_and_so_has_its_line() {
    let lines = Lines::of_requests();
    let (lab, manifest, blob) = Fixture::stocked("");
    let replica = lab.beside("", lab.net.clone(), 77);
    let mut ids = Vec::new();
    for path in ["/v2/", "/v2/a/b/manifests/v1", "/v2/a/b/manifests/no", "/nowhere", "/v2/a/b/tags/list"] {
        let seen = lab.get(path).await;
        assert_eq!(seen.header("x-request-id"), lines.only()["request.id"], "{path}");
        ids.push(seen.header("x-request-id").to_owned());
    }
    let (manifest, blob) = (format!("/v2/a/b/manifests/{manifest}"), format!("/v2/a/b/blobs/{blob}"));
    for call in [lab.head(&manifest), lab.get(&blob).header("range", "bytes=1-2"), lab.put(&manifest)] {
        ids.push(call.await.header("x-request-id").to_owned());
    }
    // The count of a process begins anew in each.
    for proxy in [&lab.proxy, &replica] {
        let cx = registry_proxy_core::Cx { peer: None, introduced: None, is_tls: true, id: 1 };
        let request = http::Request::get("/v2/").body(registry_proxy_core::Body::Empty).unwrap();
        let id = proxy.handle(&cx, request).await.headers()["x-request-id"].to_str().unwrap().to_owned();
        ids.push(id);
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_names_a_request_and_nobody_else_does() {
    let lines = Lines::of_requests();
    let lab = Fixture::new("trusted_proxies = ['10.0.0.0/8']");
    let ask = async |peer: &str, id: &str| {
        let seen = lab.get("/v2/").from(peer).header("x-request-id", id).await;
        assert_eq!(seen.header("x-request-id"), lines.only()["request.id"]);
        seen.header("x-request-id").to_owned()
    };
    assert_eq!(ask("10.1.2.3", "7b4f1c1e-from-nginx").await, "7b4f1c1e-from-nginx");
    assert_ne!(ask("192.0.2.1", "7b4f1c1e-from-a-client").await, "7b4f1c1e-from-a-client");
    assert_ne!(ask("10.1.2.3", "two words").await, "two words");
    let endless = "x".repeat(129);
    assert_ne!(ask("10.1.2.3", &endless).await, endless);
}

#[tokio::test(start_paused = true)]
async fn a_line_says_of_the_clients_address_what_the_operator_wants() {
    let lines = Lines::of_requests();
    for (client, v4, v6) in [
        ("", "198.51.100.9", "2001:db8:7:8::9"),
        ("log.client = 'full'", "198.51.100.9", "2001:db8:7:8::9"),
        ("log.client = 'network'", "198.51.100.0/24", "2001:db8:7::/48"),
        ("log.client = 'none'", "", ""),
    ] {
        let lab = Fixture::new(client);
        for (peer, expected) in [("198.51.100.9", v4), ("2001:db8:7:8::9", v6)] {
            lab.get("/v2/").from(peer).await;
            assert_eq!(lines.only().get("client").map_or("", String::as_str), expected, "{client}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_of_itself_is_one_short_line() {
    let lines = Lines::of_requests();
    let lab = Fixture::new("");
    lab.get("/v2/").header("user-agent", "containerd/v2.1.4").await;
    assert_eq!(lines.only()["agent"], "containerd/v2.1.4");
    lab.get("/v2/").await;
    assert_eq!(lines.only().get("agent"), None);
    let agent = "x".repeat(60_000);
    lab.get("/v2/").header("user-agent", &agent).await;
    assert_eq!(lines.only()["agent"], format!("{}…", "x".repeat(256)));
    lab.get("/v2/").header("user-agent", "a\tb").await;
    assert_eq!(lines.only()["agent"], "a\\tb");
    let method = http::Method::from_bytes("M".repeat(60_000).as_bytes()).unwrap();
    lab.call(method, "/v2/a/b/manifests/v1").await;
    let line = lines.only();
    assert_eq!(line["method"], format!("{}…", "M".repeat(32)));
    let length: usize = line.values().map(String::len).sum();
    assert!(length < 1000, "{length}: {line:?}");
}

#[tokio::test(start_paused = true)]
async fn of_an_answer_that_a_client_gives_up_the_log_says_only_what_has_gone() {
    let lines = Lines::of_requests();
    let lab = Fixture::new("");
    let size = manifest_of(200_000).len();
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(200_000));
    for (pieces, end, sent) in [(0, "client left", 0), (1, "client left", 0), (3, "client left", 128 << 10)] {
        let mut body = lab.begin("/v2/a/b/manifests/v1").await.into_body();
        for _ in 0..pieces {
            assert!(body.chunk().await.unwrap().is_ok());
        }
        assert_eq!(lines.take().len(), 0, "the line comes when it is known how it ended");
        drop(body);
        let line = lines.only();
        assert_eq!((line["end"].as_str(), line["size_bytes"].clone()), (end, sent.to_string()), "{pieces}");
    }
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.body.len(), size);
    let line = lines.only();
    assert_eq!((line["end"].as_str(), line["size_bytes"].clone()), ("complete", size.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_line_says_who_has_logged_in_and_not_who_has_tried_to() {
    const V1: &str = "/v2/a/b/manifests/v1";
    let lines = Lines::of_requests();
    let user = || lines.only().get("user").cloned().unwrap_or_default();
    let (lab, _, _) = Fixture::stocked("[clients]\nauth='users'\nusers_file='u'");
    let token = lab.login("alice", "wonder").await;
    assert_eq!(user(), "alice", "who is given a token");
    for path in ["/v2/", V1] {
        assert_eq!(lab.get(path).bearer(&token).await.status, 200);
        assert_eq!(user(), "alice", "{path}");
    }
    for path in ["/v2/", "/token"] {
        assert_eq!(lab.get(path).basic("alice", "guess").await.status, 401);
        assert_eq!(user(), "", "{path}");
    }
    assert_eq!(lab.get(V1).basic("bob", "builder").await.status, 200);
    assert_eq!(user(), "bob");
    assert_eq!(lab.get(V1).basic("alice", "guess").await.status, 401);
    assert_eq!(user(), "");
    assert_eq!(lab.get(V1).await.status, 401);
    assert_eq!(user(), "");

    let (lab, _, _) = Fixture::stocked("[clients]\nauth='upstream'");
    let lab = lab.with_tokens();
    lab.registry.add_user("carol", "sesame");
    let token = lab.login("carol", "sesame").await;
    assert_eq!(user(), "carol", "who is given a token");
    assert_eq!(lab.get("/v2/").basic("carol", "sesame").await.status, 200);
    assert_eq!(user(), "", "a ping asks nobody whether it is carol");
    assert_eq!(lab.get(V1).bearer(&token).await.status, 200);
    assert_eq!(user(), "carol");
    let nobody = lab.anonymous().await;
    lines.take();
    assert_eq!(lab.get(V1).bearer(&nobody).await.status, 200);
    assert_eq!(user(), "");

    let (lab, _, _) = Fixture::stocked("");
    assert_eq!(lab.get(V1).basic("mallory", "hunter2").await.status, 200);
    assert_eq!(user(), "");
}
