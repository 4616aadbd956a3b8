//! Bounds on what grows.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::net::TcpListener;

use crate::fixture::{
    Client, Exchange, Gate, Product, Request, Upstream, Wire, blob_path, content, one_upstream, soon,
};

#[tokio::test]
async fn a_request_head_that_is_too_large_is_431() {
    let product = Product::start(&one_upstream("", crate::fixture::closed_port(), "")).await;
    for bytes in [60 << 10, 66 << 10, 200 << 10] {
        let mut client = Client::connect(product.address).await;
        client.send("GET /v2/ HTTP/1.1\r\nHost: p\r\nX-Long: ").await;
        // What is refused may be refused before it has come whole.
        let long = vec![b'x'; bytes];
        let _ = soon("send", tokio::io::AsyncWriteExt::write_all(&mut client.wire, &long)).await;
        let _ = soon("send", tokio::io::AsyncWriteExt::write_all(&mut client.wire, b"\r\n\r\n")).await;
        let expected = if bytes < 64 << 10 { 200 } else { 431 };
        assert_eq!(client.head().await.status, expected, "{bytes} bytes");
    }
}

#[tokio::test]
async fn connections_above_the_limit_wait_and_are_served_when_one_closes() {
    let product =
        Product::start(&one_upstream("[limits]\nconnections = 2", crate::fixture::closed_port(), "")).await;
    let mut first = Client::connect(product.address).await;
    let mut second = Client::connect(product.address).await;
    assert_eq!(first.get("/healthz").await.0.status, 200);
    assert_eq!(second.get("/healthz").await.0.status, 200);
    let mut third = Client::connect(product.address).await;
    third.ask("GET", "/v2/", "").await;
    let early = tokio::time::timeout(Duration::from_millis(300), third.more()).await;
    assert!(early.is_err() && third.has_nothing(), "served above the limit");
    let mut health = Client::connect(product.address).await;
    assert_eq!(health.get("/healthz").await.0.status, 200, "there are places for health beyond the limit");
    drop(first);
    assert_eq!(third.head().await.status, 200);
    assert_eq!(second.get("/healthz").await.0.status, 200);
}

#[tokio::test]
async fn a_request_that_gets_no_place_is_told_so_and_its_connection_ends() {
    let keys = "[limits]\nconnections = 1\n[timeouts]\nfirst_byte = '500ms'\nhead = '1s'";
    let product = Product::start(&one_upstream(keys, crate::fixture::closed_port(), "")).await;
    let mut first = Client::connect(product.address).await;
    assert_eq!(first.get("/healthz").await.0.status, 200);
    let mut late = Client::connect(product.address).await;
    late.ask("GET", "/v2/", "").await;
    let head = late.head().await;
    assert_eq!((head.status, head.get("connection")), (503, Some("close")), "{}", head.text);
    soon("its end", late.rest()).await;
    drop(first);
    let again = async { while Client::connect(product.address).await.get("/v2/").await.0.status != 200 {} };
    soon("a place", again).await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_does_not_keep_its_place_for_ever() {
    let product = Product::start(&one_upstream(
        "[limits]\nconnections = 2\n[timeouts]\nclient_idle = \"1s\"",
        crate::fixture::closed_port(),
        "",
    ))
    .await;
    let mut silent = Client::connect(product.address).await;
    let mut hesitant = Client::connect(product.address).await;
    hesitant.send("P").await;
    let both = async {
        let mut byte = [0];
        for client in [&mut silent, &mut hesitant] {
            let read = tokio::io::AsyncReadExt::read(&mut client.wire, &mut byte).await;
            assert!(matches!(read, Ok(0) | Err(_)), "an answer to nothing");
        }
    };
    crate::fixture::within(Duration::from_secs(20), "the end of silent connections", both).await;
    assert_eq!(Client::connect(product.address).await.get("/healthz").await.0.status, 200);
}

#[tokio::test]
async fn an_upstream_gets_no_more_requests_at_once_than_its_cap() {
    let gate = Gate::default();
    let (held, bytes) = (gate.clone(), content(300_000));
    let upstream = Upstream::start(move |request: Request, exchange: Exchange| {
        let (gate, bytes) = (held.clone(), bytes.clone());
        async move {
            gate.pass().await;
            exchange.blob(&request, &bytes).await
        }
    })
    .await;
    let product = Product::start(&one_upstream("", upstream.address, "max_connections = 2")).await;
    let address = product.address;
    let clients: Vec<_> = (0..8)
        .map(|_| tokio::spawn(async move { Client::connect(address).await.get(&blob_path()).await.0.status }))
        .collect();
    upstream.wait_for_requests(2).await;
    // Nothing more may come now, and only time can tell.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(upstream.seen().len(), 2);
    gate.open();
    for client in clients {
        assert_eq!(soon("a client", client).await.unwrap(), 200);
    }
    assert_eq!(upstream.seen().len(), 8);
}

/// Serves a blob, and tells how many connections there were at once.
///
/// It may hear of a new connection before it hears of the end of an old one, though the old one ended first. So with
/// each new one it looks at all others again: whichever has not sent its FIN by then was there beside it.
async fn counting_upstream(bytes: Vec<u8>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, peak) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (most, bytes) = (Arc::clone(&peak), Arc::new(bytes));
    tokio::spawn(async move {
        let mut open: Vec<OwnedFd> = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.retain(|other| {
                let seen = rustix::net::recv(other, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
                seen.map_or_else(|error| error == Errno::AGAIN, |(read, _)| read > 0)
            });
            open.push(stream.as_fd().try_clone_to_owned().unwrap());
            most.fetch_max(open.len(), Ordering::Relaxed);
            let bytes = Arc::clone(&bytes);
            tokio::spawn(async move {
                let mut exchange = Exchange { wire: Wire::Plain(stream), buffer: Vec::new() };
                while let Some(request) = exchange.next().await {
                    exchange = exchange.blob(&request, &bytes).await?;
                }
                Some(())
            });
        }
    });
    (address, peak)
}

/// "Connections to it at once": those that wait in a pool would be connections too, so none waits.
#[tokio::test]
async fn a_capped_upstream_has_no_more_connections_than_its_cap() {
    let (upstream, peak) = counting_upstream(content(300_000)).await;
    let product = Product::start(&one_upstream("", upstream, "max_connections = 2")).await;
    let address = product.address;
    let clients: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..8 {
                    let mut client = Client::connect(address).await;
                    assert_eq!(client.get(&blob_path()).await.0.status, 200);
                    // A place in the queue of requests is free again before such a connection is closed.
                    client.ask("HEAD", &blob_path(), "").await;
                    assert_eq!(client.head().await.status, 200);
                    client.ask("GET", &blob_path(), "").await;
                    assert_eq!(client.head().await.status, 200);
                    drop(client);
                }
            })
        })
        .collect();
    for client in clients {
        soon("a client", client).await.unwrap();
    }
    assert_eq!(peak.load(Ordering::Relaxed), 2);
}

/// None lies idle while another is waited for.
#[tokio::test]
async fn a_capped_upstream_has_no_idle_connections() {
    let upstream = Upstream::of_blob(content(300_000)).await;
    let product = Product::start(&one_upstream("", upstream.address, "max_connections = 2")).await;
    assert_eq!(Client::connect(product.address).await.get(&blob_path()).await.0.status, 200);
    upstream.wait_until_left().await;
}

/// Each has connections of its own, so what the cap counts is what is under way on either.
#[tokio::test]
async fn manifests_and_blobs_share_the_cap_of_their_upstream() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::start(move |_, exchange: Exchange| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
            exchange.answer("200 OK", kind, b"{\"schemaVersion\":2,\"layers\":[]}").await
        }
    })
    .await;
    let product = Product::start(&one_upstream("", upstream.address, "max_connections = 1")).await;
    let mut manifest = Client::connect(product.address).await;
    manifest.ask("GET", "/v2/acme/app/manifests/latest", "").await;
    upstream.wait_for_requests(1).await;
    let mut blob = Client::connect(product.address).await;
    blob.ask("GET", &blob_path(), "").await;
    let early = tokio::time::timeout(Duration::from_millis(300), upstream.wait_for_requests(2)).await;
    assert!(early.is_err(), "two at once");
    gate.open();
    assert_eq!((manifest.head().await.status, blob.head().await.status), (200, 200));
}

/// What leads on must let go of its connection first, though nobody reads its body.
#[tokio::test]
async fn a_redirect_whose_body_nobody_reads_does_not_hold_the_only_connection() {
    let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| async move {
        if request.path.starts_with("/storage") {
            return exchange.blob(&request, &content(5000)).await;
        }
        let head = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /storage/blob\r\nContent-Length: 1000000\r\n\r\n";
        exchange.write(head).await;
        exchange.write(vec![b'x'; 100_000]).await;
        exchange.until_gone().await;
        None
    })
    .await;
    let product = Product::start(&one_upstream("", upstream.address, "max_connections = 1")).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_eq!((head.status, body == content(5000)), (200, true), "{}", product.log());
}
