//! Certificates towards upstreams.

use std::sync::Arc;

use crate::fixture::{
    Authority, Client, Exchange, Identity, Request, Setup, Upstream, blob_path, content, server_config,
    server_config_asking,
};

const LENGTH: usize = 5000;

async fn serve(tls: Arc<rustls::ServerConfig>) -> Upstream {
    let bytes = Arc::new(content(LENGTH));
    Upstream::start_tls(tls, move |request: Request, exchange: Exchange| {
        let bytes = Arc::clone(&bytes);
        async move { exchange.blob(&request, &bytes).await }
    })
    .await
}

fn upstream(of: &Upstream, more: &str) -> String {
    format!(
        "[[upstream]]\nname = 'up.test'\nurls = ['https://{}']\ndefault = true\n{more}\n[timeouts]\nhead = '5s'",
        of.address
    )
}

#[tokio::test]
async fn a_ca_file_is_trusted_besides_the_systems_roots() {
    let authority = Authority::new();
    let server = serve(server_config(&authority.issue())).await;
    let setup = Setup::new();
    let ca = setup.file("ca.pem", &authority.pem());
    let product = setup.start(&upstream(&server, &format!("ca_file = '{ca}'"))).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_eq!((head.status, body == content(LENGTH)), (200, true));
}

#[tokio::test]
async fn a_certificate_that_nobody_knows_is_504_and_the_log_says_why() {
    let server = serve(server_config(&Identity::self_signed())).await;
    let product = Setup::new().start(&upstream(&server, "")).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_eq!(head.status, 504);
    assert!(body.starts_with(b"{\"errors\":"));
    let line = product.wait_for_line("upstream gave no answer").await;
    assert!(line.contains("certificate"), "{line}");
}

#[tokio::test]
async fn insecure_takes_a_certificate_that_nobody_signed() {
    let server = serve(server_config(&Identity::self_signed())).await;
    let product = Setup::new().start(&upstream(&server, "insecure = true")).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_eq!((head.status, body == content(LENGTH)), (200, true));
}

#[tokio::test]
async fn an_upstream_that_insists_on_a_certificate_gets_ours() {
    let authority = Authority::new();
    let server = serve(server_config_asking(&authority.issue(), &authority, true)).await;
    let setup = Setup::new();
    let (ours, ca) = (authority.issue(), setup.file("ca.pem", &authority.pem()));
    let (cert, key) = (setup.file("cert.pem", &ours.certificate), setup.file("key.pem", &ours.key));
    let without = Setup::new();
    let other_ca = without.file("ca.pem", &authority.pem());
    let more = format!("ca_file = '{ca}'\nclient_cert_file = '{cert}'\nclient_key_file = '{key}'");
    let product = setup.start(&upstream(&server, &more)).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_eq!((head.status, body == content(LENGTH)), (200, true));
    assert!(server.seen()[0].has_certificate);

    let product = without.start(&upstream(&server, &format!("ca_file = '{other_ca}'"))).await;
    assert_eq!(Client::connect(product.address).await.get(&blob_path()).await.0.status, 504);
    let line = product.wait_for_line("upstream gave no answer").await;
    assert!(line.to_lowercase().contains("certificate"), "{line}");
}

#[tokio::test]
async fn our_certificate_is_not_shown_to_where_a_redirect_leads() {
    let authority = Authority::new();
    let storage = serve(server_config_asking(&authority.issue(), &authority, false)).await;
    let target = format!("https://localhost:{}/storage/blob?signature=x", storage.address.port());
    let tls = server_config_asking(&authority.issue(), &authority, true);
    let registry = Upstream::start_tls(tls, move |_: Request, exchange: Exchange| {
        let location = format!("Location: {target}\r\n");
        async move { exchange.answer("307 Temporary Redirect", &location, b"").await }
    })
    .await;
    let setup = Setup::new();
    let (ours, ca) = (authority.issue(), setup.file("ca.pem", &authority.pem()));
    let (cert, key) = (setup.file("cert.pem", &ours.certificate), setup.file("key.pem", &ours.key));
    let more = format!("ca_file = '{ca}'\nclient_cert_file = '{cert}'\nclient_key_file = '{key}'");
    let product = setup.start(&upstream(&registry, &more)).await;
    let (head, body) = Client::connect(product.address).await.get(&blob_path()).await;
    assert_eq!((head.status, body == content(LENGTH)), (200, true), "{}", product.log());
    assert!(registry.seen()[0].has_certificate);
    let seen = storage.seen();
    assert_eq!(seen[0].path, "/storage/blob?signature=x");
    assert!(!seen[0].has_certificate, "shown to a stranger");
    assert_eq!(seen[0].get("authorization"), None);
}

#[tokio::test]
async fn insecure_does_not_reach_where_a_redirect_leads() {
    let storage = serve(server_config(&Identity::self_signed())).await;
    let target = format!("https://localhost:{}/storage/blob", storage.address.port());
    let tls = server_config(&Identity::self_signed());
    let registry = Upstream::start_tls(tls, move |_: Request, exchange: Exchange| {
        let location = format!("Location: {target}\r\n");
        async move { exchange.answer("307 Temporary Redirect", &location, b"").await }
    })
    .await;
    let product = Setup::new().start(&upstream(&registry, "insecure = true")).await;
    assert_eq!(Client::connect(product.address).await.get(&blob_path()).await.0.status, 504);
    assert!(storage.seen().is_empty());
}
