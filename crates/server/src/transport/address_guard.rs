//! Keeps upstreams from directing us to private addresses. Addresses are checked after name resolution, so DNS rebinding
//! does not help. Which names may lead to private addresses is decided by the core and the configuration, never by DNS,
//! since an upstream may own the name.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use registry_proxy_core::upstream::is_private;
use tower_service::Service;

use super::dns::DnsLookups;

/// The name leads to a private address, which is not allowed for it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host} resolves to the private address {address}")]
pub(crate) struct AddressRefused {
    pub(crate) host: Box<str>,
    pub(crate) address: IpAddr,
}

/// The name was not resolved.
#[derive(Debug, thiserror::Error)]
#[error("{host} could not be resolved")]
pub(crate) struct NotResolved {
    host: Box<str>,
    source: Arc<std::io::Error>,
}

/// Checks literal addresses, which are never resolved.
pub(crate) fn check_literal(uri: &Uri) -> Result<(), AddressRefused> {
    let host = uri.host().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) if is_private(address) => Err(AddressRefused { host: host.into(), address }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The public addresses among these; an error if there are only private ones.
fn judge(host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, AddressRefused> {
    let (private, public): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| is_private(address.ip()));
    match private.first() {
        Some(address) if public.is_empty() => Err(AddressRefused { host: host.into(), address: address.ip() }),
        Some(_) | None => Ok(public),
    }
}

/// Which addresses a name may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admits {
    /// Any.
    Everything,
    /// Public ones.
    PublicOnly,
}

/// Resolves names to the addresses that may be reached.
#[derive(Clone)]
pub(crate) struct Resolver {
    admits: Admits,
    names: Arc<DnsLookups>,
}

impl Resolver {
    /// A resolver for names from this upstream.
    pub(crate) fn new(admits: Admits, upstream: &str) -> Self {
        Self { admits, names: DnsLookups::of(upstream) }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (admits, found) = (self.admits, self.names.look_up(name.as_str()));
        Box::pin(async move {
            let found = found.await.map_err(|source| NotResolved { host: name.as_str().into(), source })?;
            let allowed = match admits {
                Admits::PublicOnly => judge(name.as_str(), found)?,
                Admits::Everything => found,
            };
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_private_address_is_reached_by_itself_or_behind_a_name() {
        for uri in ["https://127.0.0.1/x", "https://[::1]/x", "http://169.254.169.254/latest", "http://[fec0::1]/"]
        {
            assert!(check_literal(&uri.parse().unwrap()).is_err(), "{uri}");
        }
        assert!(check_literal(&"https://8.8.8.8/x".parse().unwrap()).is_ok());
        let mixed: Vec<SocketAddr> = vec!["10.0.0.1:0".parse().unwrap(), "8.8.8.8:0".parse().unwrap()];
        assert_eq!(judge("rebind.example", mixed.clone()).unwrap(), mixed[1..]);
        assert!(judge("rebind.example", mixed[..1].to_vec()).is_err());
    }

    #[tokio::test]
    async fn the_resolver_of_public_names_gives_no_private_address() {
        let resolve = async |admits| Resolver::new(admits, "up.test").call("localhost".parse().unwrap()).await;
        assert!(resolve(Admits::Everything).await.unwrap().next().is_some());
        let refused = resolve(Admits::PublicOnly).await.unwrap_err();
        assert!(refused.downcast_ref::<AddressRefused>().is_some(), "{refused}");
    }
}
