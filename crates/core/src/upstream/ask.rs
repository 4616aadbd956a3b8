//! A question to a registry: address by address, and at each with the authorization it wants.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use url::Url;

use super::challenge::Challenge;
use super::follow;
use super::limits::{Leave, LimitScope, Limited};
use super::location::Location;
use super::reply::{Failure, Reply};
use super::said::UpstreamText;
use super::send::Destination;
use super::token::NoToken;
use super::{Address, Ask, Login, NO_ADDRESS, Upstream};
use crate::body::Body;
use crate::config::Redirects;

/// Sends to one address before we give up making its login work: without, with, with a new one, and once more
/// after a change of realm.
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

/// What became of a write.
pub struct WriteOutcome {
    /// What the answer means.
    pub reply: Reply,
    /// Its headers, of a refusal too: clients recover by them (P-137).
    pub headers: HeaderMap,
    /// The address that gave it: a relative `Location` is resolved against it.
    pub asked: Option<Url>,
}

/// A blob's redirect that is not ours to follow.
pub enum Redirected {
    /// Where its bytes are.
    To(Box<Location>),
    /// It was no redirect after all, or is followed.
    Reply(Reply),
}

/// An answer of a registry, before its redirects are followed.
pub(super) struct FirstResponse<'a> {
    pub(super) response: Response<Body>,
    pub(super) address: &'a Address,
    /// The address, as text: read only where a `Location` is to be resolved against it.
    pub(super) asked: String,
    pub(super) authorization: Option<HeaderValue>,
}

impl FirstResponse<'_> {
    pub(super) fn asked(&self) -> Result<Url, Failure> {
        Url::parse(&self.asked).map_err(|_| Failure::Nonsense("address"))
    }
}

impl Upstream {
    /// Asks, and follows whatever redirects there are.
    pub async fn read(&self, ask: &Ask) -> Reply {
        match self.ask(ask, Payload::None).await {
            Ok(answer) => self.arrive(ask, answer).await,
            Err(reply) => reply,
        }
    }

    /// Asks for a blob; a redirect is returned where the configuration leaves it to the client.
    pub async fn read_blob(&self, ask: &Ask) -> Redirected {
        self.locate(ask, self.redirects() != Redirects::Follow && ask.method == Method::GET).await
    }

    /// Asks for a blob; a redirect is returned, whatever the configuration says of redirects.
    pub async fn locate_blob(&self, ask: &Ask) -> Redirected {
        self.locate(ask, true).await
    }

    async fn locate(&self, ask: &Ask, leaves_it: bool) -> Redirected {
        let answer = match self.ask(ask, Payload::None).await {
            Ok(answer) => answer,
            Err(reply) => return Redirected::Reply(reply),
        };
        if leaves_it && follow::is_redirect(answer.response.status()) {
            return match answer.asked().and_then(|asked| follow::target(&asked, answer.response.headers())) {
                Ok(link) => Redirected::To(Box::new(link)),
                Err(failure) => Redirected::Reply(Reply::Failed(failure)),
            };
        }
        Redirected::Reply(self.arrive(ask, answer).await)
    }

    /// Sends what a push sends. Redirects are not followed: a method or a body may not survive them (P-76). `url` is
    /// the address of an upload session, where the registry named one.
    pub async fn write(&self, ask: &Ask, payload: Payload, session: Option<&Url>) -> WriteOutcome {
        let answer = match session {
            None => self.ask(ask, payload).await,
            Some(url) => self.ask_session(ask, payload, url).await,
        };
        match answer {
            Ok(answer) => {
                let (asked, headers) = (answer.asked().ok(), answer.response.headers().clone());
                let reply = match answer.response.status() {
                    // Not that of a read: it says how far the upload has come.
                    StatusCode::RANGE_NOT_SATISFIABLE => Reply::Found(answer.response),
                    _ => self.classify(answer.response).await,
                };
                WriteOutcome { reply, headers, asked }
            }
            Err(reply) => WriteOutcome { reply, headers: HeaderMap::new(), asked: None },
        }
    }

    /// Asks address by address until one answers.
    async fn ask(&self, ask: &Ask, payload: Payload) -> Result<FirstResponse<'_>, Reply> {
        let mut payload = Some(payload);
        let mut worst = None;
        for address in &self.addresses {
            let Some(_turn) = self.turn(&address.health) else {
                // What another failed by just now says more.
                worst = worst.or(Some(Reply::Failed(self.resting(&address.health))));
                continue;
            };
            // A stream can be sent once: after its first address there is no other.
            let this = match payload.take() {
                None => break,
                Some(Payload::Stream(body)) => Payload::Stream(body),
                Some(Payload::Bytes(bytes)) => {
                    payload = Some(Payload::Bytes(bytes.clone()));
                    Payload::Bytes(bytes)
                }
                Some(Payload::None) => {
                    payload = Some(Payload::None);
                    Payload::None
                }
            };
            let url = url_of(address, ask);
            let mut answer = self.ask_in_turn(address, ask, &url, this).await;
            let may_repeat = is_read(ask) && !ask.is_continuation && self.addresses.len() == 1;
            if may_repeat && matches!(answer, Err(Reply::Failed(Failure::Broken))) {
                // A connection that broke under a question says little: once more, on another, where there is no other
                // address (P-122).
                answer = self.ask_in_turn(address, ask, &url, Payload::None).await;
            }
            match answer {
                Ok(answer) if answer.response.status().is_server_error() => {
                    worst = Some(Reply::Failed(Failure::Status(answer.response.status())));
                }
                // Its token server is left alone: what failed before says more.
                Err(reply @ Reply::Failed(Failure::Resting { .. })) => worst = worst.or(Some(reply)),
                Err(reply @ (Reply::Failed(_) | Reply::Limited { .. })) => worst = Some(reply),
                done => return done,
            }
        }
        Err(worst.unwrap_or(Reply::Failed(NO_ADDRESS)))
    }

    /// Asks where an upload session lives. Credentials go along only to the registry itself.
    async fn ask_session(&self, ask: &Ask, payload: Payload, url: &Url) -> Result<FirstResponse<'_>, Reply> {
        let ours = self.addresses.iter().find(|address| address.url.origin() == url.origin());
        if let Some(address) = ours {
            return self.ask_in_turn(address, ask, url.as_str(), payload).await;
        }
        // Straight to a storage host (P-139).
        let address = self.addresses.first().ok_or(Reply::Failed(NO_ADDRESS))?;
        let reach = follow::admit(&self.policy(address), url.clone().into()).map_err(Reply::Failed)?.reach;
        let destination = Destination { health: &self.elsewhere.health(url), reach };
        let body = payload.into_body();
        let response = self
            .send_to(destination, ask.method.clone(), url.as_str(), ask.headers.clone(), body, ask.purpose)
            .await;
        match response {
            Ok(response) => Ok(FirstResponse { response, address, asked: url.to_string(), authorization: None }),
            Err(error) => Err(Reply::Failed(self.explain(url, &error))),
        }
    }

    /// Asks one address as one account after the other, until one is not limited: each once, and none waits (P-119).
    async fn ask_in_turn<'a>(
        &self,
        address: &'a Address,
        ask: &Ask,
        url: &str,
        payload: Payload,
    ) -> Result<FirstResponse<'a>, Reply> {
        let logins = self.logins_in_turn(ask, address).await;
        // Only what can be sent again is asked as several: the others push.
        let [login] = logins.as_slice() else {
            let mut soonest = Duration::MAX;
            for login in &logins {
                match self.ask_address(address, ask, url, login.as_ref(), Payload::None, false).await {
                    Err(Reply::Limited { retry_after }) => soonest = soonest.min(retry_after),
                    done => return done,
                }
            }
            return Err(Reply::Limited { retry_after: soonest });
        };
        let answer = self.ask_address(address, ask, url, login.as_ref(), payload, true).await;
        if let Err(Reply::Refused(_)) = &answer {
            self.disown(login.as_deref());
        }
        answer
    }

    /// Asks one address, and makes its login work: without a credential until it challenges, then with one, then
    /// with a new one if the first was old (P-62, P-63).
    async fn ask_address<'a>(
        &self,
        address: &'a Address,
        ask: &Ask,
        url: &str,
        login: Option<&Arc<Login>>,
        payload: Payload,
        may_wait: bool,
    ) -> Result<FirstResponse<'a>, Reply> {
        let who = Limited {
            address: address.index,
            credential: login.map_or([0; 16], |login| login.id),
            purpose: ask.purpose,
        };
        let may_wait = self.wait_for_leave(who, ask, may_wait).await?;
        if matches!(payload, Payload::Stream(_)) && address.challenge().is_none() {
            self.learn_challenge(address, ask, url, login).await?;
        }
        let mut payload = Some(payload);
        let mut fresh = false;
        let mut has_pinged = false;
        let mut may_wait_for_limit = may_wait;
        // Where there is another address it is asked instead.
        let mut may_wait_for_server = is_read(ask) && self.addresses.len() == 1;
        for _ in 0..MAX_SENDS {
            let authorization =
                self.authorization(address, ask, login, fresh).await.map_err(|none| match none {
                    NoToken::Refused(text) => Reply::Refused(text),
                    NoToken::Limited(retry_after) => {
                        // Said of the scope, which is the repository's.
                        self.limited(who, ask, LimitScope::Repository, retry_after);
                        Reply::Limited { retry_after }
                    }
                    NoToken::Failed(failure) => Reply::Failed(failure),
                })?;
            let (body, can_repeat) = match payload.take() {
                None | Some(Payload::None) => {
                    payload = Some(Payload::None);
                    (Body::Empty, true)
                }
                Some(Payload::Bytes(bytes)) => {
                    payload = Some(Payload::Bytes(bytes.clone()));
                    (Body::from(bytes), true)
                }
                Some(Payload::Stream(body)) => (body, false),
            };
            let mut headers = ask.headers.clone();
            headers.extend(authorization.header.clone().map(|value| (AUTHORIZATION, value)));
            let response = self
                .send_once(address, ask.method.clone(), url, headers, body, ask.purpose)
                .await
                .map_err(Reply::Failed)?;
            self.note_budget(address, ask, login, response.headers());
            match response.status() {
                StatusCode::UNAUTHORIZED => {
                    // Some refuse HEAD whatever token comes with it (P-146): one that is new is good for the GET.
                    let is_heads = ask.method == Method::HEAD && authorization.is_fresh;
                    if let Some(key) = authorization.key.as_ref().filter(|_| !is_heads) {
                        self.tokens.forget(key);
                    }
                    let known = address.challenge();
                    let seen = Challenge::choose(response.headers(), &address.url);
                    // Another realm than before: asked again without, to hear the true one (P-62).
                    let changed = authorization.header.is_some() && seen.is_some() && seen != known;
                    // A 401 without a challenge takes nothing back.
                    let wanted = seen.or(known);
                    let is_unknown = wanted.is_none();
                    address.learn(if changed { None } else { wanted.clone() });
                    let needs_login = login.is_none() && wanted == Some(Challenge::Basic);
                    let hopeless = needs_login || (authorization.is_fresh && !changed);
                    if hopeless || is_unknown || !can_repeat {
                        let text = self.error_text(response).await;
                        let may_ask_ping = is_unknown && can_repeat && !std::mem::replace(&mut has_pinged, true);
                        if !may_ask_ping || !self.is_told_by_ping(address, login).await {
                            return Err(Reply::Refused(text));
                        }
                    }
                    fresh = authorization.header.is_some();
                }
                StatusCode::FORBIDDEN if can_repeat && authorization.key.is_some() && !authorization.is_fresh => {
                    fresh = true;
                }
                StatusCode::TOO_MANY_REQUESTS => {
                    let retry_after = self.retry_after(response.headers());
                    let scope = LimitScope::of(&address.host, ask.purpose, response.headers());
                    // Known to all at once: whoever comes now waits as long.
                    self.limited(who, ask, scope, retry_after);
                    let wait = self.comes_back_soon(response.status(), response.headers());
                    drop(response);
                    match wait.filter(|_| can_repeat && may_wait_for_limit) {
                        Some(wait) => self.platform.clock.sleep(wait).await,
                        None => return Err(Reply::Limited { retry_after }),
                    }
                    may_wait_for_limit = false;
                }
                status => {
                    if may_wait_for_server && let Some(wait) = self.comes_back_soon(status, response.headers()) {
                        may_wait_for_server = false;
                        drop(response);
                        self.platform.clock.sleep(wait).await;
                        continue;
                    }
                    return Ok(FirstResponse {
                        response,
                        address,
                        asked: url.to_owned(),
                        authorization: authorization.header,
                    });
                }
            }
        }
        Err(Reply::Refused(UpstreamText::default()))
    }

    /// Waits until a limit is over that is over soon, if `may_wait`; whether there may be another wait then.
    async fn wait_for_leave(&self, who: Limited, ask: &Ask, may_wait: bool) -> Result<bool, Reply> {
        let leave = || self.rate_limits.leave(who, &ask.name, self.platform.clock.now());
        match leave() {
            Leave::Now => return Ok(may_wait),
            Leave::Soon(wait) if may_wait => self.platform.clock.sleep(wait).await,
            Leave::Soon(retry_after) | Leave::Later(retry_after) => return Err(Reply::Limited { retry_after }),
        }
        match leave() {
            Leave::Now => Ok(false),
            // Somebody has asked meanwhile, and was told to wait again.
            Leave::Soon(retry_after) | Leave::Later(retry_after) => Err(Reply::Limited { retry_after }),
        }
    }

    fn limited(&self, who: Limited, ask: &Ask, scope: LimitScope, retry_after: Duration) {
        self.rate_limits.limited(who, &ask.name, scope, self.platform.clock.now(), retry_after);
    }
}

fn is_read(ask: &Ask) -> bool {
    matches!(ask.method, Method::GET | Method::HEAD)
}

/// `base/v2/name/endpoint?query`
fn url_of(address: &Address, ask: &Ask) -> String {
    let mut url = format!("{}/v2/{}/{}", address.base, ask.name, ask.endpoint);
    if let Some(query) = &ask.query {
        url.push('?');
        url.push_str(query);
    }
    url
}

impl Payload {
    fn into_body(self) -> Body {
        match self {
            Self::None => Body::Empty,
            Self::Bytes(bytes) => Body::from(bytes),
            Self::Stream(body) => body,
        }
    }
}
