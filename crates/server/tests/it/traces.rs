//! OpenTelemetry: what a collector on this machine gets of a pull.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use registry_proxy_core::digest::Digest;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use crate::fixture::{
    Client, Exchange, Request, Setup, Upstream, basic, closed_port, content, one_upstream, soon,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A collector, and what it was sent.
struct Collector {
    upstream: Upstream,
    sent: watch::Sender<Vec<(Request, Vec<u8>)>>,
}

impl Collector {
    async fn start() -> Self {
        let sent = watch::Sender::new(Vec::new());
        let taken = sent.clone();
        let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| {
            let taken = taken.clone();
            async move {
                let mut body = std::mem::take(&mut exchange.buffer);
                while body.len() < request.length() {
                    if exchange.wire.read_buf(&mut body).await.ok()? == 0 {
                        return None;
                    }
                }
                taken.send_modify(|all: &mut Vec<(Request, Vec<u8>)>| all.push((request, body)));
                exchange.answer("200 OK", "Content-Type: application/x-protobuf\r\n", b"").await
            }
        })
        .await;
        Self { upstream, sent }
    }

    /// A run whose environment names it.
    fn setup(&self) -> Setup {
        Setup::new()
            .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", self.upstream.address))
            .variable("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=collectors-token-9d")
            .variable("OTEL_SERVICE_NAME", "proxy-under-test")
            .variable("OTEL_BSP_SCHEDULE_DELAY", "50")
    }

    /// All spans, once there are such ones that `is_enough`.
    async fn spans(&self, is_enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let decode = |all: &Vec<(Request, Vec<u8>)>| -> Vec<Span> {
            let exports = all.iter().map(|(_, body)| ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
            let resources = exports.flat_map(|export| export.resource_spans);
            resources.flat_map(|of| of.scope_spans).flat_map(|scope| scope.spans).collect()
        };
        let mut sent = self.sent.subscribe();
        let all = soon("spans", sent.wait_for(|all| is_enough(&decode(all)))).await.unwrap().clone();
        decode(&all)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    let value =
        span.attributes.iter().find(|one| one.key == name).and_then(|one| one.value.as_ref()?.value.as_ref());
    match value {
        Some(Value::StringValue(text)) => text,
        _ => "",
    }
}

fn count(spans: &[Span], name: &str) -> usize {
    spans.iter().filter(|span| span.name == name).count()
}

fn layer() -> Digest {
    Digest::sha256(&content(100_000))
}

/// A registry with `acme/app:v1` and a blob at this storage, which wants tokens of its own token server.
async fn registry(storage: SocketAddr) -> Upstream {
    Upstream::start(move |request: Request, exchange: Exchange| async move {
        if request.path.starts_with("/tokens") {
            return exchange.answer("200 OK", "", b"{\"token\":\"upstream-token-5d1f\",\"expires_in\":300}").await;
        }
        if request.get("authorization") != Some("Bearer upstream-token-5d1f") {
            let host = request.get("host").unwrap_or_default();
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/tokens\",service=\"x\"\r\n");
            return exchange.answer("401 Unauthorized", &challenge, b"").await;
        }
        if request.path.contains("/manifests/") {
            let body = format!(r#"{{"schemaVersion":2,"config":{{}},"layers":[{{"digest":"{}"}}]}}"#, layer());
            let digest = Digest::sha256(body.as_bytes());
            let head = format!("Content-Type: {MANIFEST}\r\nDocker-Content-Digest: {digest}\r\n");
            return exchange.answer("200 OK", &head, body.as_bytes()).await;
        }
        let location = format!("Location: http://{storage}/blob?X-Signature=signature-77aa\r\n");
        exchange.answer("307 Temporary Redirect", &location, b"").await
    })
    .await
}

#[tokio::test]
async fn a_cold_pull_is_one_trace_from_the_client_to_the_upstream_and_holds_no_secret() {
    let (storage, collector) = (Upstream::of_blob(content(100_000)).await, Collector::start().await);
    let registry = registry(storage.address).await;
    let setup = collector.setup();
    let hash = bcrypt::hash("client-password-93c2", 4).unwrap();
    let users = setup.file("users", &format!("alice:{hash}\n"));
    let path = setup.file("path", "path-secret-0b7e44\n");
    let password = setup.file("password", "upstream-password-c0de\n");
    let keys = format!(
        "trusted_proxies = ['127.0.0.0/8']\n[cache]\nstore = 'file://{}/cache'\nmin_free = 0\n[clients]\nauth = 'users'\nusers_file = '{users}'\npath_secret_file = '{path}'",
        setup.path().display()
    );
    let more = format!("username = 'robot'\npassword_file = '{password}'\nsend_traceparent = true");
    let product = setup.start(&one_upstream(&keys, registry.address, &more)).await;
    let mut client = Client::connect(product.address).await;
    let login = basic("alice", "client-password-93c2");
    let headers = format!("Authorization: {login}\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n");
    for rest in ["manifests/v1".to_owned(), format!("blobs/{}", layer())] {
        let (head, _) = client.get_with(&format!("/v2/path-secret-0b7e44/acme/app/{rest}"), &headers).await;
        assert_eq!(head.status, 200, "{}", product.log());
    }
    let spans = collector
        .spans(|spans| {
            ["GET manifest", "GET blob", "token", "fill"].iter().all(|name| count(spans, name) == 1)
                // The challenge, the token, the manifest, the blob and the storage behind its redirect.
                && count(spans, "GET") == 5
        })
        .await;

    // All of it is one trace, and everything in it hangs from one of the two requests.
    let by_id: HashMap<String, &Span> = spans.iter().map(|span| (hex(&span.span_id), span)).collect();
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE, "{span:?}");
        let mut above = span;
        while let Some(next) = by_id.get(&hex(&above.parent_span_id)) {
            above = next;
        }
        assert_eq!(hex(&above.parent_span_id), PARENT, "{span:?}");
        assert!(["GET manifest", "GET blob"].contains(&above.name.as_str()), "{span:?}");
    }
    let blob = spans.iter().find(|span| span.name == "GET blob").unwrap();
    for (name, expected) in [
        ("registry_proxy.upstream", "up.test"),
        ("registry_proxy.repository", "acme/app"),
        ("registry_proxy.reference", layer().as_str()),
        ("registry_proxy.outcome", "filled"),
        ("http.request.method", "GET"),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(text(blob, name), expected, "{name}: {blob:?}");
    }
    assert!(spans.iter().any(|span| span.name == "store draft" || span.name == "store read"), "{spans:?}");

    // The registry is told the trace, and the storage behind its redirect is not.
    for request in registry.seen() {
        let told = request.get("traceparent").unwrap_or_default();
        let parent = told.split('-').nth(2).unwrap_or_default();
        assert!(told.starts_with(&format!("00-{TRACE}-")), "{} {told:?}", request.path);
        assert_eq!(by_id.get(parent).map(|span| span.name.as_str()), Some(request.method.as_str()), "{told}");
    }
    assert!(storage.seen().iter().all(|request| request.get("traceparent").is_none()));

    let all = collector.sent.borrow().clone();
    for (request, body) in &all {
        assert_eq!((request.path.as_str(), request.get("x-tenant")), ("/v1/traces", Some("collectors-token-9d")));
        let shown = String::from_utf8_lossy(body);
        for secret in [
            "client-password",
            "path-secret",
            "upstream-password",
            "upstream-token",
            "signature-77aa",
            "alice",
            login.trim_start_matches("Basic "),
            "collectors-token",
        ] {
            assert!(!shown.contains(secret), "{secret}");
        }
    }
    let first = ExportTraceServiceRequest::decode(all[0].1.as_slice()).unwrap();
    let resource = first.resource_spans[0].resource.clone().unwrap();
    let name = resource.attributes.iter().find(|one| one.key == "service.name").unwrap().value.clone().unwrap();
    assert_eq!(name.value, Some(Value::StringValue("proxy-under-test".to_owned())));
    assert!(!product.log().contains("collectors-token"), "{}", product.log());
}

#[tokio::test]
async fn a_client_that_is_not_trusted_names_no_trace_and_no_upstream_is_told_one_unasked() {
    let (registry, collector) = (registry(closed_port()).await, Collector::start().await);
    let product = collector.setup().start(&one_upstream("", registry.address, "")).await;
    let mut client = Client::connect(product.address).await;
    let headers = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n");
    assert_eq!(client.get_with("/v2/acme/app/manifests/v1", &headers).await.0.status, 200);
    let spans = collector.spans(|spans| count(spans, "GET manifest") == 1).await;
    let request = spans.iter().find(|span| span.name == "GET manifest").unwrap();
    assert!(hex(&request.trace_id) != TRACE && request.parent_span_id.is_empty(), "{request:?}");
    assert!(registry.seen().iter().all(|request| request.get("traceparent").is_none()));
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_exported_and_a_wrong_one_is_told_at_the_start() {
    let registry = registry(closed_port()).await;
    let product = Setup::new().start(&one_upstream("", registry.address, "")).await;
    assert!(!product.log().contains("OTLP"), "{}", product.log());
    let setup = Setup::new().variable("OTEL_EXPORTER_OTLP_ENDPOINT", "collector-with-s3cret:4318");
    let config = setup.file("proxy.toml", "[cache]\nstore = 'none'\n");
    let output = setup.run(&["--config", &config, "--listen", "127.0.0.1:0"]).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("OTEL_EXPORTER_OTLP_ENDPOINT: expected http") && !told.contains("s3cret"), "{told}");
}
