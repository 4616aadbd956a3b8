//! What a request's `Authorization` says.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::claims::TokenClaims;
use super::issuers::looks_like_token;
use crate::secret::{Basic, Secret};

/// What a client presents.
pub(super) enum Presented {
    /// Nothing, or an empty login.
    Nothing,
    /// A token of ours that is valid for this request.
    Token(TokenClaims),
    /// Expired, forged, or not one of ours.
    Unusable,
    /// A user name and a password.
    Basic(Basic),
    /// A token of an OIDC issuer, which nobody has verified.
    IssuersToken(Secret),
}

impl Presented {
    /// Reads the header; `open` opens a token that is valid for this request.
    pub(super) fn read(headers: &HeaderMap, open: impl FnOnce(&str) -> Option<TokenClaims>) -> Self {
        let Some(value) = headers.get(AUTHORIZATION) else { return Self::Nothing };
        let Some((scheme, rest)) = value.to_str().ok().and_then(|text| text.trim().split_once(' ')) else {
            return Self::Unusable;
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            return open(rest.trim()).map_or(Self::Unusable, Self::Token);
        }
        match basic_of(scheme, rest) {
            Some(Some(basic)) => Self::Basic(basic),
            Some(None) => Self::Nothing,
            None => Self::Unusable,
        }
    }
}

/// The token of an OIDC issuer in a header: as Bearer, or as the password of any user name.
pub(super) fn issuers_token_in(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim()).filter(|token| looks_like_token(token)).map(Secret::new);
    }
    basic_of(scheme, rest).flatten().map(|basic| basic.password).filter(|token| looks_like_token(token.expose()))
}

/// The login in a header, where there is one and it is not empty.
pub(super) fn login_in(headers: &HeaderMap) -> Option<Basic> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    basic_of(scheme, rest).flatten()
}

/// `None`: not Basic; `Some(None)`: Basic with an empty login, which means no login (P-45).
#[expect(clippy::option_option, reason = "absent, anonymous and named are three different things")]
fn basic_of(scheme: &str, rest: &str) -> Option<Option<Basic>> {
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(nonempty(Basic { username: username.to_owned(), password: Secret::new(password) }))
}

/// The login, unless user name and password are both empty.
pub(super) fn nonempty(basic: Basic) -> Option<Basic> {
    (!basic.username.is_empty() || !basic.password.expose().is_empty()).then_some(basic)
}
