//! `registry-proxy health`, as the HEALTHCHECK of an image runs it.

use std::process::Output;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{Authority, Product, Setup, closed_port, one_upstream};

async fn asked(product: &Product) -> Output {
    let config = product.setup.path().join("proxy.toml").display().to_string();
    product.setup.run(&["--config", &config, "--listen", &product.address.to_string(), "health"]).await
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn a_server_that_runs_is_healthy_in_plain_http_in_https_and_behind_the_proxy_protocol() {
    let identity = Authority::new().issue();
    let (plain, secure, introduced) = (Setup::new(), Setup::new(), Setup::new());
    let cert = secure.file("cert.pem", &identity.certificate);
    let key = secure.file("key.pem", &identity.key);
    let tls = format!("[tls]\ncert_file = '{cert}'\nkey_file = '{key}'");
    let trusted = "trusted_proxies = ['127.0.0.1/32']\nproxy_protocol = true";
    for (setup, keys) in [(plain, ""), (secure, tls.as_str()), (introduced, trusted)] {
        let product = setup.start(&one_upstream(keys, closed_port(), "")).await;
        let output = asked(&product).await;
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{keys}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_and_one_line_says_why() {
    let listen = closed_port().to_string();
    let output = Setup::new().run(&["--listen", &listen, "health"]).await;
    assert_eq!(output.status.code(), Some(1));
    let line = stderr(&output);
    assert!(line.contains(&format!("not healthy: {listen}: cannot connect")), "{line}");
    assert_eq!(line.lines().count(), 1);

    let output = Setup::new().run(&["--listen", "127.0.0.1:0", "health"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("port 0"), "{}", stderr(&output));
}

#[tokio::test]
async fn another_server_at_its_address_is_named_by_its_answer() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = other.local_addr().unwrap().to_string();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = other.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    let output = Setup::new().run(&["--listen", &listen, "health"]).await;
    answering.await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("it answered \"HTTP/1.1 404 Not Found\""), "{}", stderr(&output));
}

/// 2 is reserved by Docker.
#[tokio::test]
async fn a_wrong_configuration_is_not_healthy_either() {
    let output = Setup::new().variable("PORT", "abc").run(&["health"]).await;
    assert_eq!(output.status.code(), Some(1));
}
