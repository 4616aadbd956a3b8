//! Whether a registry accepts a client's login: its token server says so, or with Basic, the registry itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};

use super::authorize::{DEFAULT_RETRY_AFTER, basic_header};
use super::challenge::UpstreamChallenge;
use super::token::NoToken;
use super::{Address, Login, NO_ADDRESS, Upstream};
use crate::body::Body;
use crate::error::{Failure, UpstreamText};
use crate::name::RepositoryName;
use crate::platform::RequestPurpose;
use crate::secret::Basic;

/// The result of checking a client's login.
pub enum LoginCheck {
    /// It is right.
    Accepted,
    /// The upstream wants no login here, or takes any: a later refusal may still be a wrong password.
    Unchecked,
    /// It is wrong.
    Refused(UpstreamText),
    /// The upstream limits requests: try again later.
    Limited(Duration),
    /// The upstream cannot be asked, or gives no result.
    Failed(Failure, Duration),
}

/// A login to check at one address.
struct LoginAttempt<'a> {
    address: &'a Address,
    login: &'a Arc<Login>,
    repository: Option<&'a RepositoryName>,
    via: &'a HeaderMap,
}

/// The endpoint that is asked.
#[derive(Clone, Copy)]
enum Probe<'a> {
    /// `/v2/`
    Root,
    /// The tags of a repository, which answer 2xx or 404 to anybody who may read it.
    Repository(&'a RepositoryName),
}

/// Whether a status turns away whoever asked.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

impl Upstream {
    /// Whether the upstream accepts a client's login, for reading `repository` if one is named. Each request to the registry
    /// carries `via`, so that a loop is detected (P-127).
    pub async fn check_login(
        &self,
        login: &Arc<Login>,
        repository: Option<&RepositoryName>,
        via: &HeaderMap,
    ) -> LoginCheck {
        let mut unknown = None;
        for address in &self.addresses {
            match self.check_login_at(&LoginAttempt { address, login, repository, via }).await {
                // The address rests after a failure: the earlier failure says more.
                failed @ LoginCheck::Failed(Failure::Resting { .. }, _) => unknown = unknown.or(Some(failed)),
                failed @ LoginCheck::Failed(..) => unknown = Some(failed),
                known => return known,
            }
        }
        unknown.unwrap_or(LoginCheck::Failed(NO_ADDRESS, DEFAULT_RETRY_AFTER))
    }

    async fn check_login_at(&self, question: &LoginAttempt<'_>) -> LoginCheck {
        let LoginAttempt { address, login, repository, .. } = question;
        if let Err(unknown) = self.learn_how(question).await {
            return unknown;
        }
        match address.challenge() {
            // Nobody asks for a login here, so none can be checked.
            None => LoginCheck::Unchecked,
            Some(UpstreamChallenge::Basic) => self.check_basic(question).await.unwrap_or_else(|unknown| unknown),
            Some(UpstreamChallenge::Bearer { realm, service }) => {
                let scope = repository.map(|name| format!("repository:{name}:pull")).unwrap_or_default();
                let token = self.token(&address.url, &realm, service.as_deref(), Some(login), &scope, false);
                match token.await {
                    Ok((token, ..)) if token.knows_login => LoginCheck::Accepted,
                    // A redirect led where the login is not sent.
                    Ok(_) => LoginCheck::Unchecked,
                    Err(NoToken::Refused(text)) => LoginCheck::Refused(text),
                    Err(NoToken::Limited(retry_after)) => LoginCheck::Limited(retry_after),
                    Err(NoToken::Failed(failure)) => LoginCheck::Failed(failure, DEFAULT_RETRY_AFTER),
                }
            }
        }
    }

    /// Learns the challenge of this address: from `/v2/`, or from the repository if `/v2/` is open to everybody or refuses
    /// without a challenge.
    async fn learn_how(&self, question: &LoginAttempt<'_>) -> Result<(), LoginCheck> {
        let LoginAttempt { address, repository, .. } = question;
        let mut refused = false;
        for asked in [Some(Probe::Root), repository.map(Probe::Repository)].into_iter().flatten() {
            if address.challenge().is_some() {
                return Ok(());
            }
            refused = is_refusal(self.probe(question, asked, None).await?);
        }
        if refused && address.challenge().is_none() {
            // It wants a login, and not one that we know how to check.
            return Err(LoginCheck::Failed(Failure::Nonsense("no challenge"), DEFAULT_RETRY_AFTER));
        }
        Ok(())
    }

    /// Shows the login to the registry itself: to `/v2/`, unless that says nothing. Some registries close it to everybody,
    /// as each repository has users of its own, and others open it to everybody; then the repository is asked.
    async fn check_basic(&self, question: &LoginAttempt<'_>) -> Result<LoginCheck, LoginCheck> {
        let basic = Some(&question.login.basic);
        let refused = || LoginCheck::Refused(UpstreamText::default());
        let is_turned_away = is_refusal(self.probe(question, Probe::Root, basic).await?);
        if !is_turned_away && self.asks_for_a_login(question).await? {
            return Ok(LoginCheck::Accepted);
        }
        let Some(name) = question.repository else {
            return Ok(if is_turned_away { refused() } else { LoginCheck::Unchecked });
        };
        if is_refusal(self.probe(question, Probe::Repository(name), basic).await?) {
            return Ok(refused());
        }
        // A repository that everybody may read says nothing of a login, and `/v2/` may have turned this one away.
        let is_closed = is_refusal(self.probe(question, Probe::Repository(name), None).await?);
        Ok(match (is_closed, is_turned_away) {
            (true, _) => LoginCheck::Accepted,
            (false, true) => refused(),
            (false, false) => LoginCheck::Unchecked,
        })
    }

    /// Whether `/v2/` turns away whoever brings no login; asked until it has done so once.
    async fn asks_for_a_login(&self, question: &LoginAttempt<'_>) -> Result<bool, LoginCheck> {
        if !question.address.refuses_anonymous.load(Ordering::Relaxed) {
            self.probe(question, Probe::Root, None).await?;
        }
        Ok(question.address.refuses_anonymous.load(Ordering::Relaxed))
    }

    /// Asks an address that is not resting, and learns its challenge if it says one to nobody in particular: a status that
    /// says something of a login, or why nothing is known.
    async fn probe(
        &self,
        question: &LoginAttempt<'_>,
        asked: Probe<'_>,
        basic: Option<&Basic>,
    ) -> Result<StatusCode, LoginCheck> {
        let LoginAttempt { address, via, .. } = question;
        let Some(_turn) = self.turn(&address.health) else {
            return Err(LoginCheck::Failed(self.resting(&address.health), DEFAULT_RETRY_AFTER));
        };
        let uri = match asked {
            Probe::Root => address.uri(&["/v2/"]),
            Probe::Repository(name) => address.uri(&["/v2/", name.as_str(), "/tags/list?n=1"]),
        };
        let uri = uri.map_err(|failure| LoginCheck::Failed(failure, DEFAULT_RETRY_AFTER))?;
        let mut headers = (*via).clone();
        headers.extend(basic.map(|basic| (AUTHORIZATION, basic_header(basic))));
        let sent = self.send_once(address, Method::GET, uri, headers, Body::Empty, RequestPurpose::Api).await;
        let response = sent.map_err(|failure| LoginCheck::Failed(failure, DEFAULT_RETRY_AFTER))?;
        let (status, headers) = (response.status(), response.headers());
        if basic.is_none() && is_refusal(status) {
            if let Some(challenge) = UpstreamChallenge::choose(headers, &address.url) {
                address.learn(Some(challenge));
            }
            if matches!(asked, Probe::Root) {
                address.refuses_anonymous.store(true, Ordering::Relaxed);
            }
        }
        match status {
            StatusCode::TOO_MANY_REQUESTS => Err(LoginCheck::Limited(self.retry_after(headers))),
            status if status.is_server_error() => {
                Err(LoginCheck::Failed(Failure::Status(status), self.retry_after(headers)))
            }
            status => Ok(status),
        }
    }
}
