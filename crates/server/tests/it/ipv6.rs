//! IPv6 on either side, over `::1`.

use std::net::{Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use crate::fixture::{Client, Exchange, Setup, Wire, blob_path, content, one_upstream, soon};

/// A registry that has an IPv6 address and no other.
async fn upstream_on_ipv6(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut exchange = Exchange { wire: Wire::Plain(stream), buffer: Vec::new() };
                while let Some(request) = exchange.next().await {
                    exchange = exchange.blob(&request, &bytes).await?;
                }
                Some(())
            });
        }
    });
    address
}

#[tokio::test]
async fn all_addresses_of_both_families_are_listened_to_and_an_upstream_on_ipv6_is_reached() {
    let bytes = content(300_000);
    let upstream = upstream_on_ipv6(bytes.clone()).await;
    let product = Setup::new().start_at("[::]:0", &one_upstream("", upstream, "")).await;
    let port = product.address.port();
    for address in [SocketAddr::from((Ipv6Addr::LOCALHOST, port)), SocketAddr::from(([127, 0, 0, 1], port))] {
        let (head, body) = Client::connect(address).await.get(&blob_path()).await;
        assert_eq!((head.status, body == bytes), (200, true), "{address}");
    }
    let lines = product.wait_for_lines("end=complete", 2).await;
    assert!(lines[0].contains("client=::1") && lines[1].contains("client=127.0.0.1"), "{lines:?}");
}

#[tokio::test]
async fn a_host_that_is_an_ipv6_address_is_one() {
    let upstream = upstream_on_ipv6(content(10)).await;
    let product =
        Setup::new().start_at("[::1]:0", &one_upstream("[clients]\nauth = 'upstream'", upstream, "")).await;
    let mut client = Client::connect(product.address).await;
    let host = product.address.to_string();
    client.send(format!("GET /v2/token HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    assert_ne!(client.head().await.status, 400, "{host}");
}

/// Most machines have a name for `::1` alone. Elsewhere the product gets a file of hosts of its own.
async fn where_ip6_localhost_is_known() -> Setup {
    let named = tokio::net::lookup_host(("ip6-localhost", 0)).await.map(Iterator::collect::<Vec<_>>);
    if named.is_ok_and(|found| !found.is_empty() && found.iter().all(SocketAddr::is_ipv6)) {
        return Setup::new();
    }
    let setup = Setup::new();
    let hosts = setup.file("hosts", "127.0.0.1 localhost\n::1 ip6-localhost\n");
    let script = format!("mount --bind {hosts} /etc/hosts && exec \"$0\" \"$@\"");
    let namespace: &[&str] = if rustix::process::geteuid().is_root() {
        &["unshare", "--mount"]
    } else {
        &["unshare", "--mount", "--map-root-user"]
    };
    let words: Vec<&str> = namespace.iter().copied().chain(["sh", "-c", &script]).collect();
    let tried = std::process::Command::new(words[0]).args(&words[1..]).arg("true").output();
    assert!(
        tried.as_ref().is_ok_and(|output| output.status.success()),
        "this test needs a line \"::1 ip6-localhost\" in /etc/hosts, or the right to mount one: {tried:?}"
    );
    setup.wrapped(words)
}

#[tokio::test]
async fn a_name_that_has_an_ipv6_address_only_is_reached() {
    let bytes = content(10_000);
    let upstream = upstream_on_ipv6(bytes.clone()).await;
    let config = format!(
        "[[upstream]]\nname = 'up.test'\nurls = ['http://ip6-localhost:{}']\ninsecure = true\ndefault = true\n",
        upstream.port()
    );
    let product = where_ip6_localhost_is_known().await.start(&config).await;
    let (head, body) =
        soon("an answer", async { Client::connect(product.address).await.get(&blob_path()).await }).await;
    assert_eq!((head.status, body == bytes), (200, true));
}
