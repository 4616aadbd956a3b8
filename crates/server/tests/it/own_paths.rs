//! `/healthz`, `/readyz`, `/metrics`.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;

use crate::fixture::{Client, Product, Upstream, blob_path, content, h2_over, one_upstream, soon};

#[tokio::test]
async fn health_and_readiness_are_told_without_an_upstream() {
    let product = Product::start(&one_upstream("", crate::fixture::closed_port(), "")).await;
    let mut client = Client::connect(product.address).await;
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let (head, body) = client.get(path).await;
        assert_eq!((head.status, body.as_slice()), (200, text.as_bytes()));
        // A cache in front would go on telling it of a process that has ended.
        assert_eq!(head.get("cache-control"), Some("no-store"), "{path}");
        client.ask("HEAD", path, "").await;
        assert_eq!(client.head().await.status, 200);
    }
    client.ask("POST", "/healthz", "Content-Length: 0\r\n").await;
    let head = client.head().await;
    assert!((400..500).contains(&head.status), "{}", head.text);
}

#[tokio::test]
async fn on_http_2_too_head_of_our_own_paths_has_no_body() {
    let product = Product::start(&one_upstream("", crate::fixture::closed_port(), "")).await;
    let mut client = h2_over(Client::connect(product.address).await.wire).await;
    for path in ["/healthz", "/readyz", "/metrics", "/healthz"] {
        let request = Request::head(format!("http://127.0.0.1{path}")).body(Empty::<Bytes>::new()).unwrap();
        let answer = soon("an answer", client.send_request(request)).await.unwrap();
        assert!(answer.status() == 200 && answer.headers().contains_key("content-length"), "{path}: {answer:?}");
        assert!(soon("its end", answer.into_body().collect()).await.unwrap().to_bytes().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn metrics_count_what_was_done() {
    let upstream = Upstream::of_blob(content(5000)).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    for _ in 0..3 {
        assert_eq!(client.get(&blob_path()).await.0.status, 200);
    }
    // A count is there when the log line is: after the last byte has left.
    product.wait_for_lines("endpoint=blob", 3).await;
    let (head, body) = client.get("/metrics").await;
    assert_eq!((head.status, head.get("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    assert_eq!(head.get("cache-control"), Some("no-store"));
    let text = String::from_utf8(body).unwrap();
    let value = |beginning: &str, part: &str| {
        let line = text.lines().find(|line| line.starts_with(beginning) && line.contains(part));
        line.unwrap_or_else(|| panic!("no {beginning} with {part} in\n{text}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(value("registry_proxy_requests_total{", "endpoint=\"blob\""), "3");
    assert_eq!(value("registry_proxy_sent_bytes_total{", "endpoint=\"blob\""), "15000");
    assert_eq!(value("registry_proxy_connections", ""), "1");
    assert_eq!(value("registry_proxy_build_info{", "version="), "1");
    assert_eq!(value("registry_proxy_upstream_seconds_count{", "status=\"2xx\""), "3");
    for name in ["registry_proxy_requests_total", "registry_proxy_connections", "registry_proxy_upstream_seconds"]
    {
        assert!(text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")), "{text}");
    }
}

#[tokio::test]
async fn a_budget_is_told_by_the_accounts_place_and_not_by_its_name() {
    let upstream = Upstream::start(|_, exchange| async {
        let head = "ratelimit-limit: 100;w=21600\r\nratelimit-remaining: 87;w=21600\r\n";
        let body = r#"{"schemaVersion":2,"layers":[],"config":{}}"#;
        exchange.answer("200 OK", head, body.as_bytes()).await
    })
    .await;
    let keys = "credentials = [{ prefix = 'b/', username = 'n1', password = 'p' }, { prefix = '', username = 'n2', password = 'q' }]";
    let product = Product::start(&one_upstream("", upstream.address, keys)).await;
    let mut client = Client::connect(product.address).await;
    assert_eq!(client.get("/v2/acme/app/manifests/v1").await.0.status, 200);
    let text = String::from_utf8(client.get("/metrics").await.1).unwrap();
    let line = text.lines().find(|line| line.starts_with("registry_proxy_budget_remaining{")).unwrap();
    assert!(line.contains("credential=\"1\"") && line.ends_with(" 87"), "{line}");
    assert!(!text.contains("n2") && text.contains("# HELP registry_proxy_budget_remaining "), "{text}");
}

#[tokio::test]
async fn metrics_on_an_address_of_their_own_are_nowhere_else() {
    let keys = "[metrics]\nlisten = '127.0.0.1:0'";
    let product = Product::start(&one_upstream(keys, crate::fixture::closed_port(), "")).await;
    let line = product.wait_for_line("metrics on http://").await;
    let (_, rest) = line.split_once("http://").unwrap();
    let address = rest.split_once("/metrics").unwrap().0.parse().unwrap();
    let (head, body) = Client::connect(address).await.get("/metrics").await;
    assert_eq!(head.status, 200);
    assert!(String::from_utf8(body).unwrap().contains("registry_proxy_build_info"));
    assert_eq!(Client::connect(address).await.get("/v2/").await.0.status, 404);
    assert_eq!(Client::connect(product.address).await.get("/metrics").await.0.status, 404);
}

#[tokio::test]
async fn metrics_are_refused_to_who_comes_through_a_proxy_until_they_are_public() {
    let before = crate::fixture::closed_port();
    let product = Product::start(&one_upstream("", before, "")).await;
    let mut client = Client::connect(product.address).await;
    for header in ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "Forwarded: for=x", "Via: 1.1 x"] {
        let (head, body) = client.get_with("/metrics", &format!("{header}\r\n")).await;
        let text = String::from_utf8(body).unwrap();
        assert_eq!((head.status, head.get("cache-control")), (403, Some("no-store")), "{header}");
        assert!(text.contains("metrics.public = true") && text.contains("metrics.listen"), "{text}");
    }
    assert_eq!(client.get("/metrics").await.0.status, 200);
    let foreign = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    client.send(foreign).await;
    assert_eq!(client.head().await.status, 403, "a browser that a web site has led here");
    let product = Product::start(&one_upstream("[metrics]\npublic = true", before, "")).await;
    let mut client = Client::connect(product.address).await;
    assert_eq!(client.get_with("/metrics", "X-Forwarded-For: 192.0.2.1\r\n").await.0.status, 200);
    client.send(foreign).await;
    assert_eq!(client.head().await.status, 200);
}

#[tokio::test]
async fn the_administration_page_on_an_address_of_its_own_is_nowhere_else() {
    let keys = "[page]\nlisten = '127.0.0.1:0'";
    let product = Product::start(&one_upstream(keys, crate::fixture::closed_port(), "")).await;
    let line = product.wait_for_line("administration page on http://").await;
    let (_, rest) = line.split_once("http://").unwrap();
    let address = rest.split_once("/-/").unwrap().0.parse().unwrap();
    let (head, body) = Client::connect(address).await.get("/-/").await;
    assert_eq!((head.status, head.get("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(String::from_utf8(body).unwrap().contains("<svg"));
    let mut browser = Client::connect(address).await;
    browser.send("GET /-/ HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert_eq!(browser.head().await.status, 403, "a browser that a web site has led here");
    for path in ["/v2/", "/metrics", "/healthz"] {
        assert_eq!(Client::connect(address).await.get(path).await.0.status, 404, "{path}");
    }
    let (head, body) = Client::connect(product.address).await.get("/-/").await;
    assert_eq!(head.status, 404);
    assert!(String::from_utf8(body).unwrap().contains("page.listen"));
}
