//! An upstream that breaks off in the middle of a body (P-115 … P-117).

use std::error::Error as _;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request as HttpRequest;

use crate::fixture::{
    Client, End, Exchange, Product, Request, Setup, Upstream, blob_path, content, h2_over, one_upstream, soon,
};

const TOTAL: usize = 3 << 20;
const HALF: usize = TOTAL / 2;

/// How a body breaks.
#[derive(Clone, Copy)]
enum Break {
    Fin,
    Reset,
}

/// Breaks whatever is asked without a range; then serves ranges.
async fn breaking(how: Break, bytes: Vec<u8>) -> Upstream {
    let bytes = Arc::new(bytes);
    Upstream::start(move |request: Request, mut exchange: Exchange| {
        let bytes = Arc::clone(&bytes);
        async move {
            if request.get("range").is_some() {
                return exchange.blob(&request, &bytes).await;
            }
            exchange.begin(bytes.len(), &bytes[..bytes.len() / 2]).await;
            match how {
                Break::Fin => drop(exchange),
                Break::Reset => exchange.wire.reset(),
            }
            None
        }
    })
    .await
}

/// Breaks, and knows the blob no more.
async fn gone_for_good(bytes: Vec<u8>) -> Upstream {
    let bytes = Arc::new(bytes);
    Upstream::start(move |request: Request, mut exchange: Exchange| {
        let bytes = Arc::clone(&bytes);
        async move {
            if request.get("range").is_some() {
                return exchange.answer("404 Not Found", "", b"").await;
            }
            exchange.begin(bytes.len(), &bytes[..bytes.len() / 2]).await;
            None
        }
    })
    .await
}

#[tokio::test]
async fn a_fin_in_the_middle_of_a_body_is_resumed_by_range_and_no_byte_is_lost() {
    let bytes = content(TOTAL);
    let upstream = breaking(Break::Fin, bytes.clone()).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    let (head, body) = client.get(&blob_path()).await;
    assert_eq!((head.status, head.length()), (200, Some(TOTAL)));
    assert!(body == bytes, "other bytes");
    let seen = upstream.wait_for_requests(2).await;
    assert_eq!(seen[1].get("range"), Some(format!("bytes={HALF}-{}", TOTAL - 1).as_str()));
    // The connection to the client is as good as ever.
    assert_eq!(client.get("/healthz").await.0.status, 200);
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body_is_resumed_by_range_and_no_byte_is_lost() {
    let bytes = content(TOTAL);
    let upstream = breaking(Break::Reset, bytes.clone()).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_eq!((head.status, head.length()), (200, Some(TOTAL)));
    assert!(body == bytes, "other bytes");
    assert!(upstream.wait_for_requests(2).await[1].get("range").is_some());
}

#[tokio::test]
async fn a_range_that_breaks_is_resumed_within_its_own_bounds() {
    let bytes = Arc::new(content(TOTAL));
    let served = Arc::clone(&bytes);
    let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| {
        let bytes = Arc::clone(&served);
        async move {
            if request.get("range") != Some("bytes=1000-500000") {
                return exchange.blob(&request, &bytes).await;
            }
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 499001\r\nContent-Range: bytes 1000-500000/{TOTAL}\r\n\r\n"
            );
            exchange.write(head).await;
            exchange.write(&bytes[1000..3000]).await;
            None
        }
    })
    .await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    let (head, body) = client.get_with(&blob_path(), "Range: bytes=1000-500000\r\n").await;
    assert_eq!(head.status, 206);
    assert_eq!(head.get("content-range"), Some(format!("bytes 1000-500000/{TOTAL}").as_str()));
    assert!(body == bytes[1000..=500_000], "other bytes");
    assert_eq!(upstream.wait_for_requests(2).await[1].get("range"), Some("bytes=3000-500000"));
}

#[tokio::test]
async fn a_body_that_cannot_be_resumed_ends_short_by_fin_and_not_by_reset() {
    let bytes = content(TOTAL);
    let upstream = gone_for_good(bytes.clone()).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    assert_eq!(client.head().await.length(), Some(TOTAL));
    let (body, end) = client.rest().await;
    assert_eq!(end, End::Fin);
    assert!(body == bytes[..HALF], "{} bytes", body.len());
    assert!(product.wait_for_line("end=broken").await.contains(&format!("size_bytes={HALF}")));
}

#[tokio::test]
async fn an_upstream_that_goes_away_altogether_is_asked_again_a_few_times_before_the_body_ends_by_fin() {
    let bytes = content(TOTAL);
    let mut upstream = gone_for_good(bytes.clone()).await;
    // Each try waits until the address may be asked again.
    let product = Product::start(&one_upstream("[timeouts]\ndown = \"200ms\"", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    upstream.wait_for_requests(1).await;
    upstream.close().await;
    assert_eq!(client.head().await.status, 200);
    let (body, end) = client.rest().await;
    assert_eq!(end, End::Fin);
    assert!(body == bytes[..HALF], "{} bytes", body.len());
    // One line for all of them, as an upstream that breaks would fill the log otherwise.
    assert_eq!(product.wait_for_lines("resuming where it stopped", 1).await.len(), 1);
}

#[tokio::test]
async fn over_http2_a_body_that_cannot_be_resumed_ends_by_rst_stream_and_the_connection_stays() {
    let upstream = gone_for_good(content(TOTAL)).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut sender = h2_over(Client::connect(product.address).await.wire).await;
    let ask =
        |path: &str| HttpRequest::get(format!("http://proxy.test{path}")).body(Empty::<Bytes>::new()).unwrap();
    let response = soon("head", sender.send_request(ask(&blob_path()))).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let error = loop {
        match soon("frame", body.frame()).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the stream ended as if it were whole"),
        }
    };
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("stream error"), "{error}: {cause}");
    let next = soon("head", sender.send_request(ask("/healthz"))).await.unwrap();
    assert_eq!(next.status(), 200, "the same connection");
}

#[tokio::test]
async fn a_chunked_body_that_breaks_ends_without_its_last_chunk() {
    let upstream = Upstream::start(|request: Request, mut exchange: Exchange| async move {
        if request.get("range").is_some() {
            return exchange.answer("404 Not Found", "", b"").await;
        }
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwor").await;
        None
    })
    .await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    let head = client.head().await;
    assert_eq!((head.status, head.get("transfer-encoding")), (200, Some("chunked")));
    let (body, end) = client.rest().await;
    let text = String::from_utf8_lossy(&body);
    assert!(text.contains("hello") && !text.ends_with("0\r\n\r\n"), "{text:?}");
    assert_eq!(end, End::Fin);
}

#[tokio::test]
async fn a_chunked_body_that_breaks_is_resumed() {
    let bytes = Arc::new(content(100_000));
    let served = Arc::clone(&bytes);
    let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| {
        let bytes = Arc::clone(&served);
        async move {
            if request.get("range").is_some() {
                return exchange.blob(&request, &bytes).await;
            }
            exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n").await;
            exchange.write(&bytes[..1000]).await;
            exchange.write("\r\n").await;
            None
        }
    })
    .await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    client.ask("GET", &blob_path(), "Connection: close\r\n").await;
    assert_eq!(client.head().await.status, 200);
    let (body, end) = client.rest().await;
    assert_eq!(end, End::Fin);
    assert!(body.ends_with(b"\r\n0\r\n\r\n"));
    assert!(unchunked(&body) == *bytes, "other bytes");
}

/// The content of a chunked body.
fn unchunked(mut text: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(end) = text.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&text[..end]).unwrap(), 16).unwrap();
        all.extend_from_slice(&text[end + 2..end + 2 + size]);
        text = &text[end + 4 + size..];
    }
    all
}

#[tokio::test]
async fn what_comes_from_the_storage_of_a_backend_is_resumed_there() {
    for how in [Break::Fin, Break::Reset] {
        let storage = breaking(how, content(TOTAL)).await;
        let backend =
            Upstream::start(|_: Request, exchange: Exchange| exchange.answer("404 Not Found", "", b"{}")).await;
        let setup = Setup::new()
            .variable("REGISTRY_BACKEND", &format!("http://{}", backend.address))
            .variable("DEFAULT_BACKEND_HOST", &format!("http://{}", storage.address));
        let product = setup.start("").await;
        let (head, body) = Client::connect(product.address).await.get("/store/a%2Fb?sig=x%3D").await;
        assert_eq!((head.status, body == content(TOTAL)), (200, true), "{}", product.log());
        let seen = storage.seen();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|request| request.path == "/store/a%2Fb?sig=x%3D"), "{seen:?}");
        let range = seen[1].get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        assert!(range.is_some_and(|(from, _)| from != "0"), "{range:?}");
        assert!(backend.seen().is_empty(), "the storage is asked, not the registry");
    }
}
