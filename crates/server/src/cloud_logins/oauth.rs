//! Tokens as OAuth 2.0 servers answer with them (RFC 6749 section 5.1): those of Google and of Microsoft, and their metadata
//! services.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use registry_proxy_core::platform::NotIssued;
use registry_proxy_core::secret::Secret;
use reqsign_core::FileRead as _;
use reqsign_file_read_tokio::TokioFileRead;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::client::{ANSWER_BYTES, refused};

/// An access token, and how long it is valid.
pub(super) struct AccessToken {
    pub(super) token: Secret,
    pub(super) life: Duration,
}

#[derive(Deserialize)]
struct AccessTokenAnswer {
    access_token: Secret,
    /// Seconds; Azure writes them as text.
    expires_in: Option<Value>,
}

impl AccessToken {
    /// The token in an answer of `who`.
    pub(super) fn of(who: &str, response: &Response<Bytes>) -> Result<Self, NotIssued> {
        if !response.status().is_success() {
            return Err(refused(who, response));
        }
        Self::read(response.body()).ok_or_else(|| NotIssued(format!("the answer of {who} has no token")))
    }

    /// An answer that says no life is good for the shortest one that counts.
    fn read(answer: &[u8]) -> Option<Self> {
        let answer: AccessTokenAnswer = serde_json::from_slice(answer).ok()?;
        let life = answer.expires_in.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let token = Some(answer.access_token).filter(|token| !token.expose().is_empty())?;
        Some(Self { token, life: Duration::from_secs(life.unwrap_or_default()) })
    }
}

/// A POST of a form.
pub(super) fn form(address: &str, pairs: &[(&str, &str)]) -> Result<Request<Bytes>, NotIssued> {
    let body = Serializer::new(String::new()).extend_pairs(pairs).finish();
    let request = Request::post(address).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    request.body(body.into()).map_err(|_| NotIssued("an address cannot be read".to_owned()))
}

/// What a file holds that contains a token or names its source.
pub(super) async fn file(path: &str) -> Result<String, NotIssued> {
    let wrong = |what: &str| NotIssued(format!("{path}: {what}"));
    let bytes = TokioFileRead.file_read(path).await.map_err(|_| wrong("cannot be read"))?;
    if bytes.len() as u64 > ANSWER_BYTES {
        return Err(wrong("too large"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_with_its_life_however_that_is_written() {
        for (expires, life) in [("3599", 3599), ("\"3599\"", 3599), ("null", 0), ("-5", 0), ("\"soon\"", 0)] {
            let answer = format!(r#"{{"access_token":"t","expires_in":{expires},"token_type":"Bearer"}}"#);
            let token = AccessToken::read(answer.as_bytes()).unwrap();
            assert_eq!((token.token.expose(), token.life.as_secs()), ("t", life), "{expires}");
        }
        for answer in ["", "{}", r#"{"access_token":""}"#, r#"{"access_token":7}"#, "[]"] {
            assert!(AccessToken::read(answer.as_bytes()).is_none(), "{answer}");
        }
    }
}
