//! Learning the challenge of an address from `/v2/`, if its answer to a request does not name one, or if it must be known
//! before the request.

use std::sync::Arc;

use http::header::VIA;
use http::response::Parts as Pong;
use http::{HeaderMap, Method, StatusCode, Uri};

use super::challenge::UpstreamChallenge;
use super::reply::Negative;
use super::{Address, Ask, Login, Upstream};
use crate::body::Body;
use crate::error::Failure;
use crate::platform::RequestPurpose;

impl Upstream {
    /// Asks `/v2/`, to learn the challenge of this address.
    async fn ping(&self, address: &Address) -> Result<Pong, Failure> {
        let uri = address.uri(&["/v2/"])?;
        let response =
            self.send_once(address, Method::GET, uri, HeaderMap::new(), Body::Empty, RequestPurpose::Api).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            address.learn(UpstreamChallenge::choose(response.headers(), &address.url));
        }
        Ok(response.into_parts().0)
    }

    /// Asks `/v2/`, as some registries give their challenge there and nowhere else (docker and crane read it there). Returns
    /// whether that tells how to send this login.
    pub(super) async fn is_told_by_ping(&self, address: &Address, login: Option<&Arc<Login>>) -> bool {
        // A failure of the ping says nothing of the request before it.
        let _ = self.ping(address).await;
        match address.challenge() {
            None => false,
            Some(UpstreamChallenge::Basic) => login.is_some(),
            Some(UpstreamChallenge::Bearer { .. }) => true,
        }
    }

    /// A stream cannot be sent twice, so the challenge must be known before it.
    pub(super) async fn learn_challenge(
        &self,
        address: &Address,
        ask: &Ask,
        uri: &Uri,
        login: Option<&Arc<Login>>,
    ) -> Result<(), Negative> {
        let pong = self.ping(address).await.map_err(Negative::Failed)?;
        match pong.status {
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(Negative::Limited { retry_after: self.retry_after(&pong.headers) });
            }
            status if status.is_server_error() => return Err(Negative::Failed(Failure::Status(status))),
            _ => {}
        }
        let is_session = matches!(ask.method, Method::PATCH | Method::PUT);
        if is_session && login.is_some() && address.challenge().is_none() {
            // `/v2/` is open and the repositories are not: the upload itself names the challenge.
            let mut headers = HeaderMap::new();
            headers.extend(ask.headers.get(VIA).map(|value| (VIA, value.clone())));
            let asked = self.send_once(address, Method::GET, uri.clone(), headers, Body::Empty, ask.purpose).await;
            let response = asked.map_err(Negative::Failed)?;
            if response.status() == StatusCode::UNAUTHORIZED {
                address.learn(UpstreamChallenge::choose(response.headers(), &address.url));
            }
        }
        Ok(())
    }
}
