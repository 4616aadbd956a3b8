//! `login = "gar"`: the metadata server, and workload identity federation with and without a service account.

use std::sync::atomic::Ordering;

use super::{doctor, form_service, protected, pulled, service};
use crate::fixture::{Client, Setup, blob_path, one_upstream};

const USERNAME: &str = "oauth2accesstoken";

#[tokio::test]
async fn an_instance_logs_in_by_the_metadata_server() {
    let registry = protected(USERNAME, "ya29.instance").await;
    let (metadata, asked) = service(|request| {
        let account = "/computeMetadata/v1/instance/service-accounts/default";
        if request.get("metadata-flavor") != Some("Google") {
            return None;
        }
        match request.path.strip_prefix(account)? {
            "/token" => {
                Some(r#"{"access_token":"ya29.instance","expires_in":3599,"token_type":"Bearer"}"#.to_owned())
            }
            "/email" => Some("pull@acme.iam.gserviceaccount.com".to_owned()),
            _ => None,
        }
    })
    .await;
    let setup = Setup::new()
        .variable("GCE_METADATA_HOST", &metadata.address.to_string())
        .variable("REGISTRY_PROXY_LOG__LEVEL", "debug");
    let toml = one_upstream("", registry.address, "login = 'gar'");
    let said = doctor(&setup, &toml).await;
    assert!(said.contains("logs in as pull@acme.iam.gserviceaccount.com"), "{said}");
    let before = asked.load(Ordering::Relaxed);
    let product = setup.start(&toml).await;
    pulled(&product).await;
    assert_eq!(asked.load(Ordering::Relaxed) - before, 1, "one login for both");
    product.wait_for_line("life_seconds=3599").await;
    assert!(!product.log().contains("ya29"), "{}", product.log());
}

#[tokio::test]
async fn a_workload_elsewhere_logs_in_by_federation() {
    let provider = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q";
    let setup = Setup::new();
    let subject = setup.file("token", r#"{"id_token":"subject-token"}"#);
    let (sts, _) = form_service(move |path, form| {
        let has = |pair: &str| form.split('&').any(|one| one == pair);
        let audience: String =
            url_escaped("//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q");
        let is_right = path == "/v1/token"
            && has(&format!("audience={audience}"))
            && has("subject_token=subject-token")
            && has("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange")
            && has("subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt");
        is_right.then(|| r#"{"access_token":"ya29.federated","expires_in":3600}"#.to_owned())
    })
    .await;
    let (accounts, _) = service(|request| {
        let is_right = request.path == "/v1/projects/-/serviceAccounts/pull@acme.test:generateAccessToken"
            && request.get("authorization") == Some("Bearer ya29.federated");
        is_right.then(|| r#"{"accessToken":"ya29.account","expireTime":"2030-01-01T00:00:00Z"}"#.to_owned())
    })
    .await;
    let file = |impersonation: &str, audience: &str| {
        format!(
            r#"{{"type":"external_account","audience":"{audience}","token_url":"http://{}/v1/token",
            "subject_token_type":"urn:ietf:params:oauth:token-type:jwt",{impersonation}
            "credential_source":{{"file":"{subject}","format":{{"type":"json","subject_token_field_name":"id_token"}}}}}}"#,
            sts.address
        )
    };
    let account = format!(
        r#""service_account_impersonation_url":"http://{}/v1/projects/-/serviceAccounts/pull@acme.test:generateAccessToken","#,
        accounts.address
    );
    for (impersonation, audience, key, token, name) in [
        ("", provider, String::new(), "ya29.federated", provider),
        (account.as_str(), "another", format!("\naudience = '{provider}'"), "ya29.account", "pull@acme.test"),
    ] {
        let registry = protected(USERNAME, token).await;
        let setup = Setup::new();
        let path = setup.file("federation.json", &file(impersonation, audience));
        let setup = setup.variable("GOOGLE_APPLICATION_CREDENTIALS", &path);
        let toml = one_upstream("", registry.address, &format!("login = 'gar'{key}"));
        let said = doctor(&setup, &toml).await;
        assert!(said.contains(&format!("logs in as {name}")), "{said}");
        pulled(&setup.start(&toml).await).await;
    }
}

#[tokio::test]
async fn the_key_of_a_service_account_is_refused_without_being_repeated() {
    let registry = protected(USERNAME, "t").await;
    let setup = Setup::new();
    let path = setup.file("key.json", r#"{"type":"service_account","private_key":"PRIVATE-KEY-TEXT"}"#);
    let product = setup
        .variable("GOOGLE_APPLICATION_CREDENTIALS", &path)
        .start(&one_upstream("", registry.address, "login = 'gar'"))
        .await;
    let mut client = Client::connect(product.address).await;
    assert_eq!(client.get(&blob_path()).await.0.status, 504);
    let line = product.wait_for_line("could not be renewed").await;
    assert!(line.contains("expected type external_account"), "{line}");
    assert!(!product.log().contains("PRIVATE-KEY-TEXT"));
}

fn url_escaped(text: &str) -> String {
    text.replace('/', "%2F")
}
