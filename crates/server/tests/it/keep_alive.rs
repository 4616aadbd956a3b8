//! Several answers on one connection (P-79, P-111).

use crate::fixture::{BLOB, Client, Exchange, Product, Request, Upstream, blob_path, content, one_upstream};

#[tokio::test]
async fn many_small_blobs_come_over_one_connection_on_either_side() {
    let bytes = content(5000);
    let upstream = Upstream::of_blob(bytes.clone()).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    for number in 0..200 {
        let (head, body) = client.get(&blob_path()).await;
        assert_eq!((head.status, body == bytes), (200, true), "{number}");
    }
    assert_eq!(upstream.seen().len(), 200);
    assert!(upstream.accepted() <= 2, "{} connections to the upstream", upstream.accepted());
}

#[tokio::test]
async fn larger_blobs_leave_the_connection_usable() {
    let bytes = content(5 << 20);
    let upstream = Upstream::of_blob(bytes.clone()).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    for _ in 0..3 {
        let (head, body) = client.get(&blob_path()).await;
        assert_eq!((head.status, body == bytes), (200, true));
        assert_eq!(head.get("connection"), None);
    }
    assert_eq!(client.get("/v2/").await.0.status, 200);
}

#[tokio::test]
async fn an_error_leaves_the_connection_usable() {
    let upstream = Upstream::start(|_, exchange| exchange.answer("404 Not Found", "", b"{}")).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    for _ in 0..3 {
        assert_eq!(client.get(&blob_path()).await.0.status, 404);
    }
}

#[tokio::test]
async fn a_head_and_a_get_that_come_in_one_packet_are_answered_in_order() {
    let bytes = content(5000);
    let upstream = Upstream::of_blob(bytes.clone()).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    let path = blob_path();
    client.send(format!("HEAD {path} HTTP/1.1\r\nHost: p\r\n\r\nGET {path} HTTP/1.1\r\nHost: p\r\n\r\n")).await;
    // Were there a byte of a body, the next head would not begin with a status.
    let first = client.head().await;
    assert_eq!((first.status, first.length()), (200, Some(5000)));
    assert_eq!(first.get("transfer-encoding"), None);
    let second = client.head().await;
    assert!(second.text.starts_with("HTTP/1.1 200"), "{}", second.text);
    assert!(client.take(5000).await == bytes, "other bytes");
}

#[tokio::test]
async fn a_head_has_a_length_and_no_byte_behind_its_headers() {
    let upstream = Upstream::of_blob(content(5000)).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let missing = "/v2/acme/app/nonsense";
    for (path, status) in [(blob_path().as_str(), 200), ("/v2/", 200), (missing, 404)] {
        let mut client = Client::connect(product.address).await;
        client.ask("HEAD", path, "Connection: close\r\n").await;
        let head = client.head().await;
        assert_eq!(head.status, status, "{path}");
        assert!(head.length().is_some_and(|length| length > 0), "{}", head.text);
        assert_eq!(head.get("transfer-encoding"), None);
        assert_eq!(client.rest().await.0.len(), 0, "{path}");
    }
}

#[tokio::test]
async fn a_head_without_a_known_length_and_a_304_claim_none() {
    // A registry that tells no length, by HEAD or otherwise.
    let upstream = Upstream::start(|request: Request, mut exchange: Exchange| async move {
        let body = if request.method == "HEAD" { "" } else { "5\r\nhello\r\n0\r\n\r\n" };
        exchange
            .write(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"))
            .await
            .then_some(exchange)
    })
    .await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    for (headers, status) in [(String::new(), 200), (format!("If-None-Match: \"{BLOB}\"\r\n"), 304)] {
        client.ask("HEAD", &blob_path(), &headers).await;
        let head = client.head().await;
        assert_eq!((head.status, head.get("content-length")), (status, None), "P-79: not 0");
    }
    // Nothing stands behind those heads.
    assert_eq!(client.get("/v2/").await.0.status, 200);
}
