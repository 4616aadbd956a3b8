//! `login = "acr"`: managed identities and workload tokens, exchanged at the registry itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{doctor, form, pulled, service};
use crate::fixture::{Exchange, Request, Setup, Upstream, blob_path, content, one_upstream};

/// {"appid":"11111111-2222-3333-4444-555555555555","tid":"contoso","iat":100,"exp":10900}
const ENTRA: &str = "e30.eyJhcHBpZCI6IjExMTExMTExLTIyMjItMzMzMy00NDQ0LTU1NTU1NTU1NTU1NSIsInRpZCI6ImNvbnRvc28iLCJpYXQiOjEwMCwiZXhwIjoxMDkwMH0.c2ln";
/// The same in an answer of Azure's, whose numbers are texts.
const ENTRA_ANSWER: &str = r#"{"access_token":"e30.eyJhcHBpZCI6IjExMTExMTExLTIyMjItMzMzMy00NDQ0LTU1NTU1NTU1NTU1NSIsInRpZCI6ImNvbnRvc28iLCJpYXQiOjEwMCwiZXhwIjoxMDkwMH0.c2ln","expires_in":"86399","token_type":"Bearer"}"#;
const REFRESH: &str = "e30.eyJpYXQiOjEwMCwiZXhwIjoxMDkwMH0.cmVm";

/// A registry as Azure's: it exchanges Entra's token for a refresh token, and that for an access token. It counts exchanges.
async fn registry() -> (Upstream, Arc<AtomicUsize>) {
    let exchanges = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&exchanges);
    let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| {
        let counted = Arc::clone(&counted);
        async move {
            let host = request.get("host").unwrap_or_default().to_owned();
            let body = form(&mut exchange, &request).await;
            let has = |pair: &str| body.split('&').any(|one| one == pair);
            let escaped_host = host.replace(':', "%3A");
            match request.path.as_str() {
                "/oauth2/exchange" => {
                    let is_right = has("grant_type=access_token")
                        && has(&format!("service={escaped_host}"))
                        && has(&format!("access_token={ENTRA}"));
                    counted.fetch_add(1, Ordering::Relaxed);
                    let answer = format!(r#"{{"refresh_token":"{REFRESH}"}}"#);
                    let status = if is_right { "200 OK" } else { "401 Unauthorized" };
                    exchange.answer(status, "", answer.as_bytes()).await
                }
                "/oauth2/token" => {
                    let is_right = has("grant_type=refresh_token")
                        && has(&format!("refresh_token={REFRESH}"))
                        && has("scope=repository%3Aacme%2Fapp%3Apull");
                    let status = if is_right { "200 OK" } else { "401 Unauthorized" };
                    exchange.answer(status, "", br#"{"access_token":"pull-token"}"#).await
                }
                path if path == blob_path() && request.get("authorization") == Some("Bearer pull-token") => {
                    exchange.blob(&request, &content(super::LENGTH)).await
                }
                _ => {
                    let challenge = format!("Bearer realm=\"http://{host}/oauth2/token\",service=\"{host}\"");
                    exchange.answer("401 Unauthorized", &format!("WWW-Authenticate: {challenge}\r\n"), b"{}").await
                }
            }
        }
    })
    .await;
    (upstream, exchanges)
}

const RESOURCE: &str = "resource=https%3A%2F%2Fcontainerregistry.azure.net";

#[tokio::test]
async fn a_virtual_machine_logs_in_by_its_managed_identity() {
    let (registry, exchanges) = registry().await;
    let (metadata, _) = service(|request| {
        let path = format!("/metadata/identity/oauth2/token?api-version=2018-02-01&{RESOURCE}&client_id=app");
        let is_right = request.path == path && request.get("metadata") == Some("true");
        is_right.then(|| ENTRA_ANSWER.to_owned())
    })
    .await;
    let setup = Setup::new()
        .variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", &format!("http://{}", metadata.address))
        .variable("AZURE_CLIENT_ID", "app")
        .variable("REGISTRY_PROXY_LOG__LEVEL", "debug");
    let toml = one_upstream("", registry.address, "login = 'acr'");
    let said = doctor(&setup, &toml).await;
    assert!(said.contains("logs in as 11111111-2222-3333-4444-555555555555 of the tenant contoso"), "{said}");
    let before = exchanges.load(Ordering::Relaxed);
    let product = setup.start(&toml).await;
    pulled(&product).await;
    assert_eq!(exchanges.load(Ordering::Relaxed) - before, 1, "one login for both");
    product.wait_for_line("life_seconds=10800").await;
    let log = product.log();
    for secret in [REFRESH, ENTRA, "pull-token"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn a_container_app_logs_in_by_the_endpoint_that_its_platform_names() {
    let (registry, _) = registry().await;
    let (endpoint, _) = service(|request| {
        let is_right = request.path == format!("/msi/token?api-version=2019-08-01&{RESOURCE}")
            && request.get("x-identity-header") == Some("header-secret");
        is_right.then(|| ENTRA_ANSWER.to_owned())
    })
    .await;
    let product = Setup::new()
        .variable("IDENTITY_ENDPOINT", &format!("http://{}/msi/token", endpoint.address))
        .variable("IDENTITY_HEADER", "header-secret")
        .start(&one_upstream("", registry.address, "login = 'acr'"))
        .await;
    pulled(&product).await;
}

#[tokio::test]
async fn a_pod_logs_in_by_its_service_account() {
    let (registry, _) = registry().await;
    let setup = Setup::new();
    let token = setup.file("token", "pod-token\n");
    let (entra, _) = super::form_service(|path, form| {
        let has = |pair: &str| form.split('&').any(|one| one == pair);
        let is_right = path == "/contoso/oauth2/v2.0/token"
            && has("client_id=app")
            && has("client_assertion=pod-token")
            && has("scope=https%3A%2F%2Fexample.test%2F.default");
        is_right.then(|| ENTRA_ANSWER.to_owned())
    })
    .await;
    let product = setup
        .variable("AZURE_FEDERATED_TOKEN_FILE", &token)
        .variable("AZURE_CLIENT_ID", "app")
        .variable("AZURE_AUTHORITY_HOST", &format!("http://{}/", entra.address))
        .start(&one_upstream(
            "",
            registry.address,
            "login = 'acr'\ntenant = 'contoso'\naudience = 'https://example.test'",
        ))
        .await;
    pulled(&product).await;
}
