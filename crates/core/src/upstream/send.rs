//! One question to an upstream: address by address, with the authorization it wants, along its redirects.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, RANGE, USER_AGENT,
    VIA,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use url::Url;

use super::authorize::{Chain, bearer_header, failure_of};
use super::challenge::Challenge;
use super::follow::{self, Hop, Policy};
use super::memory::Limited;
use super::reply::{Failure, Reply, UpstreamText};
use super::token::NoToken;
use super::{Address, Ask, Login, Upstream};
use crate::body::{Body, BodyError};
use crate::config::Redirects;
use crate::platform::{Outgoing, Purpose, Reach, TransportError, within};
use crate::range::ContentRange;
use crate::secret::SafeUrl;

/// Largest error body that is read for its message.
const ERROR_BODY_BYTES: u64 = 8 << 10;
/// How long an error's body may take: its status is what matters.
const ERROR_BODY_TIME: Duration = Duration::from_secs(2);
/// A 429 that is over within this long is waited for (P-119).
const SHORT_WAIT: Duration = Duration::from_secs(3);
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

/// The address that gave an answer, among the answer's extensions: a relative `Location` is resolved against it.
#[derive(Debug, Clone)]
pub struct Asked(pub Url);

/// A blob's redirect that is not ours to follow.
pub enum Redirected {
    /// Where its bytes are.
    To(Box<Url>),
    /// It was no redirect after all, or is followed.
    Reply(Reply),
}

/// An answer of a registry, before its redirects are followed.
struct Answer<'a> {
    response: Response<Body>,
    address: &'a Address,
    /// The address, as text: read only where a `Location` is to be resolved against it.
    asked: String,
    authorization: Option<HeaderValue>,
}

impl Answer<'_> {
    fn asked(&self) -> Result<Url, Failure> {
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
        let answer = match self.ask(ask, Payload::None).await {
            Ok(answer) => answer,
            Err(reply) => return Redirected::Reply(reply),
        };
        let leaves_it = self.redirects() != Redirects::Follow && ask.method == Method::GET;
        if leaves_it && follow::is_redirect(answer.response.status()) {
            return match answer.asked().and_then(|asked| follow::target(&asked, answer.response.headers())) {
                Ok(url) => Redirected::To(Box::new(url)),
                Err(failure) => Redirected::Reply(Reply::Failed(failure)),
            };
        }
        Redirected::Reply(self.arrive(ask, answer).await)
    }

    /// Sends what a push sends. Redirects are not followed: a method or a body may not survive them (P-76). `url` is
    /// the address of an upload session, where the registry named one.
    pub async fn write(&self, ask: &Ask, payload: Payload, session: Option<&Url>) -> Reply {
        let answer = match session {
            None => self.ask(ask, payload).await,
            Some(url) => self.ask_session(ask, payload, url).await,
        };
        match answer {
            // A push's own 4xx carry Location and Range that clients recover by (P-137).
            Ok(mut answer) => {
                if let Ok(asked) = answer.asked() {
                    answer.response.extensions_mut().insert(Asked(asked));
                }
                match answer.response.status() {
                    StatusCode::RANGE_NOT_SATISFIABLE => Reply::Found(answer.response),
                    _ => self.classify(answer.response).await,
                }
            }
            Err(reply) => reply,
        }
    }

    /// Fetches an address that a redirect named, as a client of its own would: without credentials.
    pub async fn fetch_target(&self, url: &Url, ask: &Ask) -> Reply {
        let Some(address) = self.addresses.first() else { return Reply::Failed(Failure::Unreachable) };
        if self.storage().is_some_and(|storage| storage.origin() == url.origin()) {
            return self.fetch_storage(url, ask).await;
        }
        let fetched = match follow::admit(&self.policy(address), url.clone()) {
            Ok(hop) => self.walk(ask, address, hop, None).await,
            Err(failure) => Err(failure),
        };
        match fetched {
            Ok(response) => self.classify(response).await,
            Err(failure) => Reply::Failed(failure),
        }
    }

    /// Fetches from the configured storage, wherever that is: the configuration names it (`DEFAULT_BACKEND_HOST`).
    pub async fn fetch_storage(&self, url: &Url, ask: &Ask) -> Reply {
        let Some(address) = self.addresses.first() else { return Reply::Failed(Failure::Unreachable) };
        let hop = Hop { url: url.clone(), same_origin: false, reach: Reach::Trusted };
        match self.walk(ask, address, hop, None).await {
            Ok(response) => self.classify(response).await,
            Err(failure) => Reply::Failed(failure),
        }
    }

    async fn arrive(&self, ask: &Ask, answer: Answer<'_>) -> Reply {
        if !follow::is_redirect(answer.response.status()) {
            return self.classify(answer.response).await;
        }
        let asked = answer.asked();
        let Answer { response, address, authorization, .. } = answer;
        let next = asked.and_then(|asked| follow::next(&self.policy(address), &asked, 0, response.headers()));
        let followed = match next {
            // The target of a HEAD is signed for GET only: its size is asked for instead (P-68).
            Ok(hop) if ask.method == Method::HEAD => self.size_of(ask, address, hop, authorization).await,
            Ok(hop) => self.walk(ask, address, hop, authorization).await,
            Err(failure) => Err(failure),
        };
        match followed {
            Ok(response) => self.classify(response).await,
            Err(failure) => {
                tracing::warn!(upstream = self.name(), why = %failure, "redirect not followed to its end");
                Reply::Failed(failure)
            }
        }
    }

    fn policy<'a>(&'a self, address: &'a Address) -> Policy<'a> {
        Policy { registry: &address.url, trusted_hosts: &self.config.redirect_hosts }
    }

    /// Goes along a chain of redirects to its end. Off the registry's own origin nothing of the client goes along
    /// but what it wants of the bytes (P-66), and `Via`, by which a loop is seen (P-127).
    async fn walk(
        &self,
        ask: &Ask,
        address: &Address,
        first: Hop,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Body>, Failure> {
        let policy = self.policy(address);
        let mut hop = first;
        let mut hops = 1;
        let mut elsewhere: Option<HeaderValue> = None;
        loop {
            let mut headers = HeaderMap::new();
            for name in [RANGE, ACCEPT, VIA] {
                headers.extend(ask.headers.get(&name).map(|value| (name, value.clone())));
            }
            headers.extend(
                elsewhere
                    .as_ref()
                    .or(authorization.as_ref().filter(|_| hop.same_origin))
                    .map(|value| (AUTHORIZATION, value.clone())),
            );
            let response = self
                .send_to(ask.method.clone(), hop.url.as_str(), headers, Body::Empty, hop.reach, ask.purpose)
                .await;
            let response = response.map_err(|error| self.explain(&hop.url, &error))?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && elsewhere.is_none() && !hop.same_origin {
                // Another registry, which wants a login of its own: as nobody (P-67).
                elsewhere = Some(self.stranger_token(&hop.url, ask, response.headers()).await?);
                continue;
            }
            if !follow::is_redirect(status) {
                return Ok(response);
            }
            // Once away from the registry, a way back is a stranger's doing: it carries no login.
            let has_left = !hop.same_origin;
            hop = follow::next(&policy, &hop.url, hops, response.headers())?;
            hop.same_origin &= !has_left;
            elsewhere = None;
            hops += 1;
        }
    }

    async fn stranger_token(&self, url: &Url, ask: &Ask, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
        match Challenge::choose(headers, url) {
            Some(Challenge::Bearer { realm, service }) if super::realm::is_trusted(url, &realm, &[]) => {
                let scope = format!("repository:{}:pull", ask.name);
                match self.token(url, &realm, service.as_deref(), None, &scope, false).await {
                    Ok((token, _, _)) => Ok(bearer_header(&token)),
                    Err(_) => Err(Failure::Redirect("to a registry that wants a login")),
                }
            }
            _ => Err(Failure::Redirect("to a server that wants a login")),
        }
    }

    /// The length of what a redirect leads to, as the answer to a HEAD.
    async fn size_of(
        &self,
        ask: &Ask,
        address: &Address,
        hop: Hop,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Body>, Failure> {
        let mut probe = ask.clone();
        probe.method = Method::GET;
        probe.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        let response = self.walk(&probe, address, hop, authorization).await?;
        let length = match (response.status(), ContentRange::parse(response.headers().get(CONTENT_RANGE))) {
            (StatusCode::PARTIAL_CONTENT, Some(ContentRange::Bytes { total, .. })) => total,
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(ContentRange::Unsatisfied { total })) => Some(total),
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => Some(0),
            (StatusCode::OK, _) => response.body().length(),
            _ => return Ok(response.map(|_| Body::Empty)),
        };
        let length = length.ok_or(Failure::Nonsense("no length"))?;
        let mut answer = Response::new(Body::Empty);
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
        Ok(answer)
    }

    /// Asks address by address until one answers.
    async fn ask(&self, ask: &Ask, payload: Payload) -> Result<Answer<'_>, Reply> {
        let login = self.login_of(&ask.identity, Some(&ask.name)).await;
        let mut payload = Some(payload);
        let mut worst = Reply::Failed(Failure::Resting);
        for (index, address) in self.addresses.iter().enumerate() {
            if !address.health.may_try(self.platform.clock.now(), self.timeouts.first_byte.0) {
                continue;
            }
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
            match self.ask_address(index, address, ask, &url, login.as_ref(), this).await {
                Ok(answer) if answer.response.status().is_server_error() => {
                    worst = Reply::Failed(Failure::Status(answer.response.status()));
                }
                Err(reply @ (Reply::Failed(_) | Reply::Limited { .. })) => worst = reply,
                done => return done,
            }
        }
        Err(worst)
    }

    /// Asks where an upload session lives. Credentials go along only to the registry itself.
    async fn ask_session(&self, ask: &Ask, payload: Payload, url: &Url) -> Result<Answer<'_>, Reply> {
        let login = self.login_of(&ask.identity, Some(&ask.name)).await;
        let ours = self.addresses.iter().enumerate().find(|(_, address)| address.url.origin() == url.origin());
        if let Some((index, address)) = ours {
            return self.ask_address(index, address, ask, url.as_str(), login.as_ref(), payload).await;
        }
        // Straight to a storage host (P-139).
        let address = self.addresses.first().ok_or(Reply::Failed(Failure::Unreachable))?;
        let reach = follow::admit(&self.policy(address), url.clone()).map_err(Reply::Failed)?.reach;
        let body = payload.into_body();
        let response =
            self.send_to(ask.method.clone(), url.as_str(), ask.headers.clone(), body, reach, ask.purpose).await;
        match response {
            Ok(response) => Ok(Answer { response, address, asked: url.to_string(), authorization: None }),
            Err(error) => Err(Reply::Failed(self.explain(url, &error))),
        }
    }

    /// Asks one address, and makes its login work: without a credential until it challenges, then with one, then
    /// with a new one if the first was old (P-62, P-63).
    async fn ask_address<'a>(
        &self,
        index: usize,
        address: &'a Address,
        ask: &Ask,
        url: &str,
        login: Option<&Arc<Login>>,
        payload: Payload,
    ) -> Result<Answer<'a>, Reply> {
        let who =
            Limited { address: index, credential: login.map_or([0; 16], |login| login.id), purpose: ask.purpose };
        if let Some(retry_after) = self.rate_limits.remaining(&who, self.platform.clock.now()) {
            return Err(Reply::Limited { retry_after });
        }
        // A stream cannot be sent twice, so the challenge must be known before it.
        if matches!(payload, Payload::Stream(_)) && address.challenge().is_none() {
            self.ping(address, None).await.map_err(Reply::Failed)?;
        }
        let mut payload = Some(payload);
        let mut fresh = false;
        let mut has_waited = false;
        for _ in 0..MAX_SENDS {
            let authorization =
                self.authorization(address, ask, login, fresh).await.map_err(|none| match none {
                    NoToken::Refused(text) => Reply::Refused(text),
                    NoToken::Limited(retry_after) => {
                        self.rate_limits.limited(who, self.platform.clock.now(), retry_after);
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
            match response.status() {
                StatusCode::UNAUTHORIZED => {
                    if let Some(key) = &authorization.key {
                        self.tokens.forget(key);
                    }
                    let known = address.challenge();
                    let seen = Challenge::choose(response.headers(), &address.url);
                    // Another realm than before: asked again without, to hear the true one (P-62).
                    let changed = authorization.header.is_some() && seen.is_some() && seen != known;
                    address.learn(if changed { None } else { seen.clone().or(known) });
                    let needs_login = login.is_none() && seen == Some(Challenge::Basic);
                    let hopeless = seen.is_none() || needs_login || (authorization.is_fresh && !changed);
                    if hopeless || !can_repeat {
                        return Err(Reply::Refused(error_text(&*self.platform.clock, response).await));
                    }
                    fresh = authorization.header.is_some();
                }
                StatusCode::FORBIDDEN if can_repeat && authorization.key.is_some() && !authorization.is_fresh => {
                    fresh = true;
                }
                StatusCode::TOO_MANY_REQUESTS => {
                    let retry_after = self.retry_after(response.headers());
                    if can_repeat && !has_waited && retry_after <= SHORT_WAIT {
                        has_waited = true;
                        self.platform.clock.sleep(retry_after).await;
                        continue;
                    }
                    self.rate_limits.limited(who, self.platform.clock.now(), retry_after);
                    return Err(Reply::Limited { retry_after });
                }
                _ => {
                    return Ok(Answer {
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

    /// One request to an address of the registry's own; its health is kept.
    pub(super) async fn send_once(
        &self,
        address: &Address,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Body,
        purpose: Purpose,
    ) -> Result<Response<Body>, Failure> {
        let now = || self.platform.clock.now();
        let response = self.send_to(method, url, headers, body, Reach::Configured, purpose).await;
        match response {
            Ok(response) => {
                address.health.answered();
                Ok(response)
            }
            Err(error) => {
                if matches!(error, SendError::TimedOut | SendError::Transport(TransportError::Connect(_))) {
                    address.health.failed(now(), self.timeouts.down.0);
                }
                Err(self.explain(&address.url, &error))
            }
        }
    }

    /// One request, with the deadline of its first byte.
    async fn send_to(
        &self,
        method: Method,
        url: &str,
        mut headers: HeaderMap,
        body: Body,
        reach: Reach,
        purpose: Purpose,
    ) -> Result<Response<Body>, SendError> {
        let uri = url.parse::<http::Uri>().map_err(|_| SendError::Nonsense("address"))?;
        // Never decoded on the way, so never coded (P-93).
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        let progress = Arc::new(AtomicU64::new(0));
        let is_stream = matches!(body, Body::Stream(_));
        let body = match body {
            Body::Stream(_) => {
                let length = body.length();
                Body::stream(Counted { inner: body, progress: Arc::clone(&progress) }, length)
            }
            other => other,
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let started = self.platform.clock.now();
        let sending = self.platform.transport.send(Outgoing { request, upstream: self.index, reach, purpose });
        let clock = &*self.platform.clock;
        let response = if is_stream {
            // The answer comes when the last byte is there, however long that takes; but bytes must move.
            let mut sending = sending;
            loop {
                let before = progress.load(Ordering::Relaxed);
                match select(sending, clock.sleep(self.timeouts.client_stall.0)).await {
                    Either::Left((response, _)) => break response.map_err(SendError::Transport),
                    Either::Right(((), unfinished)) if progress.load(Ordering::Relaxed) != before => {
                        sending = unfinished;
                    }
                    Either::Right(_) => break Err(SendError::TimedOut),
                }
            }
        } else {
            match within(clock, self.timeouts.first_byte.0, sending).await {
                Ok(response) => response.map_err(SendError::Transport),
                Err(_) => Err(SendError::TimedOut),
            }
        };
        crate::telemetry::upstream_answered(
            self.label(),
            clock.now().since(started),
            response.as_ref().ok().map(Response::status),
        );
        let response = response?;
        let coding = response.headers().get(CONTENT_ENCODING);
        if response.status().is_success()
            && coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return Err(SendError::Coded);
        }
        Ok(response)
    }

    /// Logs why there is no answer, once, where it is known.
    fn explain(&self, url: &Url, error: &SendError) -> Failure {
        let failure = match error {
            SendError::TimedOut => Failure::TimedOut,
            SendError::Coded => Failure::Coded,
            SendError::Nonsense(what) => Failure::Nonsense(what),
            SendError::Transport(error) => failure_of(error),
        };
        tracing::warn!(upstream = self.name(), url = %SafeUrl(url), error = %Chain(error), "upstream gave no answer");
        failure
    }

    /// What an answer means.
    async fn classify(&self, response: Response<Body>) -> Reply {
        let status = response.status();
        match status {
            _ if status.is_success() || status == StatusCode::NOT_MODIFIED => Reply::Found(response),
            StatusCode::TOO_MANY_REQUESTS => Reply::Limited { retry_after: self.retry_after(response.headers()) },
            StatusCode::RANGE_NOT_SATISFIABLE => Reply::Unsatisfiable {
                total: match ContentRange::parse(response.headers().get(CONTENT_RANGE)) {
                    Some(ContentRange::Unsatisfied { total }) => Some(total),
                    _ => None,
                },
            },
            _ if status.is_client_error() => {
                let text = error_text(&*self.platform.clock, response).await;
                match status {
                    StatusCode::NOT_FOUND => Reply::Missing(text),
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reply::Refused(text),
                    _ => Reply::Declined(status, text),
                }
            }
            _ => Reply::Failed(Failure::Status(status)),
        }
    }
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

/// The words of an error's body; a slow or large one says nothing.
async fn error_text(clock: &dyn crate::platform::Clock, response: Response<Body>) -> UpstreamText {
    match within(clock, ERROR_BODY_TIME, response.into_body().collect(ERROR_BODY_BYTES)).await {
        Ok(Ok(body)) => UpstreamText::parse(&body),
        _ => UpstreamText::default(),
    }
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

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("no answer in time")]
    TimedOut,
    #[error("compressed content although asked not to")]
    Coded,
    #[error("{0} makes no sense")]
    Nonsense(&'static str),
    #[error(transparent)]
    Transport(TransportError),
}

/// Counts what passes, so that a standstill can be told from a long way.
struct Counted {
    inner: Body,
    progress: Arc<AtomicU64>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(_)) {
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
