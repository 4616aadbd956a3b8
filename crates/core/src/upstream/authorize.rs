//! The token dance, all on our side (P-61 … P-65): which `Authorization` fits an address's challenge, and where a
//! password may go.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::response::Parts as Pong;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use url::Url;

use super::challenge::Challenge;
use super::follow;
use super::memory::Health;
use super::reply::{Failure, Trouble};
use super::reports::Kind;
use super::token::{MAX_TOKEN_BYTES, NoToken, Token, TokenAnswer, TokenKey};
use super::{Address, Ask, Login, NO_ADDRESS, Upstream, header_value, realm};
use crate::body::{Body, BodyError};
use crate::platform::{Outgoing, Purpose, Reach, TransportError, within};
use crate::secret::{Basic, SafeUrl};

/// Largest answer of a token server we read: its token may stand there twice (P-64).
const TOKEN_ANSWER_BYTES: u64 = 3 * MAX_TOKEN_BYTES as u64;
/// Docker's mark for an identity token in place of a user name.
const IDENTITY_TOKEN_USER: &str = "<token>";
/// How long a 429 counts that does not say.
pub(super) const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest that a 429 counts, whatever it says. Clients are told less (P-120).
const MAX_RETRY_AFTER_SECONDS: u64 = 3600;

/// An `Authorization` to send, and where it comes from.
pub(super) struct Authorization {
    pub(super) header: Option<HeaderValue>,
    /// The table's key of the token in it.
    pub(super) key: Option<TokenKey>,
    /// Fetched just now: if it is refused, another would be too.
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
            Some(Challenge::Basic) => Ok(Authorization {
                header: login.map(|login| basic_header(&login.basic)),
                key: None,
                is_fresh: true,
            }),
            Some(Challenge::Bearer { realm, service }) => {
                let scope = scope_of(ask);
                let (token, key, is_fresh) =
                    self.token(&address.url, &realm, service.as_deref(), login, &scope, fresh).await?;
                Ok(Authorization { header: Some(bearer_header(&token)), key: Some(key), is_fresh })
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
            if let Some(repeated) = self.report(Kind::Realm) {
                tracing::error!(
                    upstream = self.name(),
                    realm = %SafeUrl(realm),
                    repeated,
                    "the upstream names a token server that its password is not sent to; if it is right, add it to upstream.realms"
                );
            }
            return Err(NoToken::Failed(Failure::RealmNotTrusted));
        }
        let token = self.tokens.fetch(&key, || self.fetch_token(realm, service, login, scope)).await?;
        Ok((token, key, true))
    }

    async fn fetch_token(
        &self,
        realm: &Url,
        service: Option<&str>,
        login: Option<&Arc<Login>>,
        scope: &str,
    ) -> Result<Token, NoToken> {
        let health = self.elsewhere.health(realm);
        if !self.may_try(&health) {
            return Err(NoToken::Failed(self.resting(&health)));
        }
        let request = || token_request(realm, service, login.map(|login| &login.basic), scope);
        let started = self.platform.clock.now();
        let mut answer = self.ask_token_server(realm, &health, request()).await;
        if let Ok((head, _)) = &answer
            && let Some(wait) = self.comes_back_soon(head.status, &head.headers)
        {
            self.platform.clock.sleep(wait).await;
            answer = self.ask_token_server(realm, &health, request()).await;
        }
        let outcome = match answer {
            Err(failure) => Err(NoToken::Failed(failure)),
            Ok((head, body)) => match head.status {
                StatusCode::OK => match serde_json::from_slice::<TokenAnswer>(&body) {
                    Ok(answer) => answer.into_token(started).map_err(NoToken::Failed),
                    Err(_) => Err(NoToken::Failed(Failure::Nonsense("no token in the token server's answer"))),
                },
                StatusCode::TOO_MANY_REQUESTS => Err(NoToken::Limited(self.retry_after(&head.headers))),
                status if status.is_client_error() => Err(NoToken::Refused(self.said(&body))),
                status => Err(NoToken::Failed(Failure::Status(status))),
            },
        };
        let result = match &outcome {
            Ok(_) => "ok",
            Err(NoToken::Refused(_)) => "refused",
            Err(NoToken::Limited(_)) => "limited",
            Err(NoToken::Failed(_)) => "failed",
        };
        crate::telemetry::token_fetched(self.label(), result);
        outcome
    }

    /// One request to a token server; its health is kept.
    async fn ask_token_server(
        &self,
        realm: &Url,
        health: &Health,
        request: Request<Body>,
    ) -> Result<(Pong, Bytes), Failure> {
        // Only the configured addresses are ours: a stranger's realm on the stranger's own host is still a stranger's.
        let own = self.addresses.iter().find(|address| address.url.origin() == realm.origin());
        let Some(address) = own.or(self.addresses.first()) else {
            return Err(NO_ADDRESS);
        };
        let is_named = self.config.realms.iter().any(|url| url.origin() == realm.origin());
        let reach = match follow::reach(&self.policy(address), realm, own.is_some()) {
            Reach::Public if is_named => Reach::Trusted,
            other => other,
        };
        let outgoing = Outgoing { request, upstream: self.index, reach, purpose: Purpose::Api };
        let started = self.platform.clock.now();
        let answer = within(&*self.platform.clock, self.timeouts.first_byte.0, async {
            let response = self.platform.transport.send(outgoing).await.map_err(|error| {
                if let Some(repeated) = self.report(Kind::TokenServer) {
                    let (name, error) = (self.name(), Chain(&error));
                    tracing::warn!(upstream = name, realm = %SafeUrl(realm), %error, repeated, "token server not reached");
                }
                failure_of(&error)
            })?;
            let (head, body) = response.into_parts();
            let body = body.collect(TOKEN_ANSWER_BYTES).await.map_err(|error| match error {
                BodyError::TooLarge { .. } => Failure::TooLarge,
                _ => Failure::Broken,
            })?;
            Ok::<_, Failure>((head, body))
        })
        .await;
        let (now, rest) = (self.platform.clock.now(), self.timeouts.down.0);
        match &answer {
            Ok(Ok(_)) => health.answered(now),
            Ok(Err(Failure::Unreachable(why))) => health.unconnected(Trouble::Unconnected(*why), started, now, rest),
            Ok(Err(_)) => {}
            Err(_) => health.timed_out(started, now, rest),
        }
        answer.unwrap_or(Err(Failure::TimedOut))
    }

    /// Asks `/v2/`, to learn how this address wants to be asked.
    pub(super) async fn ping(&self, address: &Address) -> Result<Pong, Failure> {
        let url = format!("{}/v2/", address.base);
        let response =
            self.send_once(address, Method::GET, &url, HeaderMap::new(), Body::Empty, Purpose::Api).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            address.learn(Challenge::choose(response.headers(), &address.url));
        }
        Ok(response.into_parts().0)
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

/// What is asked for, in the words of the token spec: built from the repository, never from a challenge (P-62).
fn scope_of(ask: &Ask) -> String {
    let scope = format!("repository:{}:{}", ask.name, ask.actions.as_str());
    match &ask.mount_from {
        Some(from) => format!("{scope} repository:{from}:pull"),
        None => scope,
    }
}

fn token_request(realm: &Url, service: Option<&str>, login: Option<&Basic>, scope: &str) -> Request<Body> {
    let scopes = scope.split(' ').filter(|scope| !scope.is_empty());
    let mut url = realm.clone();
    url.set_fragment(None);
    let identity = login.filter(|login| login.username == IDENTITY_TOKEN_USER);
    let mut request = if let Some(login) = identity {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", login.password.expose());
        form.append_pair("client_id", "registry-proxy").append_pair("scope", scope);
        form.extend_pairs(service.map(|service| ("service", service)));
        let mut request = Request::new(Body::from(Bytes::from(form.finish())));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request
    } else {
        let has_pairs = service.is_some() || login.is_some() || !scope.is_empty();
        if has_pairs {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(service.map(|service| ("service", service)));
            query.extend_pairs(scopes.map(|scope| ("scope", scope)));
            query.extend_pairs(login.map(|login| ("account", login.username.as_str())));
        }
        let mut request = Request::new(Body::Empty);
        request.headers_mut().extend(login.map(|login| (AUTHORIZATION, basic_header(login))));
        request
    };
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
    *request.uri_mut() = url.as_str().parse().unwrap_or_default();
    request
}

pub(super) fn basic_header(basic: &Basic) -> HeaderValue {
    let pair = format!("{}:{}", basic.username, basic.password.expose());
    sensitive(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

pub(super) fn bearer_header(token: &Token) -> HeaderValue {
    sensitive(&format!("Bearer {}", token.bearer.expose()))
}

fn sensitive(text: &str) -> HeaderValue {
    let mut value = header_value(text);
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
