//! Calls of a platform's timer: the images of `[[warm]]` are fetched for those who have the token, or whom the platform let in.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fixture::{Client, Exchange, Product, Request, Setup, Shelf, Upstream, noise, one_upstream};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn config(store: &str, address: std::net::SocketAddr) -> String {
    let keys = format!("[cache]\nstore='file://{store}'\nmin_free='0'\n[timer]\ntoken='{TOKEN}'\n");
    let rule = "[[warm]]\nimages=['up.test/acme/app:v1']\nevery='24h'\n";
    one_upstream(&keys, address, rule)
}

/// The product as it runs on this platform, an upstream with an image, and the image's layer.
async fn stocked(platform: &str) -> (Product, Upstream, Shelf, String) {
    let shelf = Shelf::default();
    // Larger than any of these platforms carries in one answer.
    let [_, layer] = shelf.image("v1", &noise(1, 7 << 20));
    let upstream = shelf.serve(Duration::ZERO).await;
    let setup = Setup::new().variable("REGISTRY_PROXY_PLATFORM", platform);
    let store = setup.path().join("store").display().to_string();
    let text = config(&store, upstream.address);
    let product = setup.start(&text).await;
    (product, upstream, shelf, layer)
}

/// The status and text of the answer to a call.
async fn call(product: &Product, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut client = Client::connect(product.address).await;
    client.ask("POST", path, &format!("{headers}Content-Length: {}\r\n", body.len())).await;
    client.send(body).await;
    let head = client.head().await;
    let text = client.take(head.length().unwrap_or(0)).await;
    (head.status, String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_timer_with_the_token_has_the_images_fetched_before_it_is_answered() {
    for (platform, path, headers) in [
        ("cloud-run", "/-/timer", ""),
        ("tencent-scf", "/-/timer", ""),
        ("aliyun-fc", "/invoke", "x-fc-control-path: /invoke\r\n"),
    ] {
        let (product, upstream, _shelf, layer) = stocked(platform).await;
        let body = format!(r#"{{"triggerTime":"2026-07-13T23:00:00Z","triggerName":"warm","payload":"{TOKEN}"}}"#);
        for _ in 0..2 {
            let (status, text) = call(&product, path, headers, &body).await;
            assert_eq!(
                (status, text.as_str()),
                (200, r#"{"rules":1,"images":1,"complete":1,"is_ended":true}"#),
                "{platform}: {}",
                product.log()
            );
        }
        let of_layer = |request: &&Request| request.method == "GET" && request.path == layer;
        assert_eq!(upstream.seen().iter().filter(of_layer).count(), 1, "{platform}");
    }
}

#[tokio::test]
async fn nobody_else_can_have_images_fetched() {
    for (platform, path, headers) in [
        ("cloud-run", "/-/timer", ""),
        ("tencent-scf", "/-/timer", ""),
        ("aliyun-fc", "/invoke", "x-fc-control-path: /invoke\r\n"),
    ] {
        let (product, upstream, _shelf, _) = stocked(platform).await;
        for body in ["", "{}", r#"{"payload":""}"#, r#"{"payload":"0123456789abcdef0123456789abcdeX"}"#, TOKEN] {
            assert_eq!(call(&product, path, headers, body).await.0, 403, "{platform}: {body}");
        }
        let long = format!(r#"{{"payload":"{TOKEN}","more":"{}"}}"#, "x".repeat(5000));
        assert_eq!(call(&product, path, headers, &long).await.0, 400, "{platform}");
        let elsewhere = if platform == "aliyun-fc" { "/-/timer" } else { "/invoke" };
        let good = format!(r#"{{"payload":"{TOKEN}"}}"#);
        let (status, _) = call(&product, elsewhere, headers, &good).await;
        assert!((400..500).contains(&status), "{platform}: {status}");
        assert_eq!(upstream.seen().len(), 0, "{platform}");
        assert!(!product.log().contains(TOKEN), "{}", product.log());
    }
}

#[tokio::test]
async fn a_server_has_no_timer_and_a_function_without_a_token_refuses_all() {
    let (product, upstream, _shelf, _) = stocked("azure-container-apps").await;
    let good = format!(r#"{{"payload":"{TOKEN}"}}"#);
    for path in ["/-/timer", "/invoke"] {
        let (status, _) = call(&product, path, "x-fc-control-path: /invoke\r\n", &good).await;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    let setup = Setup::new().variable("REGISTRY_PROXY_PLATFORM", "cloud-run");
    let product = setup.start(&one_upstream("", upstream.address, "")).await;
    for body in [good.as_str(), r#"{"payload":""}"#, ""] {
        assert_eq!(call(&product, "/-/timer", "", body).await.0, 403, "{body}");
    }
}

/// The runtime API of AWS Lambda, which has this event once; and what the function answers to it.
async fn runtime_api(event: &'static str) -> (Upstream, Arc<Mutex<Vec<(String, String)>>>) {
    let (begun, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&answers);
    let api = Upstream::start(move |request: Request, mut exchange: Exchange| {
        let (begun, told) = (Arc::clone(&begun), Arc::clone(&told));
        async move {
            if request.method == "POST" {
                let body = exchange.body(&request).await;
                told.lock().unwrap().push((request.path, body));
                return exchange.answer("202 Accepted", "", b"").await;
            }
            if begun.fetch_add(1, Ordering::Relaxed) > 0 {
                exchange.until_gone().await;
                return None;
            }
            let headers = "Lambda-Runtime-Aws-Request-Id: 1\r\nLambda-Runtime-Deadline-Ms: 60000\r\n";
            exchange.answer("200 OK", headers, event.as_bytes()).await
        }
    })
    .await;
    (api, answers)
}

#[tokio::test]
async fn an_event_of_lambdas_timer_is_answered_when_the_images_are_there() {
    for (event, end, expected) in [
        (r#"{"registry-proxy/warm":{}}"#, "/1/response", r#""complete":1"#),
        (
            r#"{"registry-proxy/warm":{"images":["up.test/acme/app:v2"]}}"#,
            "/1/error",
            "not an event of this proxy",
        ),
        (r#"{"source":"aws.events","detail-type":"Scheduled Event"}"#, "/1/error", "not an event of this proxy"),
    ] {
        let shelf = Shelf::default();
        shelf.image("v1", &noise(1, 7 << 20));
        let upstream = shelf.serve(Duration::ZERO).await;
        let (api, answers) = runtime_api(event).await;
        let setup = Setup::new().variable("AWS_LAMBDA_RUNTIME_API", &api.address.to_string());
        let store = setup.path().join("store").display().to_string();
        let file = setup.file("proxy.toml", &config(&store, upstream.address));
        let mut command = setup.command(&["--config", &file]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        api.wait_for_requests(3).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let answers = answers.lock().unwrap();
        assert_eq!(answers.len(), 1, "{event}");
        assert!(answers[0].0.ends_with(end) && answers[0].1.contains(expected), "{event}: {answers:?}");
    }
}
