//! How often the core allocates for an answer from memory: each allocation costs time on every request, and none shows in
//! what a client sees. A program of its own, because counting replaces the allocator of the whole process.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use allocation_counter::measure;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::config::Sources;
use registry_proxy_core::notification::Notifications;
use registry_proxy_core::platform::Profile;
use registry_proxy_core::testing::{CountingEntropy, Network, Registry, stored_nowhere};
use registry_proxy_core::{Body, Config, Cx, Platform, Proxy};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use self::clock::{TokioClock, TokioTasks};

#[path = "it/clock.rs"]
mod clock;

const ORIGIN: &str = "https://origin.up.example.com";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes the fields of each event into a buffer that it has already, so that only the core's own allocations count.
struct LineWriter;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        self.0.clear();
        write!(self.0, "{value:?}").expect("a string takes everything");
    }
}

impl Subscriber for LineWriter {
    /// As in a server that exports no traces: no spans.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        allocation_counter::opt_out(|| line.0.reserve(1024));
        event.record(&mut line);
        allocation_counter::opt_out(|| drop(line));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A proxy with a memory tier, before a registry with this manifest as `team/app:v1` and this blob.
fn proxy(manifest: &str, blob: &Bytes) -> (Proxy, String) {
    let clock = Arc::new(TokioClock::start());
    let net = Arc::new(Network::new(clock.clone()));
    let registry = Registry::default();
    registry.put_manifest("team/app", "v1", MANIFEST, manifest.to_owned());
    let digest = registry.put_blob("team/app", blob.clone());
    net.serve(ORIGIN, registry);
    let platform = Platform {
        transport: net,
        entropy: Arc::new(CountingEntropy::new(1)),
        passwords: None,
        signers: Vec::new(),
        verdict_services: None,
        token_issuers: None,
        credentials: None,
        login_issuer: None,
        store: Some(Arc::new(MemoryStore::new(1 << 30, clock.clone()))),
        clock,
        invoker: None,
        notifications: Notifications::default(),
        tasks: Arc::new(TokioTasks),
        capabilities: Profile::default().capabilities(),
    };
    let text = format!("[[upstream]]\nname='reg.example'\nurls=['{ORIGIN}']\ndefault=true\n");
    let config = Config::load(&Sources { text: Some(&text), variables: vec![], read: &stored_nowhere });
    (Proxy::new(&config.expect("a configuration"), &platform), digest)
}

/// A GET as containerd sends it.
fn request(path: &str) -> Request<Body> {
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = path.parse().expect("a path");
    let accept = format!("{MANIFEST}, application/vnd.oci.image.index.v1+json, */*");
    for (name, value) in [(HOST, "proxy.example:3000"), (USER_AGENT, "containerd/v2.0.1"), (ACCEPT, &accept)] {
        request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    request
}

/// Allocations of one answer and of taking its body, once everything is in memory.
async fn allocations(proxy: &Proxy, path: &str, outcome: &str) -> u64 {
    let cx = Cx { peer: Some(IpAddr::from([203, 0, 113, 7])), introduced: None, is_tls: false, id: 0x1234_5678 };
    for _ in 0..3 {
        let answer = proxy.handle(&cx, request(path)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().collect(1 << 20).await.expect("the whole body");
        // Lets what was begun beside it end.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    let request = request(path);
    let mut answer = None;
    let counted = measure(|| {
        let mut response = proxy.handle(&cx, request).now_or_never().expect("it waits for nothing");
        let body = std::mem::take(response.body_mut()).collect(1 << 20).now_or_never();
        answer = Some((response, body.expect("it waits for nothing").expect("the whole body").len()));
    });
    let (response, length) = answer.expect("an answer");
    assert_eq!((response.status(), length > 1000), (StatusCode::OK, true));
    assert_eq!(response.headers()["x-registry-proxy"], outcome);
    counted.count_total
}

fn manifest_of(blob: &str) -> String {
    let layer = |n: usize| format!(r#"{{"mediaType":"a/b","digest":"sha256:{:064x}","size":{n}}}"#, n + 1);
    let layers: Vec<String> = (0..11).map(layer).collect();
    let config = format!(r#"{{"mediaType":"a/b","digest":"{blob}","size":8192}}"#);
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{}]}}"#, layers.join(","))
}

#[tokio::test(start_paused = true)]
async fn a_cached_manifest_allocates_16_times_and_a_cached_small_blob_15_times_at_most() {
    tracing::subscriber::set_global_default(LineWriter).expect("no other subscriber");
    let blob = Bytes::from(vec![b'x'; 8192]);
    let (proxy, digest) = proxy(&manifest_of(&format!("sha256:{:064x}", 7)), &blob);
    let manifest = allocations(&proxy, "/v2/team/app/manifests/v1", "hit; why=\"tag is fresh\"").await;
    let blob = allocations(&proxy, &format!("/v2/team/app/blobs/{digest}"), "hit; why=\"digest\"").await;
    // Counted by this test at commit 3f77eb9: 67 for the manifest, 55 for the blob. What was won since stays.
    assert!(manifest <= 16, "a cached manifest takes {manifest} allocations");
    assert!(blob <= 15, "a cached small blob takes {blob} allocations");
}
