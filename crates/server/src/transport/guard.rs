//! Which addresses may be reached under a name that an upstream gave us: judged after it is resolved, where tricks
//! with DNS end.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use registry_proxy_core::config::Upstream;
use registry_proxy_core::upstream::is_private;
use tower_service::Service;

/// The name leads to a private address, and nothing allows that.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host} leads to the private address {address}")]
pub(crate) struct AddressRefused {
    pub(crate) host: Box<str>,
    pub(crate) address: IpAddr,
}

/// Judges for one upstream.
#[derive(Clone)]
pub(crate) struct Guard {
    /// Its own addresses: where these are private, it may lead to private ones.
    own: Arc<[(String, u16)]>,
}

impl Guard {
    pub(crate) fn new(upstream: &Upstream) -> Self {
        let own = upstream.urls.iter().filter_map(|url| {
            let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
            Some((host, url.port_or_known_default().unwrap_or(443)))
        });
        Self { own: own.collect() }
    }

    /// A literal address is never resolved, so it is judged here.
    pub(crate) async fn check_literal(&self, uri: &Uri) -> Result<(), AddressRefused> {
        let host = uri.host().unwrap_or_default();
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) if is_private(address) && !self.is_private_upstream().await => {
                Err(AddressRefused { host: host.into(), address })
            }
            _ => Ok(()),
        }
    }

    /// The public ones of these; all of them where the upstream itself is private.
    async fn judge(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, AddressRefused> {
        let (private, public): (Vec<_>, Vec<_>) =
            found.iter().copied().partition(|address| is_private(address.ip()));
        match private.first() {
            Some(_) if self.is_private_upstream().await => Ok(found),
            Some(address) if public.is_empty() => Err(AddressRefused { host: host.into(), address: address.ip() }),
            _ => Ok(public),
        }
    }

    async fn is_private_upstream(&self) -> bool {
        for (host, port) in &*self.own {
            if let Ok(mut found) = tokio::net::lookup_host((host.as_str(), *port)).await
                && found.any(|address| is_private(address.ip()))
            {
                return true;
            }
        }
        false
    }
}

/// Names become addresses; where a guard stands, only those that may be reached.
#[derive(Clone)]
pub(crate) struct Resolver(pub(crate) Option<Guard>);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed = match guard {
                Some(guard) => guard.judge(name.as_str(), found).await?,
                None => found,
            };
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(url: &str) -> Guard {
        Guard::new(&Upstream { urls: vec![url.parse().unwrap()], ..Upstream::default() })
    }

    #[tokio::test]
    async fn a_public_upstream_does_not_lead_to_private_addresses() {
        let guard = guard("https://1.1.1.1");
        for uri in ["https://127.0.0.1/x", "https://[::1]/x", "http://169.254.169.254/latest"] {
            assert!(guard.check_literal(&uri.parse().unwrap()).await.is_err(), "{uri}");
        }
        assert!(guard.check_literal(&"https://8.8.8.8/x".parse().unwrap()).await.is_ok());
        let mixed: Vec<SocketAddr> = vec!["10.0.0.1:0".parse().unwrap(), "8.8.8.8:0".parse().unwrap()];
        assert_eq!(guard.judge("rebind.example", mixed.clone()).await.unwrap(), mixed[1..]);
        assert!(guard.judge("rebind.example", mixed[..1].to_vec()).await.is_err());
    }

    #[tokio::test]
    async fn a_private_upstream_may() {
        let guard = guard("http://127.0.0.1:5000");
        assert!(guard.check_literal(&"http://127.0.0.2:9000/x".parse().unwrap()).await.is_ok());
        let private: Vec<SocketAddr> = vec!["10.0.0.1:0".parse().unwrap()];
        assert_eq!(guard.judge("minio.corp", private.clone()).await.unwrap(), private);
    }
}
