//! Tokens for the upstream, which clients never see (P-61 … P-65): the `Authorization` that fits an address's challenge, and
//! where a password may be sent.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use url::Url;

use super::challenge::UpstreamChallenge;
use super::reports::FailureKind;
use super::token::{NoToken, Token, TokenKey};
use super::{Address, Ask, Login, Upstream, header_value, realm};
use crate::error::Failure;
use crate::platform::TransportError;
use crate::secret::{Basic, SafeUrl};

/// How long a 429 without `Retry-After` counts.
pub(super) const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest time that a 429 counts. Clients are told less (P-120).
const MAX_RETRY_AFTER_SECONDS: u64 = 3600;

/// An `Authorization` to send, and where it comes from.
pub(super) struct Authorization {
    pub(super) header: Option<HeaderValue>,
    /// The table's key of the token in it.
    pub(super) key: Option<TokenKey>,
    /// Whether it was fetched just now: if it is refused, another would be refused too.
    pub(super) is_fresh: bool,
}

impl Upstream {
    /// The `Authorization` for what is known of this address. Nothing is sent before a challenge has been seen.
    pub(super) async fn authorization(
        &self,
        address: &Address,
        ask: &Ask,
        login: Option<&Arc<Login>>,
        fresh: bool,
    ) -> Result<Authorization, NoToken> {
        match address.challenge() {
            None => Ok(Authorization { header: None, key: None, is_fresh: false }),
            Some(UpstreamChallenge::Basic) => Ok(Authorization {
                header: login.map(|login| basic_header(&login.basic)),
                key: None,
                is_fresh: true,
            }),
            Some(UpstreamChallenge::Bearer { realm, service }) => {
                let scope = scope_of(ask);
                let (token, key, is_fresh) =
                    self.token(&address.url, &realm, service.as_deref(), login, &scope, fresh).await?;
                Ok(Authorization { header: Some(token.header), key: Some(key), is_fresh })
            }
        }
    }

    /// A token, remembered or fetched.
    pub(super) async fn token(
        &self,
        registry: &Url,
        realm: &Url,
        service: Option<&str>,
        login: Option<&Arc<Login>>,
        scope: &str,
        fresh: bool,
    ) -> Result<(Token, TokenKey, bool), NoToken> {
        let key = TokenKey {
            upstream: self.index,
            realm: format!("{realm} {}", service.unwrap_or_default()),
            credential: login.map_or([0; 16], |login| login.id),
            scope: scope.to_owned(),
        };
        if fresh {
            self.tokens.forget(&key);
        } else if let Some(token) = self.tokens.find(&key, self.platform.clock.now()) {
            return Ok((token, key, false));
        }
        if login.is_some() && !realm::is_trusted(registry, realm, &self.config.realms) {
            if let Some(repeated) = self.report(FailureKind::Realm) {
                tracing::error!(
                    upstream = self.name(),
                    realm = %SafeUrl(realm),
                    repeated,
                    "the upstream names a token server that is not trusted with the password; if it is the right one, add it to upstream.realms"
                );
            }
            return Err(NoToken::Failed(Failure::RealmNotTrusted));
        }
        let token = self
            .tokens
            .fetch(&key, || self.fetch_token(realm, service, login.map(|login| &**login), scope))
            .await?;
        Ok((token, key, true))
    }

    /// `Retry-After` in seconds or as a date; anything else counts as a few seconds (P-120).
    pub(super) fn retry_after(&self, headers: &HeaderMap) -> Duration {
        let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
        let seconds = text.and_then(|text| {
            text.parse::<u64>().ok().or_else(|| {
                let date = httpdate::parse_http_date(text).ok()?;
                let then = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
                Some(then.saturating_sub(self.platform.clock.unix_seconds()))
            })
        });
        seconds
            .map_or(DEFAULT_RETRY_AFTER, |seconds| Duration::from_secs(seconds.clamp(1, MAX_RETRY_AFTER_SECONDS)))
    }
}

/// The scope of the token spec, built from the repository and never from a challenge (P-62).
fn scope_of(ask: &Ask) -> String {
    let scope = format!("repository:{}:{}", ask.name, ask.actions.as_str());
    match &ask.mount_from {
        Some(from) => format!("{scope} repository:{from}:pull"),
        None => scope,
    }
}

pub(super) fn basic_header(basic: &Basic) -> HeaderValue {
    let pair = format!("{}:{}", basic.username, basic.password.expose());
    let mut value = header_value(&format!("Basic {}", BASE64_STANDARD.encode(pair)));
    value.set_sensitive(true);
    value
}

/// What a transport's error means to those who asked.
pub(super) fn failure_of(error: &TransportError) -> Failure {
    match error {
        TransportError::Connect { why, .. } => Failure::Unreachable(*why),
        TransportError::AddressRefused { .. } => Failure::Redirect("to a private address"),
        TransportError::Busy => Failure::Busy,
        TransportError::Broken(_) => Failure::Broken,
    }
}

/// An error with everything that caused it, for the log.
pub(super) struct Chain<'a>(pub(super) &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
