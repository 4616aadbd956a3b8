//! Logins at Azure Container Registry: a Microsoft Entra token of the managed identity or of the workload's own token,
//! exchanged for a refresh token of the registry (`/oauth2/exchange`).

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Request;
use registry_proxy_core::platform::{IssuedLogin, NotIssued};
use registry_proxy_core::secret::{Basic, Secret};
use reqsign_core::Env as _;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::client::{CloudClient, refused, shown};
use super::oauth::{AccessToken, file, form};
use crate::environment::Environment;

/// Docker's user name for a refresh token.
const USERNAME: &str = "<token>";
/// What Entra is asked for a token for.
const AUDIENCE: &str = "https://containerregistry.azure.net";
const INSTANCE: &str = "http://169.254.169.254";
const AUTHORITY: &str = "https://login.microsoftonline.com/";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The life of a refresh token that does not tell its own: a third of what Azure documents.
const DEFAULT_LIFE: Duration = Duration::from_hours(1);

/// Logs in to one registry of Azure's.
pub(super) struct AcrLogin {
    client: CloudClient,
    registry: Url,
    audience: String,
    tenant: Option<String>,
}

/// Where the identity of this process comes from.
#[derive(Debug, PartialEq, Eq)]
enum AzureSource {
    /// A token in a file, which AKS writes for the pod's service account; any OIDC issuer can.
    WorkloadToken { path: String, client_id: String },
    /// The endpoint that App Service, Functions and Container Apps name, and the header that it wants.
    Endpoint { address: String, header: Secret },
    /// The metadata service of a virtual machine.
    Instance { address: String },
}

#[derive(Deserialize)]
struct ExchangeAnswer {
    refresh_token: Secret,
}

/// What a token tells of itself. It is not verified: nothing is decided by it but when to ask again.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    exp: Option<u64>,
    iat: Option<u64>,
    appid: Option<String>,
    oid: Option<String>,
    tid: Option<String>,
}

impl AzureSource {
    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, NotIssued> {
        if let Some(path) = variable("AZURE_FEDERATED_TOKEN_FILE") {
            let client_id =
                variable("AZURE_CLIENT_ID").ok_or_else(|| NotIssued("AZURE_CLIENT_ID is not set".to_owned()))?;
            return Ok(Self::WorkloadToken { path, client_id });
        }
        Ok(match (variable("IDENTITY_ENDPOINT"), variable("IDENTITY_HEADER")) {
            (Some(address), Some(header)) => Self::Endpoint { address, header: Secret::new(header) },
            _ => Self::Instance {
                address: variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| INSTANCE.to_owned()),
            },
        })
    }
}

impl AcrLogin {
    pub(super) fn new(
        registry: Url,
        client: CloudClient,
        audience: Option<String>,
        tenant: Option<String>,
    ) -> Self {
        let audience = audience.unwrap_or_else(|| AUDIENCE.to_owned());
        Self { client, registry, audience, tenant }
    }

    /// As whom this logs in.
    pub(super) async fn name(&self) -> Result<String, NotIssued> {
        let token = self.entra_token().await?;
        self.exchange(&token).await?;
        let told = Told::of(token.token.expose());
        let who = told.appid.or(told.oid).unwrap_or_else(|| "an identity without a name".to_owned());
        let tenant = told.tid.map(|tenant| format!(" of the tenant {}", shown(&tenant))).unwrap_or_default();
        Ok(format!("{}{tenant}", shown(&who)))
    }

    pub(super) async fn issue(&self) -> Result<IssuedLogin, NotIssued> {
        let token = self.entra_token().await?;
        let refresh_token = self.exchange(&token).await?;
        let life = Told::of(refresh_token.expose()).life().unwrap_or(DEFAULT_LIFE);
        Ok(IssuedLogin { basic: Basic { username: USERNAME.to_owned(), password: refresh_token }, life })
    }

    async fn entra_token(&self) -> Result<AccessToken, NotIssued> {
        let tenant = || self.tenant.clone().or_else(|| Environment.var("AZURE_TENANT_ID"));
        let (who, request) = match AzureSource::of(|name| Environment.var(name))? {
            AzureSource::WorkloadToken { path, client_id } => {
                let authority = Environment.var("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
                let tenant = tenant().ok_or_else(|| NotIssued("no tenant: set upstream.tenant".to_owned()))?;
                let address = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
                let assertion = Secret::new(file(&path).await?.trim());
                let pairs = [
                    ("grant_type", "client_credentials"),
                    ("client_id", &client_id),
                    ("client_assertion_type", ASSERTION),
                    ("client_assertion", assertion.expose()),
                    ("scope", &format!("{}/.default", self.audience)),
                ];
                ("Microsoft Entra", form(&address, &pairs)?)
            }
            AzureSource::Endpoint { address, header } => {
                let address = self.managed(&address, "2019-08-01");
                let request = Request::get(address).header("x-identity-header", header.expose());
                ("the identity endpoint", request.body(Bytes::new()).map_err(|_| unreadable("IDENTITY_ENDPOINT"))?)
            }
            AzureSource::Instance { address } => {
                let path = "/metadata/identity/oauth2/token";
                let address = self.managed(&format!("{}{path}", address.trim_end_matches('/')), "2018-02-01");
                let request = Request::get(address).header("metadata", "true").body(Bytes::new());
                ("the metadata service", request.map_err(|_| unreadable("AZURE_POD_IDENTITY_AUTHORITY_HOST"))?)
            }
        };
        AccessToken::of(who, &self.client.send(request).await?)
    }

    /// A question to a managed identity; `AZURE_CLIENT_ID` says which, where there are several.
    fn managed(&self, address: &str, version: &str) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("api-version", version).append_pair("resource", &self.audience);
        query.extend_pairs(Environment.var("AZURE_CLIENT_ID").map(|client| ("client_id", client)));
        format!("{address}?{}", query.finish())
    }

    /// Exchanges an Entra token at the registry itself.
    async fn exchange(&self, token: &AccessToken) -> Result<Secret, NotIssued> {
        let mut address = self.registry.clone();
        address.set_path("/oauth2/exchange");
        let mut pairs = vec![
            ("grant_type", "access_token"),
            ("service", self.registry.authority()),
            ("access_token", token.token.expose()),
        ];
        pairs.extend(self.tenant.as_deref().map(|tenant| ("tenant", tenant)));
        let response = self.client.send_to_registry(form(address.as_str(), &pairs)?).await?;
        if !response.status().is_success() {
            return Err(refused("the registry", &response));
        }
        let answer: Option<ExchangeAnswer> = serde_json::from_slice(response.body()).ok();
        let token = answer.map(|answer| answer.refresh_token).filter(|token| !token.expose().is_empty());
        token.ok_or_else(|| NotIssued("the answer of the registry has no refresh token".to_owned()))
    }
}

impl Told {
    /// What this JSON Web Token tells; nothing, if it is none.
    fn of(token: &str) -> Self {
        let payload = token.split('.').nth(1).and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok());
        payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default()
    }

    /// Its life by the clock that issued it.
    fn life(&self) -> Option<Duration> {
        self.exp?.checked_sub(self.iat?).filter(|life| *life > 0).map(Duration::from_secs)
    }
}

fn unreadable(what: &str) -> NotIssued {
    NotIssued(format!("{what} is no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_what_a_token_tells_by_its_own_clock() {
        let life = |payload: &str| {
            let payload = BASE64_URL_SAFE_NO_PAD.encode(payload);
            Told::of(&format!("e30.{payload}.c2ln")).life().map(|life| life.as_secs())
        };
        assert_eq!(life(r#"{"iat":100,"exp":10900}"#), Some(10_800));
        for payload in
            [r#"{"iat":100,"exp":100}"#, r#"{"iat":100,"exp":5}"#, r#"{"exp":5}"#, r#"{"iat":-1,"exp":5}"#, "[]"]
        {
            assert_eq!(life(payload), None, "{payload}");
        }
        for token in ["", "opaque", "a.b", "a.!.c"] {
            assert_eq!(Told::of(token).life(), None, "{token}");
        }
    }

    #[test]
    fn the_source_is_the_first_that_the_environment_names() {
        let all = [
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
            ("AZURE_CLIENT_ID", "id"),
            ("IDENTITY_ENDPOINT", "http://127.0.0.1/msi"),
            ("IDENTITY_HEADER", "h"),
        ];
        let of = |set: &[(&str, &str)]| {
            AzureSource::of(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        let workload = AzureSource::WorkloadToken { path: "/token".to_owned(), client_id: "id".to_owned() };
        assert_eq!(of(&all), Ok(workload));
        assert!(of(&all[..1]).is_err(), "Entra wants to know which application");
        let endpoint =
            AzureSource::Endpoint { address: "http://127.0.0.1/msi".to_owned(), header: Secret::new("h") };
        assert_eq!(of(&all[1..]), Ok(endpoint));
        assert_eq!(of(&all[1..3]), Ok(AzureSource::Instance { address: INSTANCE.to_owned() }));
    }
}
