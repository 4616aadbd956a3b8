//! Blobs out of a cache on disk, as they come over sockets: also those that go from disk to socket by themselves.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use registry_proxy_core::digest::Digest;

use crate::fixture::{
    Authority, Client, Product, Setup, Upstream, client_config, content, h2_over, one_upstream, soon,
};

/// Larger than one piece, and not a multiple of it.
const TOTAL: usize = (5 << 20) + 1234;

fn path_of(bytes: &[u8]) -> String {
    format!("/v2/acme/app/blobs/{}", Digest::sha256(bytes))
}

/// A proxy that has a blob in its cache: product, upstream, bytes, path.
async fn stocked(keys: &str) -> (Product, Upstream, Vec<u8>, String) {
    let bytes = content(TOTAL);
    let upstream = Upstream::of_blob(bytes.clone()).await;
    let setup = Setup::new();
    let store = setup.path().join("store").display().to_string();
    let cache = format!("{keys}\n[cache]\nstore='file://{store}'\nmin_free='0'\n");
    let product = setup.start(&one_upstream(&cache, upstream.address, "")).await;
    let path = path_of(&bytes);
    let (head, body) = Client::connect(product.address).await.get(&path).await;
    assert_eq!((head.status, done(&head), body == bytes), (200, "filled", true));
    until_hit(&mut Client::connect(product.address).await, &path).await;
    (product, upstream, bytes, path)
}

/// The last bytes go out before the disk has them for good: a moment later it is a hit.
async fn until_hit(client: &mut Client, path: &str) {
    let hit = async {
        loop {
            client.ask("HEAD", path, "").await;
            if done(&client.head().await) == "hit" {
                return;
            }
        }
    };
    soon("a hit", hit).await;
}

fn done(head: &crate::fixture::Head) -> &str {
    head.get("x-registry-proxy").and_then(|value| value.split(';').next()).unwrap_or_default()
}

#[tokio::test]
async fn a_cached_blob_comes_from_the_disk_whole_and_in_parts() {
    let (product, upstream, bytes, path) = stocked("").await;
    let mut client = Client::connect(product.address).await;
    // Several on one connection, so that heads stand between bodies.
    for number in 0..3 {
        let (head, body) = client.get(&path).await;
        assert_eq!((head.status, done(&head), body == bytes), (200, "hit", true), "{number}");
        for (first, last) in [(0, 0), (1, 99_999), (1 << 20, (2 << 20) + 7), (4_999_999, TOTAL - 1)] {
            let (head, body) = client.get_with(&path, &format!("Range: bytes={first}-{last}\r\n")).await;
            assert_eq!((head.status, body == bytes[first..=last]), (206, true), "{first}-{last}");
        }
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn two_hits_asked_in_one_packet_come_in_order() {
    let (product, _upstream, bytes, path) = stocked("").await;
    let mut client = Client::connect(product.address).await;
    let ask = format!("GET {path} HTTP/1.1\r\nHost: p\r\n\r\n");
    client.send(format!("{ask}{ask}{ask}")).await;
    for number in 0..3 {
        let head = client.head().await;
        assert_eq!((head.status, head.length()), (200, Some(TOTAL)), "{number}");
        assert!(client.take(TOTAL).await == bytes, "{number}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_hit_disturbs_nobody() {
    let (product, _upstream, bytes, path) = stocked("").await;
    for _ in 0..10 {
        let mut client = Client::connect_narrow(product.address).await;
        client.ask("GET", &path, "").await;
        client.head().await;
        client.take(100_000).await;
    }
    let (head, body) = Client::connect(product.address).await.get(&path).await;
    assert_eq!((head.status, body == bytes), (200, true));
}

#[tokio::test]
async fn over_http2_a_hit_is_read() {
    let (product, _upstream, bytes, path) = stocked("").await;
    let mut h2 = h2_over(Client::connect(product.address).await.wire).await;
    let request = Request::get(format!("http://p{path}")).body(Empty::<Bytes>::new()).unwrap();
    let response = soon("an answer", h2.send_request(request)).await.unwrap();
    let body = soon("the body", response.into_body().collect()).await.unwrap().to_bytes();
    assert!(body == bytes, "other bytes");
}

#[tokio::test]
async fn over_tls_a_hit_is_read() {
    let authority = Authority::new();
    let identity = authority.issue();
    let setup = Setup::new();
    let (cert, key) = (setup.file("cert.pem", &identity.certificate), setup.file("key.pem", &identity.key));
    let bytes = content(TOTAL);
    let upstream = Upstream::of_blob(bytes.clone()).await;
    let store = setup.path().join("store").display().to_string();
    let keys =
        format!("[tls]\ncert_file='{cert}'\nkey_file='{key}'\n[cache]\nstore='file://{store}'\nmin_free='0'\n");
    let product = setup.start(&one_upstream(&keys, upstream.address, "")).await;
    let config: Arc<_> = client_config(&authority, &["http/1.1"]);
    let path = path_of(&bytes);
    for expected in ["filled", "hit"] {
        let mut client = Client::connect_tls(product.address, Arc::clone(&config)).await;
        let (head, body) = client.get(&path).await;
        assert_eq!((head.status, done(&head), body == bytes), (200, expected, true));
        until_hit(&mut client, &path).await;
    }
}
