//! Logins at Amazon Elastic Container Registry: `GetAuthorizationToken`, signed as the identity of this process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use registry_proxy_core::platform::{IssuedLogin, NotIssued};
use registry_proxy_core::secret::{Basic, Secret};
use serde::Deserialize;

use super::aws::AwsIdentity;
use super::client::{CloudClient, refused};
use super::ecr_host::EcrHost;

/// Logs in to one ECR registry.
pub(super) struct EcrLogin {
    host: EcrHost,
    identity: AwsIdentity,
}

/// The answer of `GetAuthorizationToken`: a list for private registries, one entry for the public one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EcrAnswer {
    authorization_data: OneOrMany,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(AuthorizationData),
    Many(Vec<AuthorizationData>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationData {
    authorization_token: Secret,
    /// Seconds since 1970.
    expires_at: f64,
}

impl EcrLogin {
    pub(super) fn new(host: EcrHost, client: CloudClient, role_arn: Option<String>) -> Self {
        let identity = AwsIdentity::new(client, host.region.clone(), role_arn);
        Self { host, identity }
    }

    /// As whom this logs in.
    pub(super) async fn name(&self) -> Result<String, NotIssued> {
        self.identity.name().await
    }

    pub(super) async fn issue(&self) -> Result<IssuedLogin, NotIssued> {
        let (address, operation) = self.host.service();
        let request = Request::post(address)
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", operation)
            .body(Bytes::from_static(b"{}"))
            .map_err(|_| NotIssued("no address".to_owned()))?;
        let response = self.identity.send(self.host.signing_name(), request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused("ECR", &response));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        read(response.body(), now).ok_or_else(|| NotIssued("the answer of ECR has no login".to_owned()))
    }
}

/// The login in an answer that came at this time (since 1970).
fn read(answer: &[u8], now: Duration) -> Option<IssuedLogin> {
    let answer: EcrAnswer = serde_json::from_slice(answer).ok()?;
    let data = match answer.authorization_data {
        OneOrMany::One(data) => data,
        OneOrMany::Many(list) => list.into_iter().next()?,
    };
    let pair = String::from_utf8(BASE64_STANDARD.decode(data.authorization_token.expose()).ok()?).ok()?;
    let (username, password) = pair.split_once(':').filter(|(_, password)| !password.is_empty())?;
    let end = Duration::try_from_secs_f64(data.expires_at).ok()?;
    let basic = Basic { username: username.to_owned(), password: Secret::new(password) };
    Some(IssuedLogin { basic, life: end.saturating_sub(now) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_001);

    #[test]
    fn a_login_is_read_from_both_forms_of_the_answer() {
        // "AWS:secret"
        let data =
            r#"{"authorizationToken":"QVdTOnNlY3JldA==","expiresAt":1800043201.5,"proxyEndpoint":"https://x"}"#;
        for answer in
            [format!(r#"{{"authorizationData":[{data}]}}"#), format!(r#"{{"authorizationData":{data}}}"#)]
        {
            let login = read(answer.as_bytes(), NOW).unwrap();
            assert_eq!((login.basic.username.as_str(), login.basic.password.expose()), ("AWS", "secret"));
            assert_eq!(login.life, Duration::from_millis(43_200_500));
            assert!(!format!("{login:?}").contains("secret"));
        }
    }

    #[test]
    fn an_end_in_the_past_is_no_life_and_nonsense_is_no_login() {
        let of = |token: &str, end: &str| {
            let data = format!(r#"{{"authorizationToken":"{token}","expiresAt":{end}}}"#);
            read(format!(r#"{{"authorizationData":[{data}]}}"#).as_bytes(), NOW)
        };
        // As moto says it.
        assert_eq!(of("QVdTOnNlY3JldA==", "1420070400").unwrap().life, Duration::ZERO);
        for (token, end) in [
            ("QVdTOnNlY3JldA==", "-1"),
            ("QVdTOnNlY3JldA==", "1e300"),
            ("QVdTOnNlY3JldA==", "\"soon\""),
            ("QVdTOg==", "1800043200"),
            ("QVdT", "1800043200"),
            ("not base64", "1800043200"),
        ] {
            assert!(of(token, end).is_none(), "{token} {end}");
        }
        for text in ["", "{}", r#"{"authorizationData":[]}"#, "[]"] {
            assert!(read(text.as_bytes(), NOW).is_none(), "{text}");
        }
    }
}
