//! SIGTERM (P-124).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpStream;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request as HttpRequest;

use crate::fixture::{
    Client, End, Exchange, Gate, Product, Request, Upstream, blob_path, content, h2_over, one_upstream, soon,
};

const TOTAL: usize = 1 << 20;

/// Sends the beginning of a blob, and the rest when the gate opens.
async fn held(gate: &Gate) -> Upstream {
    let (gate, bytes) = (gate.clone(), Arc::new(content(TOTAL)));
    Upstream::start(move |_: Request, mut exchange: Exchange| {
        let (gate, bytes) = (gate.clone(), Arc::clone(&bytes));
        async move {
            exchange.begin(bytes.len(), &bytes[..1000]).await;
            gate.pass().await;
            exchange.write(&bytes[1000..]).await;
            Some(exchange)
        }
    })
    .await
}

#[tokio::test]
async fn sigterm_lets_a_download_end_and_takes_no_new_connections() {
    let gate = Gate::default();
    let upstream = held(&gate).await;
    let mut product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut idle = Client::connect(product.address).await;
    assert_eq!(idle.get("/readyz").await.0.status, 200);
    let mut client = Client::connect(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    assert_eq!(client.head().await.status, 200);

    product.signal(Signal::TERM);
    product.wait_for_line("stopping").await;
    assert!(TcpStream::connect(product.address).await.is_err(), "a new connection was accepted");
    assert_eq!(idle.rest().await, (Vec::new(), End::Fin), "an idle connection is closed");
    gate.open();
    assert!(client.take(TOTAL).await == content(TOTAL), "other bytes");
    assert_eq!(client.rest().await, (Vec::new(), End::Fin));
    assert_eq!(product.wait().await.code(), Some(0));
    product.wait_for_line("stopped").await;
}

#[tokio::test]
async fn readiness_is_503_while_it_drains_for_whoever_has_begun_to_ask() {
    let mut product = Product::start(&one_upstream("", crate::fixture::closed_port(), "")).await;
    let mut asking = Client::connect(product.address).await;
    asking.send("GET /readyz HTTP/1.1\r\nHost: ").await;
    // What came before this was read before this, on whichever thread it is.
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(Client::connect(product.address).await);
    }
    for other in &mut others {
        assert_eq!(other.get("/healthz").await.0.status, 200);
    }
    drop(others);
    product.signal(Signal::TERM);
    product.wait_for_line("stopping").await;
    asking.send("p\r\n\r\n").await;
    let head = asking.head().await;
    assert_eq!((head.status, head.get("connection")), (503, Some("close")));
    assert_eq!(product.wait().await.code(), Some(0));
}

#[tokio::test]
async fn what_is_left_when_the_drain_is_over_ends_short_by_fin() {
    let gate = Gate::default();
    let upstream = held(&gate).await;
    let mut product = Product::start(&one_upstream("[timeouts]\ndrain = '1s'", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    assert_eq!(client.head().await.status, 200);
    let started = Instant::now();
    product.signal(Signal::TERM);
    let (body, end) = client.rest().await;
    assert_eq!(end, End::Fin);
    assert!(body == content(TOTAL)[..1000], "{} bytes", body.len());
    assert_eq!(product.wait().await.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    product.wait_for_line("timeouts.drain is over").await;
}

#[tokio::test]
async fn told_twice_it_stops_at_once() {
    let gate = Gate::default();
    let upstream = held(&gate).await;
    let mut product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    assert_eq!(client.head().await.status, 200);
    product.signal(Signal::TERM);
    product.wait_for_line("stopping").await;
    product.signal(Signal::TERM);
    assert_eq!(client.rest().await.1, End::Fin);
    assert_eq!(product.wait().await.code(), Some(0));
}

#[tokio::test]
async fn without_connections_sigterm_and_sigint_end_it_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut product = Product::start(&one_upstream("", crate::fixture::closed_port(), "")).await;
        let started = Instant::now();
        product.signal(signal);
        assert_eq!(product.wait().await.code(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_client_that_has_said_nothing_does_not_hold_up_the_end() {
    let mut product = Product::start(&one_upstream("", crate::fixture::closed_port(), "")).await;
    let silent = Client::connect(product.address).await;
    // Accepted, for those behind it are.
    assert_eq!(Client::connect(product.address).await.get("/healthz").await.0.status, 200);
    let started = Instant::now();
    product.signal(Signal::TERM);
    assert_eq!(product.wait().await.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(silent.rest().await.1, End::Fin);
}

#[tokio::test]
async fn a_download_over_http2_ends_too() {
    let gate = Gate::default();
    let upstream = held(&gate).await;
    let mut product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut sender = h2_over(Client::connect(product.address).await.wire).await;
    let ask = HttpRequest::get(format!("http://p{}", blob_path())).body(Empty::<Bytes>::new()).unwrap();
    let response = soon("head", sender.send_request(ask)).await.unwrap();
    product.signal(Signal::TERM);
    product.wait_for_line("stopping").await;
    gate.open();
    assert!(
        soon("body", response.into_body().collect()).await.unwrap().to_bytes() == content(TOTAL),
        "other bytes"
    );
    assert_eq!(product.wait().await.code(), Some(0));
}
