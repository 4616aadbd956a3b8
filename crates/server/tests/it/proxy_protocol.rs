//! The PROXY protocol: who a client is, as a proxy in front says it before the first byte.

use crate::fixture::{Authority, Client, End, Product, Setup, Upstream, client_config, content, one_upstream};

const V1: &str = "PROXY TCP4 192.0.2.77 10.0.0.1 56324 443\r\n";
/// The same, of version 2.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x4d\x0a\0\0\x01\xdc\x04\x01\xbb";
/// A health check of the proxy itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const TAKEN: &str = "trusted_proxies = ['127.0.0.1/32']\nproxy_protocol = true";

async fn product(keys: &str) -> (Product, Upstream) {
    let upstream = Upstream::of_blob(content(1000)).await;
    (Product::start(&one_upstream(keys, upstream.address, "")).await, upstream)
}

#[tokio::test]
async fn a_client_is_whom_a_trusted_proxy_names() {
    let (product, _upstream) = product(TAKEN).await;
    for (header, client) in [(V1.as_bytes(), "192.0.2.77"), (V2, "192.0.2.77"), (LOCAL, "127.0.0.1")] {
        let mut wire = Client::connect(product.address).await;
        wire.send(header).await;
        // Of the connection's address nothing is left to believe it by.
        let (head, _) = wire.get_with("/v2/", "X-Forwarded-For: 203.0.113.9\r\nUser-Agent: v\r\n").await;
        assert_eq!(head.status, 200, "{}", head.text);
        let expected = if client == "127.0.0.1" { "203.0.113.9" } else { client };
        product.wait_for_line(&format!("client={expected} ")).await;
    }
}

#[tokio::test]
async fn a_trusted_proxy_that_names_nobody_is_not_served_and_the_log_says_why() {
    let (product, _upstream) = product(TAKEN).await;
    let mut wire = Client::connect(product.address).await;
    wire.ask("GET", "/v2/", "").await;
    let (answer, _) = wire.rest().await;
    assert_eq!(String::from_utf8(answer).unwrap(), "");
    let line = product.wait_for_line("a connection of a trusted proxy is closed").await;
    assert!(line.contains("WARN") && line.contains("without a PROXY protocol header"), "{line}");
}

#[tokio::test]
async fn a_header_that_nobody_expects_is_named_in_the_log() {
    for keys in
        ["", "trusted_proxies = ['127.0.0.1/32']", "trusted_proxies = ['10.0.0.0/8']\nproxy_protocol = true"]
    {
        for header in [V1.as_bytes(), V2] {
            let (product, _upstream) = product(keys).await;
            let mut wire = Client::connect(product.address).await;
            wire.send(header).await;
            wire.ask("GET", "/v2/", "").await;
            let (answer, end) = wire.rest().await;
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{answer}");
            assert_eq!(end, End::Fin);
            let line = product.wait_for_line("begins with a PROXY protocol header").await;
            assert!(line.contains("WARN") && line.contains("client=127.0.0.1"), "{line}");
        }
    }
    // No more of an address than a request's line has.
    let (product, _upstream) = product("[log]\nclient = 'none'").await;
    Client::connect(product.address).await.send(V1).await;
    let line = product.wait_for_line("begins with a PROXY protocol header").await;
    assert!(!line.contains("127.0.0"), "{line}");
}

#[tokio::test]
async fn before_tls_it_is_the_same() {
    let authority = Authority::new();
    let identity = authority.issue();
    let upstream = Upstream::of_blob(content(1000)).await;
    for (taken, is_served) in [(TAKEN, true), ("", false)] {
        let setup = Setup::new();
        let (cert, key) = (setup.file("cert.pem", &identity.certificate), setup.file("key.pem", &identity.key));
        let keys = format!("{taken}\n[tls]\ncert_file = '{cert}'\nkey_file = '{key}'");
        let product = setup.start(&one_upstream(&keys, upstream.address, "")).await;
        let mut wire = Client::connect(product.address).await;
        wire.send(V1).await;
        if is_served {
            let mut wire = wire.into_tls(client_config(&authority, &[])).await;
            assert_eq!(wire.get("/v2/").await.0.status, 200);
            product.wait_for_line("client=192.0.2.77 ").await;
        } else {
            product.wait_for_line("begins with a PROXY protocol header").await;
        }
    }
}

#[tokio::test]
async fn clients_that_a_proxy_names_have_their_own_number_of_connections_each() {
    let keys = format!("{TAKEN}\n[limits]\nconnections_per_address = 2");
    let (product, _upstream) = product(&keys).await;
    let of = async |client: u8| {
        let mut wire = Client::connect(product.address).await;
        wire.send(format!("PROXY TCP4 192.0.2.{client} 10.0.0.1 56324 443\r\n")).await;
        wire
    };
    let mut open = Vec::new();
    for client in [1, 1, 2, 2] {
        let mut wire = of(client).await;
        assert_eq!(wire.get("/v2/").await.0.status, 200);
        open.push(wire);
    }
    assert_eq!(of(1).await.rest().await.0, b"", "a third of the first one");
    product.wait_for_line("connections_per_address connections open").await;
}

#[tokio::test]
async fn a_client_that_a_proxy_names_is_a_client_though_its_address_is_a_trusted_one() {
    let keys = "trusted_proxies = ['127.0.0.0/8']\nproxy_protocol = true\n[limits]\nconnections_per_address = 2";
    let (product, _upstream) = product(keys).await;
    let of_a_trusted_address = async || {
        let mut wire = Client::connect(product.address).await;
        wire.send("PROXY TCP4 127.20.30.40 127.0.0.1 56324 443\r\n").await;
        wire
    };
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut wire = of_a_trusted_address().await;
        let own = "X-Forwarded-For: 203.0.113.9\r\nX-Request-Id: of-my-choice\r\n";
        let (head, _) = wire.get_with("/v2/", own).await;
        assert_eq!(head.status, 200, "{}", head.text);
        assert_ne!(head.get("x-request-id"), Some("of-my-choice"));
        open.push(wire);
    }
    let lines = product.wait_for_lines("client=127.20.30.40 ", 2).await;
    assert!(lines.iter().all(|line| !line.contains("203.0.113.9")), "{lines:?}");
    assert_eq!(of_a_trusted_address().await.rest().await.0, b"", "a third of one address");
}

#[tokio::test]
async fn metrics_are_not_for_clients_that_a_proxy_on_this_machine_names() {
    let (product, _upstream) = product(TAKEN).await;
    for (header, status) in [(V1, 403), ("PROXY TCP4 127.0.0.1 127.0.0.1 56324 443\r\n", 200)] {
        let mut wire = Client::connect(product.address).await;
        wire.send(header).await;
        assert_eq!(wire.get("/metrics").await.0.status, status, "{header}");
    }
}
