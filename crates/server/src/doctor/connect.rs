//! The way to an address, step by step, each with its milliseconds: name, TCP, TLS.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::select_ok;
use registry_proxy_core::config::UpstreamConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use super::certificate;
use super::diagnosis::Obstacle;
use crate::egress::EgressRoutes;

/// How long an attempt is waited for before the next address is tried as well (RFC 8305 section 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Of one name, no more are tried.
const MOST_ADDRESSES: usize = 16;

/// A connection, with TLS where the address says so.
pub(crate) type Connected = Box<dyn Stream>;

/// What bytes go through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

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

/// Connects directly, each step within the limit.
pub(crate) async fn connect(
    upstream: &UpstreamConfig,
    url: &Url,
    limit: Duration,
) -> (Steps, Result<Connected, Obstacle>) {
    let mut steps = Steps::default();
    let connected = walk(upstream, url, limit, &mut steps).await;
    (steps, connected)
}

async fn walk(
    upstream: &UpstreamConfig,
    url: &Url,
    limit: Duration,
    steps: &mut Steps,
) -> Result<Connected, Obstacle> {
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
    if addresses.is_empty() {
        return Err(Obstacle::NotResolved);
    }
    step(steps, "DNS");
    let connected = timeout(limit, first_of(&addresses)).await.map_err(|_| Obstacle::TimedOut)?;
    let stream = connected.map_err(|error| Obstacle::of_connect(&error))?;
    step(steps, "TCP");
    if url.scheme() != "https" {
        return Ok(Box::new(stream));
    }
    let tls = crate::tls::client(upstream, true).map_err(|_| Obstacle::Certificate)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Obstacle::NotResolved)?;
    let shaken = timeout(limit, TlsConnector::from(tls).connect(name, stream)).await;
    let stream = shaken.map_err(|_| Obstacle::TimedOut)?.map_err(|error| Obstacle::of_tls(&error))?;
    step(steps, "TLS");
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    steps.certificate_days = chain.first().and_then(certificate::end).map(certificate::days_until);
    Ok(Box::new(stream))
}

/// The first of the addresses that connects, as the transport has it: a machine whose IPv6 leads nowhere is no fault as long as
/// IPv4 works. Of no addresses there is none.
async fn first_of(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let attempts = by_turns(addresses).into_iter().zip(0..).map(|(address, turn)| {
        Box::pin(async move {
            tokio::time::sleep(NEXT_ADDRESS * turn).await;
            TcpStream::connect(address).await
        })
    });
    let attempts: Vec<_> = attempts.collect();
    if attempts.is_empty() {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    select_ok(attempts).await.map(|(stream, _)| stream)
}

/// The families by turns, beginning with that of the first address.
fn by_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let of_family = |is_first: bool| {
        addresses.iter().copied().filter(move |address| (address.is_ipv6() == first_is_v6) == is_first)
    };
    let mut turns: Vec<(usize, bool, SocketAddr)> = Vec::new();
    for is_first in [true, false] {
        turns.extend(of_family(is_first).enumerate().map(|(place, address)| (place, !is_first, address)));
    }
    turns.sort_by_key(|(place, is_second, _)| (*place, *is_second));
    turns.into_iter().map(|(_, _, address)| address).take(MOST_ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[test]
    fn the_families_take_turns() {
        let parse = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let expected = parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(by_turns(&given), expected);
        assert_eq!(by_turns(&[given[0]; 99]).len(), 16);
    }

    #[tokio::test]
    async fn an_address_that_never_answers_does_not_hide_one_that_does() {
        // A queue that is full: further connections are not answered at all.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let silent = full.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(connected) = timeout(NEXT_ADDRESS, TcpStream::connect(silent)).await {
            waiting.push(connected.unwrap());
        }
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = good.local_addr().unwrap();
        let stream = first_of(&[silent, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(first_of(&[]).await.is_err());
    }
}
