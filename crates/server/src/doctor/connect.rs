//! The way to an address, step by step, each with its milliseconds: name, TCP, TLS.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use registry_proxy_core::config::UpstreamConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use super::certificate;
use super::diagnosis::Obstacle;
use crate::egress::EgressRoutes;

/// What was seen on the way.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// `DNS 3 ms, TCP 12 ms`
    pub(crate) taken: Vec<String>,
    /// Days until the server's certificate ends.
    pub(crate) certificate_days: Option<i64>,
}

/// The proxy that an upstream's address is reached through, without its password; `None`: directly.
pub(crate) fn egress(upstream: &UpstreamConfig, url: &Url) -> Option<String> {
    let proxy = EgressRoutes::new(upstream.proxy.as_ref()).proxy_to(&url.as_str().parse().ok()?)?;
    let (scheme, host) = (proxy.uri().scheme_str().unwrap_or("http"), proxy.uri().host().unwrap_or_default());
    Some(match proxy.uri().port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// Connects directly, each step within the limit. The transport tries IPv6 and IPv4 at once; this does one after the other.
pub(crate) async fn connect(upstream: &UpstreamConfig, url: &Url, limit: Duration) -> (Steps, Option<Obstacle>) {
    let mut steps = Steps::default();
    let stopped = walk(upstream, url, limit, &mut steps).await.err();
    (steps, stopped)
}

async fn walk(upstream: &UpstreamConfig, url: &Url, limit: Duration, steps: &mut Steps) -> Result<(), Obstacle> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(Obstacle::Unknown);
    };
    let host = host.trim_matches(['[', ']']);
    let mut begun = Instant::now();
    let mut step = |steps: &mut Steps, name: &str| {
        steps.taken.push(format!("{name} {} ms", begun.elapsed().as_millis()));
        begun = Instant::now();
    };
    let found = timeout(limit, tokio::net::lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Err(_) => return Err(Obstacle::NotResolved),
        Ok(found) => found.map_err(|_| Obstacle::NotResolved)?.collect(),
    };
    step(steps, "DNS");
    let connected = timeout(limit, TcpStream::connect(&addresses[..])).await.map_err(|_| Obstacle::TimedOut)?;
    let stream = connected.map_err(|error| Obstacle::of_connect(&error))?;
    step(steps, "TCP");
    if url.scheme() != "https" {
        return Ok(());
    }
    let tls = crate::tls::client(upstream, true).map_err(|_| Obstacle::Certificate)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Obstacle::NotResolved)?;
    let shaken = timeout(limit, TlsConnector::from(tls).connect(name, stream)).await;
    let stream = shaken.map_err(|_| Obstacle::TimedOut)?.map_err(|error| Obstacle::of_tls(&error))?;
    step(steps, "TLS");
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    steps.certificate_days = chain.first().and_then(certificate::end).map(certificate::days_until);
    Ok(())
}
