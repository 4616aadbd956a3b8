//! Ways out, and where they must not lead.
//!
//! Over loopback every address is private, so a private upstream may lead anywhere here. An upstream at a public
//! address is imitated through a proxy that leads its address to ours. What a name resolves to is judged in the
//! transport's own unit tests: behind a proxy no name is resolved by us.

use crate::fixture::{
    Authority, Client, Exchange, Request, Setup, Upstream, blob_path, connect_proxy, content, forward_proxy,
    one_upstream, refusing_proxy, server_config, socks_proxy,
};

const LENGTH: usize = 100_000;

async fn status(setup: Setup, toml: &str) -> u16 {
    let product = setup.start(toml).await;
    Client::connect(product.address).await.get(&blob_path()).await.0.status
}

async fn blob_status(setup: Setup, toml: &str) -> u16 {
    let product = setup.start(toml).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert!(body == content(LENGTH), "{}\n{}", head.text, product.log());
    head.status
}

/// An upstream under a name that only a proxy resolves, by TLS that nobody signed.
async fn behind_tls() -> Upstream {
    Upstream::start_tls(
        server_config(&Authority::new().issue()),
        |request: Request, exchange: Exchange| async move { exchange.blob(&request, &content(LENGTH)).await },
    )
    .await
}

/// Its configuration, with more keys.
fn named(scheme: &str, keys: &str) -> String {
    format!(
        "[[upstream]]\nname='up.test'\nurls=['{scheme}://registry.invalid']\ninsecure=true\ndefault=true\n{keys}"
    )
}

#[tokio::test]
async fn an_https_upstream_is_reached_by_connect() {
    let upstream = behind_tls().await;
    let (proxy, asked) = connect_proxy(upstream.address).await;
    assert_eq!(blob_status(Setup::new(), &named("https", &format!("proxy='http://{proxy}'"))).await, 200);
    let asked = asked.lock().unwrap();
    // The port that is not written is the scheme's own.
    assert!(asked[0].starts_with("CONNECT registry.invalid:443 HTTP/1.1\r\n"), "{asked:?}");
    assert!(!asked[0].to_lowercase().contains("proxy-authorization"), "{asked:?}");
}

#[tokio::test]
async fn a_plain_http_upstream_is_asked_of_the_proxy_itself() {
    let upstream = Upstream::of_blob(content(LENGTH)).await;
    let (proxy, asked) = forward_proxy(upstream.address).await;
    assert_eq!(blob_status(Setup::new(), &named("http", &format!("proxy='http://{proxy}'"))).await, 200);
    let asked = asked.lock().unwrap();
    let line = format!("GET http://registry.invalid{} HTTP/1.1\r\n", blob_path());
    let head = asked[0].to_lowercase();
    assert!(asked[0].starts_with(&line) && head.contains("host: registry.invalid\r\n"), "{asked:?}");
    assert!(head.contains("\r\nconnection: close\r\n"), "tinyproxy closes it without a word: {asked:?}");
}

#[tokio::test]
async fn an_http_proxys_login_goes_to_the_proxy_and_nowhere_else() {
    let login = crate::fixture::basic("bob", "pro@xy");
    for is_tls in [false, true] {
        let (upstream, scheme) = if is_tls {
            (behind_tls().await, "https")
        } else {
            (Upstream::of_blob(content(LENGTH)).await, "http")
        };
        let (proxy, asked) =
            if is_tls { connect_proxy(upstream.address).await } else { forward_proxy(upstream.address).await };
        assert_eq!(
            blob_status(Setup::new(), &named(scheme, &format!("proxy='http://bob:pro%40xy@{proxy}'"))).await,
            200
        );
        let asked = asked.lock().unwrap();
        let header = format!("\r\nproxy-authorization: {login}\r\n").to_lowercase();
        assert!(asked[0].to_lowercase().contains(&header) && asked[0].contains(&login), "{asked:?}");
        assert!(!upstream.seen()[0].text.to_lowercase().contains("authorization"));
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_its_status_and_the_504_says_when_to_come_again() {
    for (scheme, status, asked_for) in [
        ("https", "403 Forbidden", "CONNECT registry.invalid:443"),
        ("https", "407 Proxy Authentication Required", "CONNECT registry.invalid:443"),
        ("http", "407 Proxy Authentication Required", "a request for registry.invalid"),
        ("http", "403 Forbidden\r\nX-Squid-Error: ERR_ACCESS_DENIED 0", "a request for registry.invalid"),
        ("http", "403 Access denied\r\nServer: tinyproxy/1.11.1", "a request for registry.invalid"),
    ] {
        let (proxy, _) = refusing_proxy(status).await;
        let status = if status.starts_with("403") { "403 Forbidden" } else { status };
        let product = Setup::new().start(&named(scheme, &format!("proxy='http://bob:hunter2@{proxy}'"))).await;
        let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
        assert_eq!((head.status, head.get("retry-after")), (504, Some("1")), "{scheme} {status}");
        let body = String::from_utf8_lossy(&body);
        assert!(
            body.contains("the forward proxy gave no connection") && !body.contains(&proxy.to_string()),
            "{body}"
        );
        let line = product.wait_for_line("upstream gave no answer").await;
        assert!(line.contains(&format!("the proxy {proxy} answered {status} to {asked_for}")), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[tokio::test]
async fn a_refusal_that_a_proxy_passes_on_is_the_registrys() {
    let (proxy, _) = refusing_proxy("403 Forbidden\r\nVia: 1.1 squid (squid/5.7)").await;
    assert_eq!(status(Setup::new(), &named("http", &format!("proxy='http://{proxy}'"))).await, 403);
}

#[tokio::test]
async fn a_socks_proxy_is_used() {
    let upstream = Upstream::of_blob(content(LENGTH)).await;
    let (proxy, asked) = socks_proxy(upstream.address).await;
    let toml = one_upstream("", upstream.address, &format!("proxy = 'socks5://{proxy}'"));
    assert_eq!(blob_status(Setup::new(), &toml).await, 200);
    assert_eq!(*asked.lock().unwrap(), [format!("nobody {}", upstream.address)]);
}

#[tokio::test]
async fn a_socks_proxy_gets_its_login_and_the_name_to_resolve() {
    let upstream = Upstream::of_blob(content(LENGTH)).await;
    // The name is for the proxy to resolve in either case: here nobody can.
    for scheme in ["socks5", "socks5h"] {
        let (proxy, asked) = socks_proxy(upstream.address).await;
        let toml = format!(
            "[[upstream]]\nname='up.test'\nurls=['http://registry.invalid:8080']\ninsecure=true\ndefault=true\n\
             proxy='{scheme}://bob:proxy@{proxy}'"
        );
        assert_eq!(blob_status(Setup::new(), &toml).await, 200, "{scheme}");
        assert_eq!(*asked.lock().unwrap(), ["bob:proxy registry.invalid:8080"], "{scheme}");
    }
}

#[tokio::test]
async fn the_environment_names_the_proxy_where_the_configuration_does_not() {
    let upstream = behind_tls().await;
    let (proxy, asked) = connect_proxy(upstream.address).await;
    let proxy = format!("http://{proxy}");
    let with = |name: &str| Setup::new().variable(name, &proxy);
    assert_eq!(blob_status(with("HTTPS_PROXY"), &named("https", "")).await, 200);
    assert_eq!(asked.lock().unwrap().len(), 1);
    // Around the proxy nobody knows the name.
    for exception in ["registry.invalid", ".invalid", "*.invalid", "other.test, REGISTRY.invalid:443"] {
        let setup = with("HTTPS_PROXY").variable("NO_PROXY", exception);
        assert_eq!(status(setup, &named("https", "")).await, 504, "{exception}");
    }
    assert_eq!(status(with("HTTPS_PROXY"), &named("https", "proxy='none'")).await, 504);
    assert_eq!(status(with("HTTP_PROXY"), &named("https", "")).await, 504, "HTTP_PROXY is for http://");
    assert_eq!(asked.lock().unwrap().len(), 1, "asked although it was not to be");
    let here = format!(
        "[[upstream]]\nname='up.test'\nurls=['https://{}']\ninsecure=true\ndefault=true",
        upstream.address
    );
    assert_eq!(blob_status(with("HTTPS_PROXY"), &here).await, 200);
    assert_eq!(asked.lock().unwrap().len(), 1, "this machine is reached by no proxy");
}

#[tokio::test]
async fn a_bucket_is_reached_through_the_environments_proxy() {
    let upstream = Upstream::of_blob(content(LENGTH)).await;
    let bucket =
        Upstream::start(|_, exchange: Exchange| async move { exchange.answer("404 Not Found", "", b"").await })
            .await;
    let (proxy, asked) = forward_proxy(bucket.address).await;
    let setup = Setup::new()
        .variable("HTTP_PROXY", &format!("http://bob:proxy@{proxy}"))
        .variable("AWS_ACCESS_KEY_ID", "id")
        .variable("AWS_SECRET_ACCESS_KEY", "secret");
    let store = "[cache]\nstore='s3://bucket?region=r&endpoint=http://store.invalid'";
    let product = setup.start(&one_upstream(store, upstream.address, "")).await;
    // Whatever becomes of it: it is looked for in the bucket first.
    Client::connect(product.address).await.get("/v2/acme/app/manifests/v1").await;
    let asked = asked.lock().unwrap();
    assert!(
        !asked.is_empty() && asked.iter().all(|head| head.contains(" http://store.invalid/bucket")),
        "{asked:?}"
    );
    assert!(asked[0].to_lowercase().contains("\r\nproxy-authorization: basic "), "{asked:?}");
}

#[tokio::test]
async fn a_variable_that_names_no_proxy_is_refused_at_the_start() {
    for name in ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"] {
        let output = Setup::new().variable(name, "ftp://bob:hunter2@proxy.corp").run(&["check"]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&name.to_uppercase()) && said.contains("socks5://host:port"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_504_and_the_log_says_so() {
    let upstream = Upstream::of_blob(content(LENGTH)).await;
    let proxy = crate::fixture::closed_port();
    let toml = one_upstream("", upstream.address, &format!("proxy = 'http://bob:hunter2@{proxy}'"));
    let product = Setup::new().start(&toml).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    let body = String::from_utf8_lossy(&body);
    assert!(head.status == 504 && body.contains("the forward proxy gave no connection"), "{body}");
    let line = product.wait_for_line("upstream gave no answer").await;
    assert!(line.contains(&format!("through the proxy {proxy}")) && !line.contains("hunter2"), "{line}");
    assert!(upstream.seen().is_empty(), "gone around the proxy");
}

#[tokio::test]
async fn a_public_upstream_does_not_lead_to_a_private_address() {
    let inner = Upstream::of_blob(content(LENGTH)).await;
    let target = inner.address;
    let upstream = Upstream::start(move |_, exchange: Exchange| async move {
        exchange.answer("307 Temporary Redirect", &format!("Location: http://{target}/secret\r\n"), b"").await
    })
    .await;
    let (proxy, asked) = forward_proxy(upstream.address).await;
    let toml = format!(
        "[[upstream]]\nname='up.test'\nurls=['http://8.8.8.8:80']\ninsecure=true\ndefault=true\nproxy='http://{proxy}'"
    );
    let product = Setup::new().start(&toml).await;
    let (head, _) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_eq!(head.status, 504);
    assert_eq!(asked.lock().unwrap().len(), 1, "one way out, to the upstream itself");
    assert!(inner.seen().is_empty());
}

#[tokio::test]
async fn a_private_upstream_may_lead_to_another_private_address() {
    let storage = Upstream::of_blob(content(LENGTH)).await;
    let target = storage.address;
    let upstream = Upstream::start(move |_, exchange: Exchange| async move {
        exchange.answer("307 Temporary Redirect", &format!("Location: http://{target}/blob\r\n"), b"").await
    })
    .await;
    assert_eq!(blob_status(Setup::new(), &one_upstream("", upstream.address, "")).await, 200);
    assert_eq!(storage.seen()[0].path, "/blob");
}
