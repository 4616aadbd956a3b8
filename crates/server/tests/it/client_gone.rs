//! Clients that leave, and clients that do not read (P-106).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::fixture::{Client, Exchange, Product, Request, Upstream, blob_path, content, one_upstream, soon};

const TOTAL: usize = 64 << 20;
const PIECE: usize = 64 << 10;

/// What the product itself may hold for a transfer that is alone: two reads of 4 MiB, one on its way out and one behind
/// it. Measured: 0.7 to 2.9 MiB.
const MOST_HELD: usize = 8 << 20;

/// Bytes in the kernel's queues on both ends of the connections to a port of this machine: the fifth column of
/// `/proc/net/tcp` is `tx_queue:rx_queue`.
fn in_kernel(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let port = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1].ends_with(&port) || row[2].ends_with(&port))
        .flat_map(|row| {
            row[4]
                .split(':')
                .map(|queue| usize::from_str_radix(queue, 16).expect("a hexadecimal number"))
                .collect::<Vec<_>>()
        })
        .sum()
}

/// A large blob, and how much of it has been accepted from the upstream.
async fn large() -> (Upstream, Arc<AtomicUsize>) {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let piece = Arc::new(content(PIECE));
    let upstream = Upstream::start(move |_: Request, mut exchange: Exchange| {
        let (counted, piece) = (Arc::clone(&counted), Arc::clone(&piece));
        async move {
            exchange.begin(TOTAL, &[]).await;
            for _ in 0..TOTAL / PIECE {
                if !exchange.write(&*piece).await {
                    return None;
                }
                counted.fetch_add(PIECE, Ordering::Relaxed);
            }
            Some(exchange)
        }
    })
    .await;
    (upstream, written)
}

/// Waits until nothing more is taken, and says how much was.
async fn standstill(written: &AtomicUsize) -> usize {
    soon("a standstill", async {
        let mut before = usize::MAX;
        loop {
            let now = written.load(Ordering::Relaxed);
            if now == before {
                return now;
            }
            before = now;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_upstreams_connection_and_nothing_else() {
    let (upstream, written) = large().await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    assert_eq!(client.head().await.length(), Some(TOTAL));
    client.take(1000).await;
    drop(client);
    upstream.wait_until_left().await;
    assert!(written.load(Ordering::Relaxed) < TOTAL);
    let line = product.wait_for_line("end=client left").await;
    assert!(line.contains("status=200") && line.contains("upstream=up.test"), "{line}");
    let mut next = Client::connect(product.address).await;
    next.ask("GET", &blob_path(), "").await;
    assert_eq!(next.head().await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_begins_ends_the_question() {
    let upstream = Upstream::start(|_: Request, mut exchange: Exchange| async move {
        exchange.until_gone().await;
        None
    })
    .await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    upstream.wait_for_requests(1).await;
    drop(client);
    // Sooner than by any deadline of ours.
    crate::fixture::within(Duration::from_secs(5), "the product to hang up", upstream.wait_until_left()).await;
    let line = product.wait_for_line("why=client left").await;
    for part in ["status=499", "outcome=abandoned", "end=client left", "endpoint=blob", "upstream=up.test"] {
        assert!(line.contains(part), "{line}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_upstream() {
    let (upstream, written) = large().await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect_narrow(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    assert_eq!(client.head().await.status, 200);
    let taken = standstill(&written).await;
    // The kernel queues far more, 8 to 13 MiB, and the product does not choose how much.
    let queued = in_kernel(upstream.address.port()) + in_kernel(product.address.port());
    let held = taken.saturating_sub(queued);
    assert!(held < MOST_HELD, "{held} bytes are held, of {taken} taken");
    assert!(product.peak_memory_kib() < 48 << 10, "{} KiB", product.peak_memory_kib());
    // It goes on where it stopped.
    assert_eq!(client.take(TOTAL).await.len(), TOTAL);
}

#[tokio::test]
async fn a_client_that_takes_no_bytes_for_too_long_is_left() {
    let (upstream, written) = large().await;
    let product = Product::start(&one_upstream("[timeouts]\nclient_stall = '1s'", upstream.address, "")).await;
    let mut client = Client::connect_narrow(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    assert_eq!(client.head().await.status, 200);
    upstream.wait_until_left().await;
    assert!(written.load(Ordering::Relaxed) < TOTAL);
    product.wait_for_line("end=client left").await;
    let (body, _) = client.rest().await;
    assert!(body.len() < TOTAL);
}
