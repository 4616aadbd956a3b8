//! How an address wants to be asked, where its answer to a request does not say so, or where that must be known before.

use std::sync::Arc;

use http::header::VIA;
use http::response::Parts as Pong;
use http::{HeaderMap, Method, StatusCode};

use super::challenge::UpstreamChallenge;
use super::reply::{Failure, Negative};
use super::{Address, Ask, Login, Upstream};
use crate::body::Body;
use crate::platform::Purpose;

impl Upstream {
    /// Asks `/v2/`, to learn how this address wants to be asked.
    async fn ping(&self, address: &Address) -> Result<Pong, Failure> {
        let url = format!("{}/v2/", address.base);
        let response =
            self.send_once(address, Method::GET, &url, HeaderMap::new(), Body::Empty, Purpose::Api).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            address.learn(UpstreamChallenge::choose(response.headers(), &address.url));
        }
        Ok(response.into_parts().0)
    }

    /// Some registries give a challenge at `/v2/` and nowhere else, where docker and crane read it: whether it says how
    /// this login is shown.
    pub(super) async fn is_told_by_ping(&self, address: &Address, login: Option<&Arc<Login>>) -> bool {
        // What keeps the ping from being answered is no news of the question that was.
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
        url: &str,
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
            // Its door stands open and its repositories do not: the upload itself says which login it wants.
            let mut headers = HeaderMap::new();
            headers.extend(ask.headers.get(VIA).map(|value| (VIA, value.clone())));
            let asked = self.send_once(address, Method::GET, url, headers, Body::Empty, ask.purpose).await;
            let response = asked.map_err(Negative::Failed)?;
            if response.status() == StatusCode::UNAUTHORIZED {
                address.learn(UpstreamChallenge::choose(response.headers(), &address.url));
            }
        }
        Ok(())
    }
}
