//! Logins at Google Artifact Registry: an access token of the instance's, pod's or function's service account, by the metadata
//! server or by workload identity federation (a file of type `external_account`, RFC 8693).

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use registry_proxy_core::platform::{IssuedLogin, NotIssued};
use registry_proxy_core::secret::{Basic, Secret};
use reqsign_core::Env as _;
use serde::Deserialize;
use serde_json::Value;

use super::client::{CloudClient, refused, shown};
use super::oauth::{AccessToken, file, form};
use crate::environment::Environment;

/// The user name for an access token.
const USERNAME: &str = "oauth2accesstoken";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The metadata server's own address: its name would have to be resolved.
const METADATA_HOST: &str = "169.254.169.254";
/// How long a token of an impersonated service account is asked for, and its text in the request.
const IMPERSONATED_LIFE: Duration = Duration::from_hours(1);
const IMPERSONATION: &[u8] = br#"{"scope":["https://www.googleapis.com/auth/cloud-platform"],"lifetime":"3600s"}"#;

/// Logs in to Google's registries.
pub(super) struct GarLogin {
    client: CloudClient,
    /// In place of the file's.
    audience: Option<String>,
}

/// A file of workload identity federation, as `gcloud iam workload-identity-pools create-cred-config` writes it.
#[derive(Deserialize)]
struct ExternalAccount {
    r#type: String,
    #[serde(default)]
    audience: String,
    #[serde(default)]
    subject_token_type: String,
    #[serde(default)]
    token_url: String,
    #[serde(default)]
    credential_source: SubjectSource,
    service_account_impersonation_url: Option<String>,
}

/// Where the token of another issuer is.
#[derive(Deserialize, Default)]
#[serde(default)]
struct SubjectSource {
    file: Option<String>,
    url: Option<String>,
    headers: HashMap<String, Secret>,
    format: SubjectFormat,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SubjectFormat {
    subject_token_field_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImpersonatedAnswer {
    access_token: Secret,
}

impl GarLogin {
    pub(super) fn new(client: CloudClient, audience: Option<String>) -> Self {
        Self { client, audience }
    }

    /// As whom this logs in.
    pub(super) async fn name(&self) -> Result<String, NotIssued> {
        let Some(path) = credentials_file() else {
            let response = self.client.send(metadata("email")?).await?;
            if !response.status().is_success() {
                return Err(refused("the metadata server", &response));
            }
            return Ok(shown(&String::from_utf8_lossy(response.body())));
        };
        let account = self.account(&path).await?;
        // Somebody has to be let in before there is a name.
        self.federated(&account).await?;
        Ok(shown(account.impersonated().unwrap_or(&account.audience)))
    }

    pub(super) async fn issue(&self) -> Result<IssuedLogin, NotIssued> {
        let token = match credentials_file() {
            Some(path) => self.federated(&self.account(&path).await?).await?,
            None => AccessToken::of("the metadata server", &self.client.send(metadata("token")?).await?)?,
        };
        let basic = Basic { username: USERNAME.to_owned(), password: token.token };
        Ok(IssuedLogin { basic, life: token.life })
    }

    async fn account(&self, path: &str) -> Result<ExternalAccount, NotIssued> {
        // The text may contain a key: report only the line of an error.
        let mut account: ExternalAccount = serde_json::from_str(&file(path).await?)
            .map_err(|error| NotIssued(format!("{path}: not readable in line {}", error.line())))?;
        if account.r#type != "external_account" {
            let what = "expected type external_account; the key of a service account is a password: see docs/how-to/cloud-registries.md";
            return Err(NotIssued(format!("{path}: {what}")));
        }
        if let Some(audience) = &self.audience {
            account.audience.clone_from(audience);
        }
        Ok(account)
    }

    /// Exchanges the token of another issuer for one of Google's.
    async fn federated(&self, account: &ExternalAccount) -> Result<AccessToken, NotIssued> {
        let subject = self.subject(&account.credential_source).await?;
        let request = form(
            &account.token_url,
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("audience", &account.audience),
                ("scope", SCOPE),
                ("subject_token", subject.expose()),
                ("subject_token_type", &account.subject_token_type),
            ],
        )?;
        let token = AccessToken::of("the token service", &self.client.send(request).await?)?;
        match &account.service_account_impersonation_url {
            Some(url) => self.impersonating(url, &token).await,
            None => Ok(token),
        }
    }

    async fn subject(&self, source: &SubjectSource) -> Result<Secret, NotIssued> {
        let text = match source {
            SubjectSource { file: Some(path), .. } => file(path).await?,
            SubjectSource { url: Some(url), headers, .. } => {
                let request = headers
                    .iter()
                    .fold(Request::get(url), |request, (name, value)| request.header(name, value.expose()));
                let request = request.body(Bytes::new()).map_err(|_| unreadable("credential_source.url"))?;
                let response = self.client.send(request).await?;
                if !response.status().is_success() {
                    return Err(refused("the source of the subject token", &response));
                }
                String::from_utf8_lossy(response.body()).into_owned()
            }
            SubjectSource { .. } => {
                return Err(NotIssued("credential_source has neither file nor url".to_owned()));
            }
        };
        let token = match &source.format.subject_token_field_name {
            Some(field) => {
                let value: Value = serde_json::from_str(&text).unwrap_or_default();
                value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            None => text.trim().to_owned(),
        };
        if token.is_empty() {
            return Err(NotIssued("the source of the subject token has none".to_owned()));
        }
        Ok(Secret::new(token))
    }

    async fn impersonating(&self, url: &str, own: &AccessToken) -> Result<AccessToken, NotIssued> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", own.token.expose()))
            .map_err(|_| NotIssued("the token service gave no usable token".to_owned()))?;
        bearer.set_sensitive(true);
        let request = Request::post(url).header(AUTHORIZATION, bearer).header(CONTENT_TYPE, "application/json");
        let request = request
            .body(Bytes::from_static(IMPERSONATION))
            .map_err(|_| unreadable("service_account_impersonation_url"))?;
        let response = self.client.send(request).await?;
        if !response.status().is_success() {
            return Err(refused("the service account", &response));
        }
        let answer: ImpersonatedAnswer = serde_json::from_slice(response.body())
            .map_err(|_| NotIssued("the answer of the service account has no token".to_owned()))?;
        Ok(AccessToken { token: answer.access_token, life: IMPERSONATED_LIFE })
    }
}

impl ExternalAccount {
    /// The service account of `…/serviceAccounts/NAME:generateAccessToken`.
    fn impersonated(&self) -> Option<&str> {
        let url = self.service_account_impersonation_url.as_deref()?;
        url.rsplit('/').next()?.split(':').next()
    }
}

fn credentials_file() -> Option<String> {
    Environment.var("GOOGLE_APPLICATION_CREDENTIALS")
}

/// A question about the service account that this machine, pod or function has.
fn metadata(what: &str) -> Result<Request<Bytes>, NotIssued> {
    let host = Environment.var("GCE_METADATA_HOST").unwrap_or_else(|| METADATA_HOST.to_owned());
    let address = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/{what}");
    let request = Request::get(address).header("metadata-flavor", "Google");
    request.body(Bytes::new()).map_err(|_| unreadable("GCE_METADATA_HOST"))
}

fn unreadable(what: &str) -> NotIssued {
    NotIssued(format!("{what} is no address"))
}
