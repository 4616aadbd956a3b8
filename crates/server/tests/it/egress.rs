//! Ways out, and where they must not lead.
//!
//! Over loopback every address is private, so a private upstream may lead anywhere here. An upstream at a public
//! address is imitated through a proxy that leads its address to ours. What a name resolves to is judged in the
//! transport's own unit tests: behind a proxy no name is resolved by us.

use crate::fixture::{
    Authority, Client, Exchange, Request, Setup, Upstream, blob_path, connect_proxy, content, one_upstream,
    server_config, socks_proxy,
};

const LENGTH: usize = 100_000;

async fn blob_status(setup: Setup, toml: &str) -> u16 {
    let product = setup.start(toml).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert!(body == content(LENGTH), "{}\n{}", head.text, product.log());
    head.status
}

#[tokio::test]
async fn an_http_proxy_is_used_by_connect() {
    let upstream = Upstream::of_blob(content(LENGTH)).await;
    let (proxy, asked) = connect_proxy(upstream.address).await;
    let toml = one_upstream("", upstream.address, &format!("proxy = 'http://{proxy}'"));
    assert_eq!(blob_status(Setup::new(), &toml).await, 200);
    let asked = asked.lock().unwrap();
    assert!(asked[0].starts_with(&format!("CONNECT {} HTTP/1.1\r\n", upstream.address)), "{asked:?}");
    assert!(!asked[0].to_lowercase().contains("proxy-authorization"), "{asked:?}");
}

#[tokio::test]
async fn an_http_proxys_login_goes_to_the_proxy_and_nowhere_else() {
    let upstream = Upstream::of_blob(content(LENGTH)).await;
    let (proxy, asked) = connect_proxy(upstream.address).await;
    let toml = one_upstream("", upstream.address, &format!("proxy = 'http://bob:pro%40xy@{proxy}'"));
    assert_eq!(blob_status(Setup::new(), &toml).await, 200);
    let login = crate::fixture::basic("bob", "pro@xy");
    let asked = asked.lock().unwrap();
    assert!(
        asked[0].to_lowercase().contains(&format!("proxy-authorization: {login}\r\n").to_lowercase()),
        "{asked:?}"
    );
    assert!(asked[0].contains(&login), "{asked:?}");
    assert!(!upstream.seen()[0].text.to_lowercase().contains("authorization"));
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
async fn a_port_that_is_not_written_is_the_schemes_own_through_a_proxy_too() {
    let upstream = Upstream::of_blob(content(LENGTH)).await;
    let (proxy, asked) = connect_proxy(upstream.address).await;
    let toml = format!(
        "[[upstream]]\nname='up.test'\nurls=['http://registry.invalid']\ninsecure=true\ndefault=true\n\
         proxy='http://{proxy}'"
    );
    assert_eq!(blob_status(Setup::new(), &toml).await, 200);
    let asked = asked.lock().unwrap();
    assert!(asked[0].starts_with("CONNECT registry.invalid:80 HTTP/1.1\r\n"), "{asked:?}");
}

#[tokio::test]
async fn the_environment_names_the_proxy_where_the_configuration_does_not() {
    let authority = Authority::new();
    let upstream = Upstream::start_tls(
        server_config(&authority.issue()),
        |request: Request, exchange: Exchange| async move { exchange.blob(&request, &content(LENGTH)).await },
    )
    .await;
    let (proxy, asked) = connect_proxy(upstream.address).await;
    let toml = |setup: &Setup| {
        let ca = setup.file("ca.pem", &authority.pem());
        format!(
            "[[upstream]]\nname='up.test'\nurls=['https://{}']\ndefault=true\nca_file='{ca}'",
            upstream.address
        )
    };
    let setup = Setup::new().variable("HTTPS_PROXY", &format!("http://{proxy}"));
    let text = toml(&setup);
    assert_eq!(blob_status(setup, &text).await, 200);
    assert_eq!(asked.lock().unwrap().len(), 1);

    let setup = Setup::new().variable("HTTPS_PROXY", &format!("http://{proxy}")).variable("NO_PROXY", "127.0.0.1");
    let text = toml(&setup);
    assert_eq!(blob_status(setup, &text).await, 200);
    assert_eq!(asked.lock().unwrap().len(), 1, "asked although NO_PROXY names the upstream");

    let setup = Setup::new().variable("HTTP_PROXY", &format!("http://{proxy}"));
    let text = toml(&setup);
    assert_eq!(blob_status(setup, &text).await, 200);
    assert_eq!(asked.lock().unwrap().len(), 1, "HTTP_PROXY is for http://");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_504_and_the_log_says_so() {
    let upstream = Upstream::of_blob(content(LENGTH)).await;
    let proxy = crate::fixture::closed_port();
    let toml = one_upstream("", upstream.address, &format!("proxy = 'http://bob:hunter2@{proxy}'"));
    let product = Setup::new().start(&toml).await;
    assert_eq!(Client::connect(product.address).await.get(&blob_path()).await.0.status, 504);
    let line = product.wait_for_line("upstream gave no answer").await;
    assert!(!line.contains("hunter2"), "{line}");
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
    let (proxy, asked) = connect_proxy(upstream.address).await;
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
