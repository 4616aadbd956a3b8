//! Requests to a token server, along its redirects. A login is sent to its own origin only.

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::response::Parts as Pong;
use http::{HeaderValue, Method, Request, StatusCode};
use tracing::Instrument as _;
use url::Url;

use super::authorize::{Chain, basic_header, failure_of};
use super::follow::{self, MAX_HOPS};
use super::memory::Health;
use super::reports::FailureKind;
use super::token::{MAX_TOKEN_BYTES, NoToken, Token, TokenAnswer};
use super::{Login, NO_ADDRESS, Upstream, realm};
use crate::body::{Body, BodyError};
use crate::error::{Failure, Trouble};
use crate::platform::{Outgoing, Reach, RequestPurpose, TransportError, within};
use crate::secret::{Basic, SafeUrl};
use crate::spans;

/// Largest answer of a token server that is read: it may contain the token twice (P-64).
const TOKEN_ANSWER_BYTES: u64 = 3 * MAX_TOKEN_BYTES as u64;
/// Docker's mark for an identity token in place of a user name.
const IDENTITY_TOKEN_USER: &str = "<token>";
/// The failure for an answer without a usable token.
const NO_TOKEN: Failure = Failure::Nonsense("no token in the token server's response");

/// A request to a token server.
#[derive(Clone)]
struct TokenFetch {
    url: Url,
    /// The login of a GET.
    authorization: Option<HeaderValue>,
    /// The form of a POST, which contains the login.
    form: Option<Bytes>,
}

impl TokenFetch {
    fn new(realm: &Url, service: Option<&str>, login: Option<&Basic>, scope: &str) -> Self {
        let mut url = realm.clone();
        url.set_fragment(None);
        if let Some(login) = login.filter(|login| login.username == IDENTITY_TOKEN_USER) {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", login.password.expose());
            form.append_pair("client_id", "registry-proxy").append_pair("scope", scope);
            form.extend_pairs(service.map(|service| ("service", service)));
            return Self { url, authorization: None, form: Some(form.finish().into()) };
        }
        if service.is_some() || login.is_some() || !scope.is_empty() {
            let scopes = scope.split(' ').filter(|scope| !scope.is_empty());
            let mut query = url.query_pairs_mut();
            query.extend_pairs(service.map(|service| ("service", service)));
            query.extend_pairs(scopes.map(|scope| ("scope", scope)));
            query.extend_pairs(login.map(|login| ("account", login.username.as_str())));
        }
        Self { url, authorization: login.map(basic_header), form: None }
    }

    /// The request for the target of a redirect: with the login on the same origin, anonymous elsewhere. After a 303 it is a
    /// GET in any case (RFC 9110 section 15.4.4).
    fn at(self, target: Url, status: StatusCode) -> Self {
        let has_login = self.url.origin() == target.origin();
        let form = self.form.filter(|_| has_login && status != StatusCode::SEE_OTHER);
        Self { url: target, authorization: self.authorization.filter(|_| has_login), form }
    }

    /// Whether it contains the login.
    fn has_login(&self) -> bool {
        self.authorization.is_some() || self.form.is_some()
    }

    fn to_request(&self) -> Request<Body> {
        let mut request = Request::new(Body::Empty);
        if let Some(form) = &self.form {
            *request.body_mut() = Body::from(form.clone());
            *request.method_mut() = Method::POST;
        }
        let headers = request.headers_mut();
        if self.form.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        headers.extend(self.authorization.clone().map(|login| (AUTHORIZATION, login)));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        *request.uri_mut() = self.url.as_str().parse().unwrap_or_default();
        request
    }
}

/// Why a token server gave no answer.
enum Unanswered {
    /// It was not asked, as it rests after a failure that is already logged.
    Resting(Failure),
    /// There was no answer, or none that can be used.
    Failed(Failure),
    /// The same, with the error of the platform.
    Transport(TransportError),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Unanswered {
    fn failure(&self) -> Failure {
        match self {
            Self::Resting(failure) | Self::Failed(failure) => failure.clone(),
            Self::Transport(error) => failure_of(error),
        }
    }
}

impl Upstream {
    /// A token, fetched.
    pub(super) async fn fetch_token(
        &self,
        realm: &Url,
        service: Option<&str>,
        login: Option<&Login>,
        scope: &str,
    ) -> Result<Token, NoToken> {
        let span = spans::token(self.name());
        self.ask_for_token(realm, service, login, scope).instrument(span).await
    }

    async fn ask_for_token(
        &self,
        realm: &Url,
        service: Option<&str>,
        login: Option<&Login>,
        scope: &str,
    ) -> Result<Token, NoToken> {
        let question = TokenFetch::new(realm, service, login.map(|login| &login.basic), scope);
        let started = self.platform.clock.now();
        let mut answer = self.ask_along(question.clone()).await;
        if let Ok((head, _, _)) = &answer
            && let Some(wait) = self.comes_back_soon(head.status, &head.headers)
        {
            self.platform.clock.sleep(wait).await;
            answer = self.ask_along(question).await;
        }
        let outcome = match answer {
            Err(unanswered) => Err(unanswered),
            Ok((head, body, last)) => match head.status {
                // Some servers create a token (RFC 9110 section 15.3.2).
                status if status.is_success() => match serde_json::from_slice::<TokenAnswer>(&body) {
                    Ok(answer) => answer.into_token(started, last.has_login()).map_err(Unanswered::Failed).map(Ok),
                    Err(_) => Err(NO_TOKEN.into()),
                },
                StatusCode::TOO_MANY_REQUESTS => Ok(Err(NoToken::Limited(self.retry_after(&head.headers)))),
                status if status.is_client_error() => Ok(Err(NoToken::Refused(self.said(&body)))),
                status => Err(Failure::Status(status).into()),
            },
        };
        let outcome = outcome.unwrap_or_else(|unanswered| {
            self.log_unanswered(realm, &unanswered);
            Err(NoToken::Failed(unanswered.failure()))
        });
        let result = match &outcome {
            Ok(_) => "ok",
            Err(NoToken::Refused(_)) => "refused",
            Err(NoToken::Limited(_)) => "limited",
            Err(NoToken::Failed(_)) => "failed",
        };
        crate::telemetry::token_fetched(self.label(), result);
        spans::ended(result, outcome.is_err());
        outcome
    }

    /// Logs that the token server failed, and which one: clients are told of the registry only.
    fn log_unanswered(&self, realm: &Url, unanswered: &Unanswered) {
        let failure = unanswered.failure();
        let error: &(dyn std::error::Error + 'static) = match unanswered {
            Unanswered::Resting(_) => return,
            Unanswered::Failed(_) => &failure,
            Unanswered::Transport(error) => error,
        };
        if let Some(repeated) = self.report(FailureKind::TokenServer) {
            let (name, error) = (self.name(), Chain(error));
            tracing::warn!(upstream = name, realm = %SafeUrl(realm), %error, repeated, "token server gave no token");
        }
    }

    /// Asks, and goes along redirects to the answer, and the question that it is the answer to.
    async fn ask_along(&self, first: TokenFetch) -> Result<(Pong, Bytes, TokenFetch), Unanswered> {
        let mut question = first;
        for hops in 0.. {
            let health = self.learned.redirect_hosts.health(&question.url);
            let Some(_turn) = self.turn(&health) else {
                return Err(Unanswered::Resting(self.resting(&health)));
            };
            let (head, body) = self.ask_token_server(&question, &health).await?;
            if !follow::is_redirect(head.status) {
                return Ok((head, body, question));
            }
            if hops == MAX_HOPS {
                break;
            }
            let target = follow::target(&question.url, &head.headers)?;
            let target = self.admit_realm(&question.url, target.url())?;
            question = question.at(target, head.status);
        }
        Err(Failure::Redirect("too many hops").into())
    }

    /// Whether a redirect of a token server is followed.
    fn admit_realm(&self, asked: &Url, target: &Url) -> Result<Url, Failure> {
        if target.scheme() == "http" && asked.scheme() == "https" {
            return Err(Failure::Redirect("from https to http"));
        }
        let is_private = realm::literal_address(target).is_some_and(realm::is_private);
        if is_private && self.reach_of_realm(target)? == Reach::Public {
            return Err(Failure::Redirect("to a private address"));
        }
        Ok(target.clone())
    }

    /// Which addresses a token server may be at.
    fn reach_of_realm(&self, realm: &Url) -> Result<Reach, Failure> {
        follow::reach_of_realm(&self.config, realm).ok_or(NO_ADDRESS)
    }

    /// One request to a token server; its health is kept.
    async fn ask_token_server(&self, question: &TokenFetch, health: &Health) -> Result<(Pong, Bytes), Unanswered> {
        let reach = self.reach_of_realm(&question.url)?;
        let request = question.to_request();
        let outgoing = Outgoing { request, upstream: self.index, reach, purpose: RequestPurpose::Api };
        let started = self.platform.clock.now();
        let answer = within(&*self.platform.clock, self.timeouts.first_byte.0, async {
            let sent = self.platform.transport.send(outgoing).await;
            let (head, body) = sent.map_err(Unanswered::Transport)?.into_parts();
            let body = body.collect(TOKEN_ANSWER_BYTES).await.map_err(|error| match error {
                BodyError::TooLarge { .. } => Failure::TooLarge,
                _ => Failure::Broken,
            })?;
            Ok::<_, Unanswered>((head, body))
        })
        .await;
        let (now, most) = (self.platform.clock.now(), self.timeouts.down.0);
        match &answer {
            Ok(Ok(_)) => health.answered(now),
            Ok(Err(Unanswered::Transport(TransportError::Connect { why, .. }))) => {
                health.unconnected(Trouble::Unconnected(*why), started, now, most);
            }
            Ok(Err(_)) => {}
            Err(_) => health.timed_out(started, now, most),
        }
        answer.unwrap_or(Err(Unanswered::Failed(Failure::TimedOut)))
    }
}
