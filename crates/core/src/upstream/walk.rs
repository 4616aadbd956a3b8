//! Following the redirects of an answer to the bytes (P-66 … P-68).

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, RANGE, VIA};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use url::Url;

use super::challenge::UpstreamChallenge;
use super::exchange::FirstResponse;
use super::follow::{self, Hop, Policy};
use super::location::Location;
use super::reply::{Negative, Reply};
use super::reports::FailureKind;
use super::send::{Destination, uri_of};
use super::{Address, Ask, NO_ADDRESS, Upstream};
use crate::body::Body;
use crate::error::Failure;
use crate::platform::{Reach, RequestPurpose};
use crate::range::ContentRange;

impl Upstream {
    /// Fetches an address that a redirect named, without credentials.
    pub async fn fetch_target(&self, link: &Location, ask: &Ask) -> Reply {
        let Some(address) = self.addresses.first() else { return Err(Negative::Failed(NO_ADDRESS)) };
        let fetched = match follow::admit(&self.policy(address), link.clone()) {
            Ok(hop) => self.walk(ask, address, hop, None).await,
            Err(failure) => Err(failure),
        };
        match fetched {
            Ok(response) => self.classify(response).await,
            Err(failure) => Err(Negative::Failed(failure)),
        }
    }

    /// Fetches from the configured storage, wherever that is: the configuration names it (`DEFAULT_BACKEND_HOST`).
    pub async fn fetch_storage(&self, link: &Location, ask: &Ask) -> Reply {
        let Some(address) = self.addresses.first() else { return Err(Negative::Failed(NO_ADDRESS)) };
        let hop = Hop { link: link.clone(), same_origin: false, reach: Reach::Trusted };
        match self.walk(ask, address, hop, None).await {
            Ok(response) => self.classify(response).await,
            Err(failure) => Err(Negative::Failed(failure)),
        }
    }

    pub(super) async fn arrive(&self, ask: &Ask, answer: FirstResponse<'_>) -> Reply {
        if !follow::is_redirect(answer.response.status()) {
            return self.classify(answer.response).await;
        }
        let asked = answer.asked();
        let FirstResponse { response, address, authorization, .. } = answer;
        // The answer is dropped before the next request, which may need its connection.
        let headers = response.into_parts().0.headers;
        let next = asked.and_then(|asked| follow::next(&self.policy(address), &asked, 0, &headers));
        let followed = match next {
            // The target of a blob is signed for GET only: its size is asked for instead (P-68). That of a manifest is
            // another registry, as registry.k8s.io has it.
            Ok(hop) if ask.method == Method::HEAD && ask.purpose == RequestPurpose::Blob => {
                self.size_of(ask, address, hop, authorization).await
            }
            Ok(hop) => self.walk(ask, address, hop, authorization).await,
            Err(failure) => Err(failure),
        };
        match followed {
            Ok(response) => self.classify(response).await,
            Err(failure) => {
                if let Some(repeated) = self.report(FailureKind::Redirect) {
                    let name = self.name();
                    tracing::warn!(upstream = name, why = %failure, repeated, "redirect not followed to its end");
                }
                Err(Negative::Failed(failure))
            }
        }
    }

    pub(super) fn policy<'a>(&'a self, address: &'a Address) -> Policy<'a> {
        Policy { registry: &address.url, trusted_hosts: &self.config.redirect_hosts, storage: self.storage() }
    }

    /// Follows a chain of redirects to its end. Off the registry's own origin the client's headers are left out but for the range,
    /// the types it accepts (P-66), and `Via`, by which a loop is detected (P-127).
    pub(super) async fn walk(
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
        let mut has_waited = false;
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
            let stranger = (!hop.same_origin).then(|| self.learned.redirect_hosts.health(hop.link.url()));
            let turn = stranger.as_deref().map(|health| self.turn(health).ok_or_else(|| self.resting(health)));
            let _turn = turn.transpose()?;
            let destination =
                Destination { health: stranger.as_deref().unwrap_or(&address.health), reach: hop.reach };
            let uri = uri_of(&hop.link.to_text())?;
            let response =
                self.send_to(destination, ask.method.clone(), uri, headers, Body::Empty, ask.purpose).await;
            let response = response.map_err(|error| self.explain(hop.link.url(), &error))?;
            let status = response.status();
            if !has_waited && let Some(wait) = self.comes_back_soon(status, response.headers()) {
                has_waited = true;
                drop(response);
                self.platform.clock.sleep(wait).await;
                continue;
            }
            if status == StatusCode::UNAUTHORIZED && elsewhere.is_none() && !hop.same_origin {
                // Another registry that wants a login: the proxy asks it anonymously (P-67).
                let headers = response.into_parts().0.headers;
                elsewhere = Some(self.stranger_token(hop.link.url(), ask, &headers).await?);
                continue;
            }
            if !follow::is_redirect(status) {
                return Ok(response);
            }
            // After a hop to another origin, a redirect back to the registry carries no login: a stranger named it.
            let has_left = !hop.same_origin;
            hop = follow::next(&policy, hop.link.url(), hops, response.headers())?;
            hop.same_origin &= !has_left;
            elsewhere = None;
            hops += 1;
        }
    }

    pub(super) async fn stranger_token(
        &self,
        url: &Url,
        ask: &Ask,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, Failure> {
        match UpstreamChallenge::choose(headers, url) {
            Some(UpstreamChallenge::Bearer { realm, service }) if super::realm::is_trusted(url, &realm, &[]) => {
                // There the repository may have another name.
                let scope = format!("repository:{}:pull", follow::repository(url).as_ref().unwrap_or(&ask.name));
                match self.token(url, &realm, service.as_deref(), None, &scope, false).await {
                    Ok((token, _, _)) => Ok(token.header),
                    Err(_) => Err(Failure::Redirect("to a registry that wants a login")),
                }
            }
            _ => Err(Failure::Redirect("to a server that wants a login")),
        }
    }

    /// The length of what a redirect leads to, as the answer to a HEAD.
    pub(super) async fn size_of(
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
}
