//! HTTPS and HTTP/2 towards clients.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request as HttpRequest;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::Signal;

use crate::fixture::{
    Authority, Client, End, Product, Setup, Upstream, blob_path, client_config, content, h2_over, one_upstream,
    soon,
};

const WATCHED: &str = "watch_interval = '50ms'";

/// The product with a certificate of this authority.
async fn secure(authority: &Authority, upstream: &Upstream) -> (Product, Vec<u8>) {
    secure_with("", "", authority, upstream).await
}

/// The same with more keys, of `[tls]` too.
async fn secure_with(
    keys: &str,
    tls_keys: &str,
    authority: &Authority,
    upstream: &Upstream,
) -> (Product, Vec<u8>) {
    let setup = Setup::new();
    let identity = authority.issue();
    let cert = setup.file("cert.pem", &identity.certificate);
    let key = setup.file("key.pem", &identity.key);
    let keys = format!("{keys}\n[tls]\ncert_file = '{cert}'\nkey_file = '{key}'\n{tls_keys}");
    let product = setup.start(&one_upstream(&keys, upstream.address, "")).await;
    (product, identity.der().to_vec())
}

#[tokio::test]
async fn a_client_resumes_its_session_however_many_others_have_come_since() {
    let authority = Authority::new();
    let upstream = Upstream::of_blob(content(100)).await;
    let (product, _) = secure(&authority, &upstream).await;
    let config = client_config(&authority, &["http/1.1"]);
    let kind = async |config: &std::sync::Arc<rustls::ClientConfig>| {
        let mut client = Client::connect_tls(product.address, config.clone()).await;
        // The tickets come before the answer.
        assert_eq!(client.get("/healthz").await.0.status, 200);
        client.wire.handshake_kind()
    };
    assert_eq!(kind(&config).await, Some(rustls::HandshakeKind::Full));
    for _ in 0..300 {
        kind(&client_config(&authority, &["http/1.1"])).await;
    }
    assert_eq!(kind(&config).await, Some(rustls::HandshakeKind::Resumed));
}

fn ask(path: &str) -> HttpRequest<Empty<Bytes>> {
    HttpRequest::get(format!("https://127.0.0.1{path}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn https_serves_http1_and_http2_as_alpn_says() {
    let authority = Authority::new();
    let bytes = content(2 << 20);
    let upstream = Upstream::of_blob(bytes.clone()).await;
    let (product, _) = secure(&authority, &upstream).await;

    let config = client_config(&authority, &["http/1.1"]);
    let mut client = Client::connect_tls(product.address, config).await;
    assert_eq!(client.wire.protocol().as_deref(), Some(b"http/1.1".as_slice()));
    let (head, body) = client.get(&blob_path()).await;
    assert_eq!((head.status, body == bytes), (200, true));

    let config = client_config(&authority, &["h2", "http/1.1"]);
    let client = Client::connect_tls(product.address, config).await;
    assert_eq!(client.wire.protocol().as_deref(), Some(b"h2".as_slice()));
    let mut sender = h2_over(client.wire).await;
    let response = soon("head", sender.send_request(ask(&blob_path()))).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(soon("body", response.into_body().collect()).await.unwrap().to_bytes() == bytes, "other bytes");

    // Without ALPN it is HTTP/1.1.
    let mut client = Client::connect_tls(product.address, client_config(&authority, &[])).await;
    assert_eq!(client.get("/v2/").await.0.status, 200);
}

#[tokio::test]
async fn a_failed_handshake_leaves_no_more_of_an_address_in_the_log_than_a_request() {
    let authority = Authority::new();
    let upstream = Upstream::of_blob(content(1000)).await;
    for (choice, shown) in [("full", "client=127.0.0.1"), ("network", "client=127.0.0.0/24"), ("none", "")] {
        let keys = format!("[log]\nlevel='debug'\nclient='{choice}'");
        let (product, _) = secure_with(&keys, "", &authority, &upstream).await;
        let mut client = Client::connect(product.address).await;
        client.send(b"GET /v2/ HTTP/1.1\r\n\r\n").await;
        let line = product.wait_for_lines("TLS handshake failed", 1).await.remove(0);
        let told = line.split(' ').find(|part| part.starts_with("client=")).unwrap_or_default();
        assert_eq!(told, shown, "{line}");
        assert_eq!(line.contains("127.0.0"), choice != "none", "{line}");
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_has_one_limit_for_handshake_and_first_byte_and_ends_with_the_drain() {
    const TAKEN: &str = "trusted_proxies = ['127.0.0.1/32']\nproxy_protocol = true";
    let authority = Authority::new();
    let upstream = Upstream::of_blob(content(1000)).await;
    for (keys, header) in [("", ""), (TAKEN, "PROXY TCP4 192.0.2.77 10.0.0.1 56324 443\r\n")] {
        let (product, _) =
            secure_with(&format!("{keys}\n[timeouts]\nclient_idle='2s'"), "", &authority, &upstream).await;
        let started = Instant::now();
        let mut silent = Client::connect(product.address).await;
        silent.send(header).await;
        assert_eq!(silent.rest().await, (Vec::new(), End::Fin));
        let elapsed = started.elapsed();
        assert!((2.0..3.5).contains(&elapsed.as_secs_f32()), "{keys}: {elapsed:?}");

        let (mut product, _) = secure_with(keys, "", &authority, &upstream).await;
        let mut silent = Client::connect(product.address).await;
        silent.send(header).await;
        // Accepted, for those behind it are.
        let mut next = Client::connect(product.address).await;
        next.send(header).await;
        let mut next = next.into_tls(client_config(&authority, &[])).await;
        assert_eq!(next.get("/v2/").await.0.status, 200);
        let started = Instant::now();
        product.signal(Signal::TERM);
        assert_eq!(product.wait().await.code(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(5), "{keys}: {:?}", started.elapsed());
        assert_eq!(silent.rest().await.0, b"");
    }
}

#[tokio::test]
async fn http2_without_tls_is_understood_by_prior_knowledge() {
    let bytes = content(2 << 20);
    let upstream = Upstream::of_blob(bytes.clone()).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut sender = h2_over(Client::connect(product.address).await.wire).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(soon("head", sender.send_request(ask(&blob_path()))).await.unwrap());
    }
    for answer in answers {
        assert!(soon("body", answer.into_body().collect()).await.unwrap().to_bytes() == bytes, "other bytes");
    }
}

#[tokio::test]
async fn sighup_swaps_the_certificate_and_leaves_open_connections_alone() {
    let authority = Authority::new();
    let upstream = Upstream::of_blob(content(1000)).await;
    let (product, before) = secure(&authority, &upstream).await;
    let config = client_config(&authority, &["http/1.1"]);
    let mut old = Client::connect_tls(product.address, config.clone()).await;
    assert!(old.wire.peer_certificate() == before);

    let next = authority.issue();
    product.setup.file("cert.pem", &next.certificate);
    product.setup.file("key.pem", &next.key);
    product.reload().await;
    let mut new = Client::connect_tls(product.address, config.clone()).await;
    assert!(new.wire.peer_certificate() == next.der().to_vec(), "the old certificate");
    assert_eq!(new.get(&blob_path()).await.0.status, 200);
    assert_eq!(old.get(&blob_path()).await.0.status, 200);

    product.setup.file("cert.pem", "no certificate");
    product.signal(Signal::HUP);
    let line = product.wait_for_line("cannot be used").await;
    assert!(line.contains("tls.cert_file"), "{line}");
    let third = Client::connect_tls(product.address, config).await;
    assert!(third.wire.peer_certificate() == next.der().to_vec());
}

#[tokio::test]
async fn a_certificate_that_was_renewed_is_shown_without_a_signal_and_half_of_one_is_not() {
    let authority = Authority::new();
    let upstream = Upstream::of_blob(content(1000)).await;
    let (product, first) = secure_with("", WATCHED, &authority, &upstream).await;
    let config = client_config(&authority, &["http/1.1"]);

    let next = authority.issue();
    product.setup.file("cert.pem", &next.certificate);
    product.wait_for_line("cannot be used yet").await;
    let half = Client::connect_tls(product.address, config.clone()).await;
    assert!(half.wire.peer_certificate() == first, "the key is another's");

    product.setup.file("key.pem", &next.key);
    product.wait_for_line("have changed and were read again").await;
    let mut new = Client::connect_tls(product.address, config).await;
    assert!(new.wire.peer_certificate() == next.der().to_vec(), "the old certificate");
    assert_eq!(new.get(&blob_path()).await.0.status, 200);
}

#[tokio::test]
async fn a_certificate_file_that_cannot_be_read_to_its_end_holds_up_nobody() {
    let authority = Authority::new();
    let upstream = Upstream::of_blob(content(1000)).await;
    let (product, first) = secure_with("", WATCHED, &authority, &upstream).await;
    let config = client_config(&authority, &["http/1.1"]);
    // As on a network that hangs: whoever reads waits for a writer.
    let folder = product.setup.path().to_owned();
    let (pipe, cert) = (folder.join("pipe"), folder.join("cert.pem"));
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    std::fs::rename(&pipe, &cert).unwrap();
    let writer = soon("the product to read it", async {
        loop {
            // It can be opened so once there is a reader.
            match rustix::fs::open(&cert, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
                Ok(writer) => return writer,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await;
    let mut client = Client::connect_tls(product.address, config.clone()).await;
    assert!(client.wire.peer_certificate() == first);
    assert_eq!(client.get("/healthz").await.0.status, 200);
    // Nor does a signal wait for it, and what comes behind it is read.
    let next = authority.issue();
    product.setup.file("next.pem", &next.certificate);
    product.setup.file("key.pem", &next.key);
    std::fs::rename(folder.join("next.pem"), &cert).unwrap();
    product.reload().await;
    drop(writer);
    let new = Client::connect_tls(product.address, config).await;
    assert!(new.wire.peer_certificate() == next.der().to_vec(), "the old certificate");
}

#[tokio::test]
async fn a_connection_that_is_no_tls_is_dropped_and_others_are_served() {
    let authority = Authority::new();
    let upstream = Upstream::of_blob(content(1000)).await;
    let (product, _) = secure(&authority, &upstream).await;
    let mut plain = Client::connect(product.address).await;
    plain.ask("GET", "/v2/", "").await;
    let _ = plain.rest().await;
    let mut client = Client::connect_tls(product.address, client_config(&authority, &[])).await;
    assert_eq!(client.get("/v2/").await.0.status, 200);
}
