//! What a JSON Web Token says of itself (RFC 7519 section 4.1). Its signature is not verified: nothing is decided by this but
//! until when a login counts, and which of an issuer's tokens is for the proxy. The proxy verifies it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// The longest token that is looked into.
const MOST_BYTES: usize = 32 << 10;

/// The claims that matter here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WebToken {
    /// `exp`, in seconds since 1970; `None`: it says none.
    pub(super) expires: Option<u64>,
    /// `aud`.
    pub(super) audiences: Vec<String>,
}

#[derive(Deserialize)]
struct WebTokenPayload {
    exp: Option<Number>,
    aud: Option<Audience>,
}

/// One audience or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl WebToken {
    /// `None`: it is no such token.
    pub(super) fn read(token: &str) -> Option<Self> {
        let mut parts = Some(token).filter(|token| token.len() <= MOST_BYTES)?.split('.');
        let (header, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        serde_json::from_slice::<Map<String, Value>>(&decoded(header)?).ok()?;
        let payload: WebTokenPayload = serde_json::from_slice(&decoded(payload)?).ok()?;
        let audiences = match payload.aud {
            None => Vec::new(),
            Some(Audience::One(audience)) => vec![audience],
            Some(Audience::Several(audiences)) => audiences,
        };
        Some(Self { expires: payload.exp.as_ref().and_then(whole_seconds), audiences })
    }
}

/// A `NumericDate` may have a fraction.
fn whole_seconds(number: &Number) -> Option<u64> {
    number.as_u64().or_else(|| number.to_string().split('.').next()?.parse().ok())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A token with this payload, signed by nobody.
    pub(in crate::client_logins) fn token(payload: &str) -> String {
        let encoded = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", encoded(r#"{"alg":"RS256"}"#), encoded(payload))
    }

    #[test]
    fn a_token_tells_its_end_and_its_audiences_in_each_of_their_forms() {
        for (payload, expires, audiences) in [
            (r#"{"exp":1790000000,"aud":"proxy.example.com"}"#, Some(1_790_000_000), &["proxy.example.com"][..]),
            (r#"{"exp":1790000000.75,"aud":["a","b"],"sub":"x"}"#, Some(1_790_000_000), &["a", "b"]),
            (r#"{"exp":-5}"#, None, &[]),
            ("{}", None, &[]),
        ] {
            let read = WebToken::read(&token(payload)).unwrap();
            assert_eq!(
                (read.expires, read.audiences),
                (expires, audiences.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn what_is_no_token_is_not_read_as_one() {
        let long = token(&format!(r#"{{"aud":"{}"}}"#, "a".repeat(40_000)));
        for text in [
            "",
            "opaque",
            "a.b",
            "e30.e30.c2ln.more",
            "!.e30.c2ln",
            "W10.e30.c2ln",
            &token("[]"),
            &token(r#"{"exp":"soon"}"#),
            &token(r#"{"aud":7}"#),
            &long,
        ] {
            assert_eq!(WebToken::read(text), None, "{text:.60}");
        }
    }
}
