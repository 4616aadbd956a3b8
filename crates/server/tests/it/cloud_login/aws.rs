//! `login = "ecr"`: each source of an identity at AWS, and moto in place of STS and ECR.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use super::{doctor, protected, pulled, service};
use crate::fixture::{Client, Request, Setup, blob_path, forward_proxy, one_upstream};

const REGION: (&str, &str) = ("AWS_REGION", "eu-central-1");

fn config(registry: SocketAddr, more: &str) -> String {
    one_upstream("", registry, &format!("login = 'ecr'\n{more}"))
}

fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}

/// The answer of ECR: `AWS:ecr-password` for twelve hours, to whoever signs with this key and this session.
fn ecr(key: &'static str, session: &'static str) -> impl Fn(&Request) -> Option<String> + Send + Sync + 'static {
    move |request| {
        let signature = request.get("authorization")?;
        let is_known = signature.starts_with(&format!("AWS4-HMAC-SHA256 Credential={key}/"))
            && signature.contains("/eu-central-1/ecr/aws4_request")
            && request.get("x-amz-security-token") == Some(session)
            && request.get("x-amz-target") == Some("AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
            && request.get("host") == Some("api.ecr.eu-central-1.amazonaws.com");
        let end = 4_000_000_000_u64;
        is_known.then(|| {
            // "AWS:ecr-password"
            format!(r#"{{"authorizationData":[{{"authorizationToken":"QVdTOmVjci1wYXNzd29yZA==","expiresAt":{end}.5}}]}}"#)
        })
    }
}

const ROLE_CREDENTIALS: &str = r#""AccessKeyId":"AKIDROLE","SecretAccessKey":"role-secret","Token":"role-session","Expiration":"2099-01-01T00:00:00Z""#;

#[tokio::test]
async fn a_container_logs_in_by_the_endpoint_that_its_platform_names() {
    let registry = protected("AWS", "ecr-password").await;
    let (endpoint, _) = service(|request| {
        let is_known = request.path == "/v1/credentials" && request.get("authorization") == Some("pod-token");
        is_known.then(|| format!("{{{ROLE_CREDENTIALS}}}"))
    })
    .await;
    let (ecr, asked) = service(ecr("AKIDROLE", "role-session")).await;
    let setup = Setup::new();
    let token = setup.file("pod-token", "pod-token\n");
    let product = setup
        .variable(REGION.0, REGION.1)
        .variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url(endpoint.address, "/v1/credentials"))
        .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)
        .variable("AWS_ENDPOINT_URL_ECR", &url(ecr.address, ""))
        .variable("REGISTRY_PROXY_LOG__LEVEL", "debug")
        .start(&config(registry.address, ""))
        .await;
    pulled(&product).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1, "one login for both");
    product.wait_for_line("the proxy's login to this upstream is renewed").await;
    let log = product.log();
    for secret in ["ecr-password", "role-secret", "role-session", "pod-token\""] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn an_instance_logs_in_by_its_metadata_service() {
    let registry = protected("AWS", "ecr-password").await;
    let (metadata, _) = service(|request| {
        let roles = "/latest/meta-data/iam/security-credentials/";
        let has_token = request.get("x-aws-ec2-metadata-token") == Some("imds-token");
        match (request.method.as_str(), request.path.as_str()) {
            ("PUT", "/latest/api/token") => Some("imds-token".to_owned()),
            ("GET", path) if path == roles && has_token => Some("pull-role".to_owned()),
            ("GET", path) if path == format!("{roles}pull-role") && has_token => {
                Some(format!(r#"{{"Code":"Success","Message":"",{ROLE_CREDENTIALS}}}"#))
            }
            _ => None,
        }
    })
    .await;
    let (ecr, _) = service(ecr("AKIDROLE", "role-session")).await;
    let product = Setup::new()
        .variable(REGION.0, REGION.1)
        .variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url(metadata.address, ""))
        .variable("AWS_ENDPOINT_URL_ECR", &url(ecr.address, ""))
        .start(&config(registry.address, ""))
        .await;
    pulled(&product).await;
}

#[tokio::test]
async fn a_function_logs_in_by_its_variables() {
    let registry = protected("AWS", "ecr-password").await;
    let (ecr, _) = service(ecr("AKIDFUNCTION", "function-session")).await;
    let product = Setup::new()
        .variable(REGION.0, REGION.1)
        .variable("AWS_ACCESS_KEY_ID", "AKIDFUNCTION")
        .variable("AWS_SECRET_ACCESS_KEY", "s")
        .variable("AWS_SESSION_TOKEN", "function-session")
        .variable("AWS_ENDPOINT_URL_ECR", &url(ecr.address, ""))
        .start(&config(registry.address, ""))
        .await;
    pulled(&product).await;
}

#[tokio::test]
async fn a_refused_identity_is_in_the_log_and_the_client_hears_of_a_login() {
    let registry = protected("AWS", "ecr-password").await;
    let (ecr, _) = service(ecr("AKIDANOTHER", "s")).await;
    let product = Setup::new()
        .variable(REGION.0, REGION.1)
        .variable("AWS_ACCESS_KEY_ID", "AKIDFUNCTION")
        .variable("AWS_SECRET_ACCESS_KEY", "function-secret")
        .variable("AWS_ENDPOINT_URL_ECR", &url(ecr.address, ""))
        .start(&config(registry.address, ""))
        .await;
    let mut client = Client::connect(product.address).await;
    let (head, body) = client.get(&blob_path()).await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!(head.status, 504, "{body}");
    assert!(body.contains("this proxy's login to it could not be renewed"), "{body}");
    let line = product.wait_for_line("could not be renewed; what is cached is served").await;
    assert!(line.contains("ECR answers 403 Forbidden: not you"), "{line}");
    assert!(!product.log().contains("function-secret"));
}

/// It is on another machine, whose identity would be told, or which would see the credentials.
#[tokio::test]
async fn a_forward_proxy_is_not_asked_who_this_is() {
    let registry = protected("AWS", "ecr-password").await;
    let (forward, asked) = forward_proxy(registry.address).await;
    let product = Setup::new()
        .variable(REGION.0, REGION.1)
        // Nothing answers there but on ECS.
        .variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.2/credentials")
        .start(&config(registry.address, &format!("proxy = 'http://{forward}'")))
        .await;
    let mut client = Client::connect(product.address).await;
    client.get(&blob_path()).await;
    assert!(asked.lock().unwrap().is_empty(), "{:?}", asked.lock().unwrap());
}

/// A service on another machine, where credentials would travel in the clear.
#[tokio::test]
async fn no_credential_is_asked_for_over_plain_http_from_another_machine() {
    let registry = protected("AWS", "ecr-password").await;
    let product = Setup::new()
        .variable(REGION.0, REGION.1)
        .variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/credentials")
        .start(&config(registry.address, ""))
        .await;
    let mut client = Client::connect(product.address).await;
    assert_eq!(client.get(&blob_path()).await.0.status, 504);
    let line = product.wait_for_line("could not be renewed").await;
    assert!(line.contains("192.0.2.1 is not asked: plain HTTP is for metadata services"), "{line}");
}

#[tokio::test]
async fn a_registry_whose_region_nothing_names_is_refused_by_check() {
    let setup = Setup::new();
    let path = setup.file("proxy.toml", "[[upstream]]\nname='x.test'\nurls=['https://x.test']\nlogin='ecr'\n");
    let output = setup.run(&["--config", &path, "check"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("upstream[0].login") && said.contains("AWS_REGION"), "{said}");
}

/// Where moto is, if it was started: `cargo xtask test` does, and names it with the buckets.
fn moto() -> Option<String> {
    let named = std::env::var("REGISTRY_PROXY_TEST_BUCKETS").unwrap_or_default();
    let words: Vec<&str> = named.split_whitespace().collect();
    let moto = words.chunks_exact(2).find(|pair| pair[0] == "moto").map(|pair| pair[1].to_owned());
    if moto.is_none() {
        eprintln!("moto is not tried: REGISTRY_PROXY_TEST_BUCKETS does not name it");
    }
    moto
}

#[tokio::test]
async fn a_pod_logs_in_by_its_service_account_and_a_second_role_at_moto() {
    let Some(moto) = moto() else { return };
    // What moto issues to an identity of this account.
    let registry = protected("AWS", "123456789012-auth-token").await;
    let role = "arn:aws:iam::123456789012:role/pod";
    for (role_arn, given, expected) in [
        // The pod's own role, the same by the configuration, and another one by way of the pod's.
        ("", role, "arn:aws:sts::123456789012:assumed-role/pod/registry-proxy"),
        (role, "", "arn:aws:sts::123456789012:assumed-role/pod/registry-proxy"),
        (
            "arn:aws:iam::123456789012:role/pull",
            role,
            "arn:aws:sts::123456789012:assumed-role/pull/registry-proxy",
        ),
    ] {
        let setup = Setup::new();
        let token = setup.file("token", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwb2QifQ.c2ln");
        let setup = setup
            .variable(REGION.0, REGION.1)
            .variable("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
            .variable("AWS_ROLE_ARN", given)
            .variable("AWS_ENDPOINT_URL", &moto);
        let more = if role_arn.is_empty() { String::new() } else { format!("role_arn = '{role_arn}'") };
        let toml = config(registry.address, &more);
        let said = doctor(&setup, &toml).await;
        assert!(said.contains(&format!("logs in as {expected}")), "{said}");
        pulled(&setup.start(&toml).await).await;
    }
}
