//! How many connections there are, whose they are, and what is kept for those who ask whether we are well.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::fixture::{Client, Product, Setup, closed_port, one_upstream, soon, within};

/// A connection from an address of this machine's own.
async fn connect_from(product: &Product, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
    soon("connect", socket.connect(product.address)).await.unwrap()
}

/// The status of an answer on this connection; `None`: it was closed.
async fn status_on(mut stream: TcpStream, path: &str) -> Option<u16> {
    use tokio::io::AsyncWriteExt as _;
    let asked = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: p\r\n\r\n").as_bytes()).await;
    asked.ok()?;
    let mut head = [0; 12];
    soon("an answer", stream.read_exact(&mut head)).await.ok()?;
    std::str::from_utf8(&head[9..]).unwrap().parse().ok()
}

#[tokio::test]
async fn one_address_has_its_share_of_connections_and_others_are_served() {
    let product = Product::start(&one_upstream(
        "[limits]\nconnections = 20\nconnections_per_address = 10",
        closed_port(),
        "",
    ))
    .await;
    let mut idle = Vec::new();
    for _ in 0..30 {
        idle.push(connect_from(&product, 2).await);
    }
    product.wait_for_line("connections_per_address").await;
    assert_eq!(status_on(connect_from(&product, 2).await, "/v2/").await, None, "an eleventh");
    assert_eq!(status_on(connect_from(&product, 3).await, "/v2/").await, Some(200), "another address");
    drop(idle);
    soon("places", async { while status_on(connect_from(&product, 2).await, "/v2/").await != Some(200) {} }).await;
}

#[tokio::test]
async fn of_an_address_with_too_many_connections_the_log_says_what_it_may() {
    for (choice, shown) in [("full", "client=127.0.0.2"), ("network", "client=127.0.0.0/24"), ("none", "")] {
        let keys = format!("[limits]\nconnections_per_address = 1\n[log]\nclient = '{choice}'");
        let product = Product::start(&one_upstream(&keys, closed_port(), "")).await;
        let _open = [connect_from(&product, 2).await, connect_from(&product, 2).await];
        let line = product.wait_for_line("connections_per_address").await;
        let told = line.split(' ').find(|part| part.starts_with("client=")).unwrap_or_default();
        assert_eq!(told, shown, "{line}");
        assert_eq!(line.contains("127.0.0"), choice != "none", "{line}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_may_have_any_number() {
    let keys = "trusted_proxies = ['127.0.0.2/32']\n[limits]\nconnections_per_address = 2";
    let product = Product::start(&one_upstream(keys, closed_port(), "")).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(connect_from(&product, 2).await);
    }
    assert_eq!(status_on(connect_from(&product, 2).await, "/v2/").await, Some(200));
}

#[tokio::test]
async fn health_is_answered_while_every_place_is_taken() {
    let keys = "[limits]\nconnections = 30\nconnections_per_address = 200";
    let product = Product::start(&one_upstream(keys, closed_port(), "")).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(Client::connect(product.address).await);
    }
    // Those beyond the places for everybody are left after a moment, and so there is always one for health.
    let begun = Instant::now();
    for path in ["/healthz", "/readyz", "/metrics", "/healthz"] {
        let mut health = Client::connect(product.address).await;
        assert_eq!(health.get(path).await.0.status, 200, "{path}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_new_connection_that_says_nothing_is_left_soon_and_one_that_has_asked_is_kept() {
    let keys = "[timeouts]\nclient_first_byte = '500ms'";
    let product = Product::start(&one_upstream(keys, closed_port(), "")).await;
    let mut asked = Client::connect(product.address).await;
    assert_eq!(asked.get("/v2/").await.0.status, 200);
    let mut silent = Client::connect(product.address).await;
    let begun = Instant::now();
    let end = within(Duration::from_secs(5), "the end of a silent connection", silent.more()).await;
    assert!(end.is_some() && begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
    assert_eq!(asked.get("/v2/").await.0.status, 200);
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_and_bounds_connections() {
    let shell = |limits: &str| {
        ["sh".to_owned(), "-c".to_owned(), format!("ulimit {limits}; exec \"$@\""), "sh".to_owned()]
    };
    let setup = Setup::new().wrapped(shell("-Sn 200; ulimit -Hn 2000"));
    let product = setup.start(&one_upstream("", closed_port(), "")).await;
    assert_eq!(product.open_files(), 2000);
    let line = product.wait_for_line("RLIMIT_NOFILE").await;
    assert!(line.contains("connections=581"), "(2000 - 256) / 3: {line}");
    let mut client = Client::connect(product.address).await;
    assert_eq!(client.get("/v2/").await.0.status, 200);
}
