//! An upstream that says nothing, or is not there (P-112 … P-114, P-118).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fixture::{
    Authority, Client, Exchange, Product, Request, Upstream, blob_path, closed_port, content, one_upstream,
    server_config, soon, within,
};

const SOON: Duration = Duration::from_millis(100);

#[tokio::test]
async fn an_upstream_that_falls_silent_in_a_body_is_resumed() {
    let bytes = Arc::new(content(1 << 20));
    let served = Arc::clone(&bytes);
    let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| {
        let bytes = Arc::clone(&served);
        async move {
            if request.get("range").is_some() {
                return exchange.blob(&request, &bytes).await;
            }
            exchange.begin(bytes.len(), &bytes[..1000]).await;
            exchange.until_gone().await;
            None
        }
    })
    .await;
    let product = Product::start(&one_upstream("[timeouts]\nidle = '1s'", upstream.address, "")).await;
    let started = Instant::now();
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_eq!(head.status, 200);
    assert!(body == *bytes, "other bytes");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(upstream.wait_for_requests(2).await[1].get("range"), Some("bytes=1000-1048575"));
    product.wait_for_line("nothing arrived").await;
}

#[tokio::test]
async fn a_slow_upstream_is_not_a_silent_one() {
    let bytes = Arc::new(content(30));
    let served = Arc::clone(&bytes);
    let upstream = Upstream::start(move |_: Request, mut exchange: Exchange| {
        let bytes = Arc::clone(&served);
        async move {
            exchange.begin(bytes.len(), &[]).await;
            // Slowness itself is the matter here: a byte well within each interval of silence.
            let mut pace = tokio::time::interval(Duration::from_millis(100));
            for byte in bytes.iter() {
                pace.tick().await;
                exchange.write([*byte]).await;
            }
            Some(exchange)
        }
    })
    .await;
    let product = Product::start(&one_upstream("[timeouts]\nidle = '1s'", upstream.address, "")).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_eq!((head.status, body == *bytes), (200, true));
    assert_eq!(upstream.seen().len(), 1, "nothing was asked twice");
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_504_and_then_left_alone() {
    let upstream = Upstream::start(|_: Request, mut exchange: Exchange| async move {
        exchange.until_gone().await;
        None
    })
    .await;
    let product = Product::start(&one_upstream("[timeouts]\nfirst_byte = '500ms'", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    let started = Instant::now();
    let (head, body) = client.get(&blob_path()).await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_is_unavailable(head.status, head.get("content-type"), &body);
    let (head, body) = within(SOON, "an answer while the address rests", client.get(&blob_path())).await;
    assert_is_unavailable(head.status, head.get("content-type"), &body);
    assert_eq!(upstream.seen().len(), 1, "it is not asked while it rests");
}

#[tokio::test]
async fn a_refused_connection_is_504_at_once_and_the_ping_answers_all_the_same() {
    let product = Product::start(&one_upstream("", closed_port(), "")).await;
    let mut client = Client::connect(product.address).await;
    assert_eq!(client.get("/v2/").await.0.status, 200, "before anything was asked");
    for _ in 0..2 {
        let (head, body) = within(Duration::from_secs(1), "a refusal", client.get(&blob_path())).await;
        assert_is_unavailable(head.status, head.get("content-type"), &body);
    }
    let (head, body) = within(SOON, "an answer while the address rests", client.get(&blob_path())).await;
    assert_is_unavailable(head.status, head.get("content-type"), &body);
    assert_eq!(within(SOON, "the ping", client.get("/v2/")).await.0.status, 200);
    assert_eq!(within(SOON, "readiness", client.get("/readyz")).await.0.status, 200);
}

#[tokio::test]
async fn an_address_that_rests_is_tried_again_and_serves() {
    let address = closed_port();
    let product = Product::start(&one_upstream("[timeouts]\ndown = '300ms'", address, "")).await;
    let mut client = Client::connect(product.address).await;
    assert_eq!(client.get(&blob_path()).await.0.status, 504);
    let _upstream = Upstream::of_blob_at(address, content(10)).await;
    let served = async { while client.get(&blob_path()).await.0.status != 200 {} };
    soon("the address to be tried again", served).await;
}

#[tokio::test]
async fn an_address_that_is_down_costs_no_client_an_answer_where_another_one_lives() {
    let (dead, second) = (closed_port(), Upstream::of_blob(content(10)).await);
    let product = Product::start(&format!(
        "[[upstream]]\nname='up.test'\nurls=['http://{dead}','http://{}']\ninsecure=true\ndefault=true",
        second.address
    ))
    .await;
    let mut client = Client::connect(product.address).await;
    for _ in 0..3 {
        assert_eq!(client.get(&blob_path()).await.0.status, 200);
    }
}

#[tokio::test]
async fn an_upstream_that_hangs_up_without_an_answer_is_504() {
    let upstream = Upstream::start(|_: Request, exchange: Exchange| async move {
        exchange.wire.reset();
        None
    })
    .await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_is_unavailable(head.status, head.get("content-type"), &body);
}

#[tokio::test]
async fn a_504_says_why_there_was_no_connection_and_names_no_address() {
    let stranger = Upstream::start_tls(
        server_config(&Authority::new().issue()),
        |_: Request, exchange: Exchange| async move { Some(exchange) },
    )
    .await;
    // It takes connections, and says nothing in them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (url, why) in [
        ("https://registry.invalid".to_owned(), "its host name was not resolved"),
        (format!("http://{}", closed_port()), "the connection was refused"),
        (format!("https://{}", stranger.address), "its certificate was not accepted"),
        (format!("https://{}", silent.local_addr().unwrap()), "the connection timed out"),
    ] {
        // Plain http is for test registries; a certificate is looked at.
        let insecure = url.starts_with("http://");
        let toml = format!(
            "[timeouts]\nconnect='1s'\n[[upstream]]\nname='up.test'\nurls=['{url}']\ndefault=true\ninsecure={insecure}"
        );
        let product = Product::start(&toml).await;
        let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
        assert_is_unavailable(head.status, head.get("content-type"), &body);
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let told = format!("the registry up.test gave no usable answer: {why}");
        assert_eq!(json["errors"][0]["message"], told, "{}", product.log());
    }
}

fn assert_is_unavailable(status: u16, kind: Option<&str>, body: &[u8]) {
    assert_eq!((status, kind), (504, Some("application/json")));
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(json["errors"][0]["code"], "UNAVAILABLE");
}
