//! A request to a registry: address by address, at each with every login in turn.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Uri};
use url::Url;

use super::exchange::{Exchanged, FirstResponse, Payload, is_read};
use super::follow;
use super::location::Location;
use super::reply::{Negative, Reply};
use super::send::{Destination, uri_of};
use super::{Address, Ask, NO_ADDRESS, Upstream};
use crate::config::Redirects;
use crate::error::Failure;

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

impl Upstream {
    /// Asks, and follows redirects.
    pub async fn read(&self, ask: &Ask) -> Reply {
        match self.ask(ask, Payload::None).await {
            Ok(answer) => self.arrive(ask, answer).await,
            Err(negative) => Err(negative),
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
            Err(negative) => return Redirected::Reply(Err(negative)),
        };
        if leaves_it && follow::is_redirect(answer.response.status()) {
            return match answer.asked().and_then(|asked| follow::target(&asked, answer.response.headers())) {
                Ok(link) => Redirected::To(Box::new(link)),
                Err(failure) => Redirected::Reply(Err(Negative::Failed(failure))),
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
                    StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer.response),
                    _ => self.classify(answer.response).await,
                };
                WriteOutcome { reply, headers, asked }
            }
            Err(negative) => WriteOutcome { reply: Err(negative), headers: HeaderMap::new(), asked: None },
        }
    }

    /// Asks address by address until one answers.
    async fn ask(&self, ask: &Ask, payload: Payload) -> Result<FirstResponse<'_>, Negative> {
        let mut payload = Some(payload);
        let mut worst = None;
        for address in &self.addresses {
            let Some(_turn) = self.turn(&address.health) else {
                // The failure of another address just now says more.
                worst = worst.or(Some(Negative::Failed(self.resting(&address.health))));
                continue;
            };
            // A stream can be sent once, so there is no second address for it.
            let Some(this) = payload.take() else { break };
            payload = this.again();
            let uri = uri_of_ask(address, ask).map_err(Negative::Failed)?;
            let mut answer = self.ask_in_turn(address, ask, &uri, this).await;
            let may_repeat = is_read(ask) && !ask.is_continuation && self.addresses.len() == 1;
            if may_repeat && matches!(answer, Err(Negative::Failed(Failure::Broken))) {
                // A connection that broke says little of the address: if there is no other one, it is asked once more on a new
                // connection (P-122).
                answer = self.ask_in_turn(address, ask, &uri, Payload::None).await;
            }
            match answer {
                Ok(answer) if answer.response.status().is_server_error() => {
                    worst = Some(Negative::Failed(Failure::Status(answer.response.status())));
                }
                // Its token server is left alone for a while: an earlier failure says more.
                Err(negative @ Negative::Failed(Failure::Resting { .. })) => worst = worst.or(Some(negative)),
                Err(negative @ (Negative::Failed(_) | Negative::Limited { .. })) => worst = Some(negative),
                done => return done.map(|exchanged| exchanged.of(address, uri)),
            }
        }
        Err(worst.unwrap_or(Negative::Failed(NO_ADDRESS)))
    }

    /// Asks at the address of an upload session. Only the registry itself gets credentials.
    async fn ask_session(&self, ask: &Ask, payload: Payload, url: &Url) -> Result<FirstResponse<'_>, Negative> {
        let uri = uri_of(url.as_str()).map_err(Negative::Failed)?;
        let ours = self.addresses.iter().find(|address| address.url.origin() == url.origin());
        if let Some(address) = ours {
            let exchanged = self.ask_in_turn(address, ask, &uri, payload).await?;
            return Ok(exchanged.of(address, uri));
        }
        // Straight to a storage host (P-139).
        let address = self.addresses.first().ok_or(Negative::Failed(NO_ADDRESS))?;
        let reach = follow::admit(&self.policy(address), url.clone().into()).map_err(Negative::Failed)?.reach;
        let destination = Destination { health: &self.learned.redirect_hosts.health(url), reach };
        let body = payload.into_body();
        let response = self
            .send_to(destination, ask.method.clone(), uri.clone(), ask.headers.clone(), body, ask.purpose)
            .await;
        match response {
            Ok(response) => Ok(FirstResponse { response, address, asked: uri, authorization: None }),
            Err(error) => Err(Negative::Failed(self.explain(url, &error))),
        }
    }

    /// Asks one address with one login after the other, until one is not limited: each once, and without waiting (P-119).
    async fn ask_in_turn(
        &self,
        address: &Address,
        ask: &Ask,
        uri: &Uri,
        payload: Payload,
    ) -> Result<Exchanged, Negative> {
        let logins = self.logins_in_turn(ask, address).await.map_err(Negative::Failed)?;
        // Several logins are tried only for requests that can be sent again, not for pushes.
        let [login] = logins.as_slice() else {
            let mut soonest = Duration::MAX;
            for login in &logins {
                match self.exchange(address, ask, uri, login.as_ref()).run(Payload::None, false).await {
                    Err(Negative::Limited { retry_after }) => soonest = soonest.min(retry_after),
                    done => return done,
                }
            }
            return Err(Negative::Limited { retry_after: soonest });
        };
        let again = payload.again();
        let answer = self.exchange(address, ask, uri, login.as_ref()).run(payload, true).await;
        if let Err(Negative::Refused(_)) = &answer {
            self.disown(login.as_deref());
        }
        if is_refused(&answer)
            && let Some(other) = self.login_after_refusal(login.as_ref()).await
            && let Some(payload) = again
        {
            return self.exchange(address, ask, uri, Some(&other)).run(payload, false).await;
        }
        answer
    }
}

/// Whether the registry, or its token server, refused the login. ECR says of an ended one that it is forbidden (403).
fn is_refused(answer: &Result<Exchanged, Negative>) -> bool {
    match answer {
        Ok(exchanged) => exchanged.response.status() == StatusCode::FORBIDDEN,
        Err(Negative::Refused(_)) => true,
        Err(
            Negative::Missing(_)
            | Negative::Failed(_)
            | Negative::Limited { .. }
            | Negative::Unsatisfiable { .. }
            | Negative::Declined(..),
        ) => false,
    }
}

/// `/v2/name/endpoint?query`
fn uri_of_ask(address: &Address, ask: &Ask) -> Result<Uri, Failure> {
    let name = ask.name.as_str();
    match &ask.query {
        None => address.uri(&["/v2/", name, "/", &ask.endpoint]),
        Some(query) => address.uri(&["/v2/", name, "/", &ask.endpoint, "?", query]),
    }
}
