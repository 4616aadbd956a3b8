//! `upstream.login`: the proxy gets its login from a cloud's identity service, without any password of its own.

mod aws;
mod azure;
mod google;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt as _;

use crate::fixture::{Client, Exchange, Product, Request, Setup, Upstream, basic, blob_path, content};

const LENGTH: usize = 5000;

/// A registry that wants this login.
async fn protected(username: &str, password: &str) -> Upstream {
    let login = basic(username, password);
    Upstream::start(move |request: Request, exchange: Exchange| {
        let login = login.clone();
        async move {
            if request.get("authorization") == Some(login.as_str()) {
                return exchange.blob(&request, &content(LENGTH)).await;
            }
            exchange.answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"inside\"\r\n", b"{}").await
        }
    })
    .await
}

/// A service that answers with JSON what this makes of a request, and counts; `None` is 403.
async fn service<F>(answer: F) -> (Upstream, Arc<AtomicUsize>)
where
    F: Fn(&Request) -> Option<String> + Send + Sync + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, answer) = (Arc::clone(&count), Arc::new(answer));
    let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| {
        let (counted, answer) = (Arc::clone(&counted), Arc::clone(&answer));
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            exchange.drain(request.length()).await;
            match answer(&request) {
                Some(text) => {
                    exchange.answer("200 OK", "Content-Type: application/json\r\n", text.as_bytes()).await
                }
                None => exchange.answer("403 Forbidden", "", b"not you").await,
            }
        }
    })
    .await;
    (upstream, count)
}

/// The same for forms: the path and the form make the answer.
async fn form_service<F>(answer: F) -> (Upstream, Arc<AtomicUsize>)
where
    F: Fn(&str, &str) -> Option<String> + Send + Sync + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, answer) = (Arc::clone(&count), Arc::new(answer));
    let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| {
        let (counted, answer) = (Arc::clone(&counted), Arc::clone(&answer));
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            let form = form(&mut exchange, &request).await;
            match answer(&request.path, &form) {
                Some(text) => exchange.answer("200 OK", "", text.as_bytes()).await,
                None => exchange.answer("403 Forbidden", "", b"not you").await,
            }
        }
    })
    .await;
    (upstream, count)
}

/// The body of a request, as text.
async fn form(exchange: &mut Exchange, request: &Request) -> String {
    let length = request.length();
    while exchange.buffer.len() < length {
        if exchange.wire.read_buf(&mut exchange.buffer).await.unwrap_or(0) == 0 {
            break;
        }
    }
    let rest = exchange.buffer.split_off(length.min(exchange.buffer.len()));
    String::from_utf8(std::mem::replace(&mut exchange.buffer, rest)).unwrap_or_default()
}

/// That a blob comes, twice.
async fn pulled(product: &Product) {
    let mut client = Client::connect(product.address).await;
    for _ in 0..2 {
        let (head, body) = client.get(&blob_path()).await;
        assert_eq!(head.status, 200, "{}", product.log());
        assert!(body == content(LENGTH));
    }
}

/// What `doctor` prints.
async fn doctor(setup: &Setup, toml: &str) -> String {
    let config = setup.file("doctor.toml", &format!("{toml}\n[cache]\nstore = 'none'\n"));
    let output = setup.run(&["--config", &config, "--listen", "127.0.0.1:1", "doctor"]).await;
    String::from_utf8(output.stdout).unwrap()
}
