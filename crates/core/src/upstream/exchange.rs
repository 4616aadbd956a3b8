//! One address, asked with one login: without a credential until the address challenges, then with one, then with a new token
//! if the first was old (P-62, P-63). A limit or an overload that is over soon is waited out.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use url::Url;

use super::authorize::Authorization;
use super::challenge::UpstreamChallenge;
use super::limits::{Leave, Limited, RateLimitScope};
use super::reply::Negative;
use super::token::NoToken;
use super::{Address, Ask, Login, Upstream};
use crate::body::Body;
use crate::error::{Failure, UpstreamText};
use crate::headers;

/// Most requests to one address to make its login work: without a credential, with one, with a new one, and once more after a
/// change of realm.
const MAX_SENDS: usize = 4;

/// What a request carries upstream.
pub enum Payload {
    /// Nothing.
    None,
    /// Bytes that can be sent again.
    Bytes(Bytes),
    /// Bytes that pass through once.
    Stream(Body),
}

impl Payload {
    pub(super) fn into_body(self) -> Body {
        match self {
            Self::None => Body::Empty,
            Self::Bytes(bytes) => Body::from(bytes),
            Self::Stream(body) => body,
        }
    }

    /// The same payload once more; `None` for a stream, which can be sent once.
    pub(super) fn again(&self) -> Option<Self> {
        match self {
            Self::None => Some(Self::None),
            Self::Bytes(bytes) => Some(Self::Bytes(bytes.clone())),
            Self::Stream(_) => None,
        }
    }
}

/// What an exchange ends with.
pub(super) struct Exchanged {
    pub(super) response: Response<Body>,
    authorization: Option<HeaderValue>,
}

impl Exchanged {
    /// The answer of this address, and what was asked there.
    pub(super) fn of(self, address: &Address, asked: Uri) -> FirstResponse<'_> {
        FirstResponse { response: self.response, address, asked, authorization: self.authorization }
    }
}

/// A registry's answer, before its redirects are followed.
pub(super) struct FirstResponse<'a> {
    pub(super) response: Response<Body>,
    pub(super) address: &'a Address,
    /// The address that was asked: parsed as a URL only to resolve a `Location` against it.
    pub(super) asked: Uri,
    pub(super) authorization: Option<HeaderValue>,
}

impl FirstResponse<'_> {
    pub(super) fn asked(&self) -> Result<Url, Failure> {
        Url::parse(&self.asked.to_string()).map_err(|_| Failure::Nonsense("address"))
    }
}

/// The requests to one address with one login.
pub(super) struct Exchange<'a> {
    upstream: &'a Upstream,
    address: &'a Address,
    ask: &'a Ask,
    uri: &'a Uri,
    login: Option<&'a Arc<Login>>,
    /// Whether the next request needs a new token, as the last one was refused.
    wants_new_token: bool,
    has_pinged: bool,
    may_wait: MayWait,
}

/// What an exchange may still wait for, once each.
struct MayWait {
    /// A 429 that is over soon.
    limit: bool,
    /// A 503 that is over soon.
    server: bool,
}

impl Upstream {
    pub(super) fn exchange<'a>(
        &'a self,
        address: &'a Address,
        ask: &'a Ask,
        uri: &'a Uri,
        login: Option<&'a Arc<Login>>,
    ) -> Exchange<'a> {
        Exchange {
            upstream: self,
            address,
            ask,
            uri,
            login,
            wants_new_token: false,
            has_pinged: false,
            // Where there is another address, that one is asked instead of waiting for the server.
            may_wait: MayWait { limit: false, server: is_read(ask) && self.addresses.len() == 1 },
        }
    }
}

impl Exchange<'_> {
    /// Sends until the address gives an answer that is not about the login. `may_wait`: whether a limit that is over soon may
    /// be waited out.
    pub(super) async fn run(mut self, payload: Payload, may_wait: bool) -> Result<Exchanged, Negative> {
        self.may_wait.limit = self.wait_for_leave(may_wait).await?;
        if matches!(payload, Payload::Stream(_)) && self.address.challenge().is_none() {
            self.upstream.learn_challenge(self.address, self.ask, self.uri, self.login).await?;
        }
        let mut payload = Some(payload);
        for _ in 0..MAX_SENDS {
            let authorization = self.authorize().await?;
            let this = payload.take().unwrap_or(Payload::None);
            payload = this.again();
            let response = self.send(this, &authorization).await?;
            if let Some(answer) = self.judge(response, authorization, payload.is_some()).await? {
                return Ok(answer);
            }
        }
        Err(Negative::Refused(UpstreamText::default()))
    }

    async fn authorize(&self) -> Result<Authorization, Negative> {
        let Self { upstream, address, ask, login, .. } = *self;
        let authorization = upstream.authorization(address, ask, login, self.wants_new_token).await;
        authorization.map_err(|none| match none {
            NoToken::Refused(text) => Negative::Refused(text),
            NoToken::Limited(retry_after) => {
                // The token server limits the scope, which is the repository's.
                self.note_limit(RateLimitScope::Repository, retry_after);
                Negative::Limited { retry_after }
            }
            NoToken::Failed(failure) => Negative::Failed(failure),
        })
    }

    async fn send(&self, payload: Payload, authorization: &Authorization) -> Result<Response<Body>, Negative> {
        let Self { upstream, address, ask, uri, login, .. } = *self;
        let mut headers = HeaderMap::with_capacity(ask.headers.len().max(headers::MOST_SENT));
        headers.extend(ask.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        headers.extend(authorization.header.clone().map(|value| (AUTHORIZATION, value)));
        let (method, body) = (ask.method.clone(), payload.into_body());
        let sent = upstream.send_once(address, method, uri.clone(), headers, body, ask.purpose);
        let response = sent.await.map_err(Negative::Failed)?;
        upstream.note_budget(address, ask, login, response.headers());
        Ok(response)
    }

    /// What an answer means for the exchange; `None`: send once more.
    async fn judge(
        &mut self,
        response: Response<Body>,
        authorization: Authorization,
        can_repeat: bool,
    ) -> Result<Option<Exchanged>, Negative> {
        match response.status() {
            StatusCode::UNAUTHORIZED => self.unauthorized(response, &authorization, can_repeat).await?,
            StatusCode::FORBIDDEN if can_repeat && authorization.key.is_some() && !authorization.is_fresh => {
                self.wants_new_token = true;
            }
            StatusCode::TOO_MANY_REQUESTS => self.limited(response, can_repeat).await?,
            status => {
                if self.may_wait.server
                    && let Some(wait) = self.upstream.comes_back_soon(status, response.headers())
                {
                    self.may_wait.server = false;
                    drop(response);
                    self.upstream.platform.clock.sleep(wait).await;
                    return Ok(None);
                }
                return Ok(Some(Exchanged { response, authorization: authorization.header }));
            }
        }
        Ok(None)
    }

    /// What a 401 means: which challenge the address has, and whether another request may succeed.
    async fn unauthorized(
        &mut self,
        response: Response<Body>,
        authorization: &Authorization,
        can_repeat: bool,
    ) -> Result<(), Negative> {
        let Self { upstream, address, ask, login, .. } = *self;
        // Some registries refuse HEAD whatever token comes with it (P-146): a new token is still good for the GET.
        let refuses_head = ask.method == Method::HEAD && authorization.is_fresh;
        if let Some(key) = authorization.key.as_ref().filter(|_| !refuses_head) {
            upstream.tokens.forget(key);
        }
        let known = address.challenge();
        let seen = UpstreamChallenge::choose(response.headers(), &address.url);
        // The realm has changed: the next request goes without a credential, to get the true one (P-62).
        let changed = authorization.header.is_some() && seen.is_some() && seen != known;
        // A 401 without a challenge does not invalidate the known one.
        let wanted = seen.or(known);
        let is_unknown = wanted.is_none();
        address.learn(if changed { None } else { wanted.clone() });
        let needs_login = login.is_none() && wanted == Some(UpstreamChallenge::Basic);
        let is_hopeless = needs_login || (authorization.is_fresh && !changed);
        if is_hopeless || is_unknown || !can_repeat {
            let text = upstream.error_text(response).await;
            let may_ping = is_unknown && can_repeat && !mem::replace(&mut self.has_pinged, true);
            if !may_ping || !upstream.is_told_by_ping(address, login).await {
                return Err(Negative::Refused(text));
            }
        }
        self.wants_new_token = authorization.header.is_some();
        Ok(())
    }

    /// What a 429 means: it is noted for all requests, and waited out if it is over soon.
    async fn limited(&mut self, response: Response<Body>, can_repeat: bool) -> Result<(), Negative> {
        let upstream = self.upstream;
        let retry_after = upstream.retry_after(response.headers());
        let scope = RateLimitScope::of(&self.address.host, self.ask.purpose, response.headers());
        // Noted before the wait: a request that comes now waits as long.
        self.note_limit(scope, retry_after);
        let wait = upstream.comes_back_soon(response.status(), response.headers());
        drop(response);
        match wait.filter(|_| can_repeat && self.may_wait.limit) {
            Some(wait) => upstream.platform.clock.sleep(wait).await,
            None => return Err(Negative::Limited { retry_after }),
        }
        self.may_wait.limit = false;
        Ok(())
    }

    /// Waits until a short limit is over, if `may_wait`. Returns whether there may be another wait then.
    async fn wait_for_leave(&self, may_wait: bool) -> Result<bool, Negative> {
        let (upstream, who) = (self.upstream, self.who());
        if upstream.learned.rate_limits.has_been_none() {
            return Ok(may_wait);
        }
        let leave = || upstream.learned.rate_limits.leave(who, &self.ask.name, upstream.platform.clock.now());
        match leave() {
            Leave::Now => return Ok(may_wait),
            Leave::Soon(wait) if may_wait => upstream.platform.clock.sleep(wait).await,
            Leave::Soon(retry_after) | Leave::Later(retry_after) => return Err(Negative::Limited { retry_after }),
        }
        match leave() {
            Leave::Now => Ok(false),
            // Another request was limited meanwhile.
            Leave::Soon(retry_after) | Leave::Later(retry_after) => Err(Negative::Limited { retry_after }),
        }
    }

    fn note_limit(&self, scope: RateLimitScope, retry_after: Duration) {
        let now = self.upstream.platform.clock.now();
        self.upstream.learned.rate_limits.limited(self.who(), &self.ask.name, scope, now, retry_after);
    }

    fn who(&self) -> Limited {
        Limited {
            address: self.address.index,
            credential: self.login.map_or([0; 16], |login| login.id),
            purpose: self.ask.purpose,
        }
    }
}

/// Whether a request only reads.
pub(super) fn is_read(ask: &Ask) -> bool {
    matches!(ask.method, Method::GET | Method::HEAD)
}
