//! Uploads, as they pass through (P-133).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::fixture::{BLOB, Client, Exchange, Gate, Head, Product, Request, Upstream, one_upstream};

const TOTAL: usize = 64 << 20;
const PIECE: usize = 256 << 10;

/// Takes uploads, no byte of them before the gate opens.
async fn registry(gate: &Gate, taken: &Arc<AtomicUsize>) -> Upstream {
    let (gate, taken) = (gate.clone(), Arc::clone(taken));
    Upstream::start(move |request: Request, mut exchange: Exchange| {
        let (gate, taken) = (gate.clone(), Arc::clone(&taken));
        async move {
            match request.method.as_str() {
                "POST" => {
                    let headers = "Location: /v2/acme/app/blobs/uploads/u1?state=s\r\nDocker-Upload-UUID: u1\r\n";
                    exchange.answer("202 Accepted", headers, b"").await
                }
                "PATCH" => {
                    gate.pass().await;
                    let length = request.length();
                    if !exchange.drain(length).await {
                        return None;
                    }
                    taken.fetch_add(length, Ordering::Relaxed);
                    let headers = format!(
                        "Location: /v2/acme/app/blobs/uploads/u1?state=t\r\nRange: 0-{}\r\n",
                        length.saturating_sub(1)
                    );
                    exchange.answer("202 Accepted", &headers, b"").await
                }
                "PUT" => exchange.answer("201 Created", &format!("Docker-Content-Digest: {BLOB}\r\n"), b"").await,
                _ => exchange.answer("200 OK", "", b"{}").await,
            }
        }
    })
    .await
}

async fn begin(client: &mut Client) -> String {
    client.ask("POST", "/v2/acme/app/blobs/uploads/", "Content-Length: 0\r\n").await;
    let head = client.head().await;
    assert_eq!(head.status, 202, "{}", head.text);
    location(&head)
}

fn location(head: &Head) -> String {
    head.get("location").unwrap_or_else(|| panic!("no Location: {}", head.text)).to_owned()
}

#[tokio::test]
async fn an_upload_of_64_mib_is_announced_streamed_and_never_held() {
    let (gate, taken) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let upstream = registry(&gate, &taken).await;
    let product = Product::start(&one_upstream("", upstream.address, "push = true")).await;
    let mut client = Client::connect(product.address).await;
    let path = begin(&mut client).await;
    client.ask("PATCH", &path, &format!("Content-Length: {TOTAL}\r\nExpect: 100-continue\r\n")).await;
    assert_eq!(client.head().await.status, 100);
    let piece = vec![7; PIECE];
    // The upstream takes nothing yet, so soon we may not send.
    let mut sent = 0;
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), tokio::io::AsyncWriteExt::write(&mut client.wire, &piece))
            .await
    {
        sent += written.unwrap();
        assert!(sent < 32 << 20, "{sent} bytes are held somewhere");
    }
    gate.open();
    while sent < TOTAL {
        let next = (TOTAL - sent).min(PIECE);
        client.send(&piece[..next]).await;
        sent += next;
    }
    let head = client.head().await;
    assert_eq!((head.status, taken.load(Ordering::Relaxed)), (202, TOTAL), "{}", head.text);
    assert!(product.peak_memory_kib() < 48 << 10, "{} KiB", product.peak_memory_kib());

    let path = location(&head);
    client.ask("PUT", &format!("{path}&digest={BLOB}"), "Content-Length: 0\r\n").await;
    let head = client.head().await;
    assert_eq!(head.status, 201, "{}", head.text);
    let chunk = upstream.seen().into_iter().find(|request| request.method == "PATCH").unwrap();
    assert_eq!((chunk.length(), chunk.path.as_str()), (TOTAL, "/v2/acme/app/blobs/uploads/u1?state=s"));
}

#[tokio::test]
async fn a_chunked_upload_passes_as_it_comes() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| {
        let gate = held.clone();
        async move {
            match request.method.as_str() {
                "POST" => {
                    exchange.answer("202 Accepted", "Location: /v2/acme/app/blobs/uploads/u1\r\n", b"").await
                }
                "PATCH" => {
                    // Two pieces, the second only after the first has arrived here.
                    let is_first = exchange.drain("5\r\nhello\r\n".len()).await;
                    gate.open();
                    let is_rest = exchange.drain("5\r\nworld\r\n0\r\n\r\n".len()).await;
                    (is_first && is_rest).then_some(())?;
                    exchange.answer("202 Accepted", "Location: /v2/acme/app/blobs/uploads/u1\r\n", b"").await
                }
                _ => exchange.answer("200 OK", "", b"{}").await,
            }
        }
    })
    .await;
    let product = Product::start(&one_upstream("", upstream.address, "push = true")).await;
    let mut client = Client::connect(product.address).await;
    let path = begin(&mut client).await;
    client.ask("PATCH", &path, "Transfer-Encoding: chunked\r\n").await;
    client.send("5\r\nhello\r\n").await;
    crate::fixture::soon("the first piece at the upstream", gate.pass()).await;
    client.send("5\r\nworld\r\n0\r\n\r\n").await;
    assert_eq!(client.head().await.status, 202);
}

/// An upload of which a thousand bytes of a million have been sent, and what the registry has taken of whole ones.
async fn under_way() -> (Upstream, Product, Client, Arc<AtomicUsize>) {
    let (gate, taken) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    gate.open();
    let upstream = registry(&gate, &taken).await;
    let product = Product::start(&one_upstream("", upstream.address, "push = true")).await;
    let mut client = Client::connect(product.address).await;
    let path = begin(&mut client).await;
    client.ask("PATCH", &path, "Content-Length: 1000000\r\n").await;
    client.send(vec![7; 1000]).await;
    upstream.wait_for_requests(3).await;
    (upstream, product, client, taken)
}

#[tokio::test]
async fn a_client_that_leaves_in_an_upload_ends_it_at_the_upstream_unfinished() {
    let (upstream, product, client, taken) = under_way().await;
    let is_patch = |request: &Request| request.method == "PATCH";
    assert!(upstream.seen().iter().any(is_patch));
    drop(client);
    // Its connection cannot be used again; whichever others are idle may stay.
    crate::fixture::soon("the product to hang up", async {
        while upstream.open() > upstream.accepted() - 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(taken.load(Ordering::Relaxed), 0);
    assert_eq!(Client::connect(product.address).await.get("/v2/").await.0.status, 200);
}

#[tokio::test]
async fn a_push_that_is_cut_in_front_of_us_is_not_blamed_on_the_registry() {
    let (_upstream, product, mut client, _) = under_way().await;
    // As nginx does behind its client_body_timeout: it ends its own side, and reads on.
    tokio::io::AsyncWriteExt::shutdown(&mut client.wire).await.unwrap();
    let line = product.wait_for_line("method=PATCH").await;
    let status = |status: &str| line.contains(&format!("status={status} "));
    assert!(status("400") || status("499"), "{line}");
    assert!(!product.log().contains("upstream gave no answer"), "{}", product.log());
    assert_eq!(product.metric("registry_proxy_requests_total", "status=\"5").await, 0);
    assert_eq!(product.metric("registry_proxy_upstream_seconds_count", "status=\"none\"").await, 0);
}

#[tokio::test]
async fn where_push_is_off_an_upload_is_405_and_no_byte_of_it_is_wanted() {
    let upstream = Upstream::of_blob(Vec::new()).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    client.ask("POST", "/v2/acme/app/blobs/uploads/", "Content-Length: 1000\r\nExpect: 100-continue\r\n").await;
    let head = client.head().await;
    assert_eq!(head.status, 405, "{}", head.text);
    assert!(upstream.seen().is_empty());
}
