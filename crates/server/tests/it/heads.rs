//! Heads of requests that are none, by raw sockets (RFC 9112).

use crate::fixture::{Client, End, Product, closed_port, one_upstream};

/// The status of the answer to these bytes, and what comes behind its connection's end.
async fn status_of(product: &Product, head: &str) -> (u16, Vec<u8>, End) {
    let mut client = Client::connect(product.address).await;
    client.send(head).await;
    let status = client.head().await.status;
    let (rest, end) = client.rest().await;
    (status, rest, end)
}

#[tokio::test]
async fn one_host_and_no_more_on_http_1_1() {
    let product = Product::start(&one_upstream("", closed_port(), "")).await;
    let close = "Connection: close\r\n";
    for (fields, expected) in [
        ("", 400),
        ("Host: a.test\r\nHost: b.test\r\n", 400),
        ("Host: a.test\r\nHost: a.test\r\n", 400),
        ("Host: a.test, b.test\r\n", 400),
        ("Host: a.test\r\n", 200),
    ] {
        let (status, _, _) = status_of(&product, &format!("GET /v2/ HTTP/1.1\r\n{close}{fields}\r\n")).await;
        assert_eq!(status, expected, "{fields:?}");
    }
    // Nobody had to send one before HTTP/1.1.
    assert_eq!(status_of(&product, "GET /healthz HTTP/1.0\r\n\r\n").await.0, 200);
}

#[tokio::test]
async fn a_transfer_encoding_that_is_said_twice_is_400_and_what_follows_is_no_request() {
    let product = Product::start(&one_upstream("", closed_port(), "")).await;
    let next = "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: p\r\n\r\n";
    for fields in
        ["Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked, chunked\r\n"]
    {
        let (status, rest, _) =
            status_of(&product, &format!("POST /v2/ HTTP/1.1\r\nHost: p\r\n{fields}\r\n{next}")).await;
        let rest = String::from_utf8(rest).unwrap();
        assert_eq!((status, rest.contains("HTTP/1.1")), (400, false), "{fields:?}: {rest}");
    }
}

#[tokio::test]
async fn a_method_that_nobody_knows_is_501_and_does_not_fill_the_log() {
    let product = Product::start(&one_upstream("", closed_port(), "")).await;
    let method = "M".repeat(60_000);
    let (status, _, _) = status_of(&product, &format!("{method} /v2/ HTTP/1.1\r\nHost: p\r\n\r\n")).await;
    assert_eq!(status, 501);
    assert_eq!(Client::connect(product.address).await.get("/v2/").await.0.status, 200);
    product.wait_for_line("GET 200").await;
    let longest = product.log().lines().map(str::len).max();
    assert!(longest < Some(1000), "a line of {longest:?} bytes");
}
