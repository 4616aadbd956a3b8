//! Prometheus metrics: recorded through the `metrics` facade, rendered here.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderMap;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use registry_proxy_core::telemetry::{self, BUILD, CONNECTIONS};

/// Buckets of the histogram of upstream response times, in seconds.
const SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 25.0];

/// Starts recording metrics.
pub(crate) fn start() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(telemetry::UPSTREAM_SECONDS.to_owned()), &SECONDS)?
        .install_recorder()?;
    for (name, meaning) in telemetry::DESCRIPTIONS {
        if name == telemetry::UPSTREAM_SECONDS {
            metrics::describe_histogram!(name, meaning);
        } else {
            metrics::describe_counter!(name, meaning);
        }
    }
    for (name, meaning) in telemetry::GAUGES {
        metrics::describe_gauge!(name, meaning);
    }
    metrics::describe_gauge!(CONNECTIONS, "Connections from clients");
    metrics::gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// Who may read the metrics on the main address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Everybody (`metrics.public`).
    Everybody,
    /// Clients on this machine, unless they forward for others.
    ThisMachine,
}

/// Headers that proxies add to a forwarded request, besides all `X-Forwarded-*`.
const FORWARDING: [&str; 9] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-envoy-external-address",
    "true-client-ip",
    "cf-connecting-ip",
];

impl Readers {
    /// Whether a request may read the metrics. `introduced`: the client's address by the PROXY protocol.
    pub(crate) fn include(self, peer: Option<IpAddr>, introduced: Option<IpAddr>, headers: &HeaderMap) -> bool {
        let is_passed_on = || {
            headers
                .keys()
                .any(|name| name.as_str().starts_with("x-forwarded-") || FORWARDING.contains(&name.as_str()))
        };
        match self {
            Self::Everybody => true,
            // A load balancer elsewhere may report a client on its own machine as 127.0.0.1.
            Self::ThisMachine => {
                peer.is_some_and(|peer| peer.is_loopback())
                    && introduced.is_none_or(|client| client.is_loopback())
                    && !is_passed_on()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn may(readers: Readers, peer: Option<&str>, header: Option<&'static str>) -> bool {
        let name = |header| (HeaderName::from_static(header), HeaderValue::from_static("192.0.2.1"));
        let headers = header.map(name).into_iter().chain([name("accept")]).collect();
        readers.include(peer.map(|peer| peer.parse().unwrap()), None, &headers)
    }

    #[test]
    fn metrics_are_for_this_machine_and_not_for_those_whom_a_proxy_on_it_serves() {
        for (peer, header, expected) in [
            (Some("127.0.0.1"), None, true),
            (Some("127.8.0.1"), None, true),
            (Some("::1"), None, true),
            (Some("127.0.0.1"), Some("user-agent"), true),
            (Some("127.0.0.1"), Some("x-forwarded-for"), false),
            (Some("127.0.0.1"), Some("x-forwarded-host"), false),
            (Some("127.0.0.1"), Some("x-forwarded-proto"), false),
            (Some("::1"), Some("forwarded"), false),
            (Some("::1"), Some("via"), false),
            (Some("127.0.0.1"), Some("x-real-ip"), false),
            (Some("127.0.0.1"), Some("cf-connecting-ip"), false),
            (Some("192.168.0.7"), None, false),
            (Some("172.17.0.1"), None, false),
            (Some("2001:db8::1"), None, false),
            (None, None, false),
        ] {
            assert_eq!(may(Readers::ThisMachine, peer, header), expected, "{peer:?} {header:?}");
            assert!(may(Readers::Everybody, peer, header), "{peer:?} {header:?}");
        }
    }

    #[test]
    fn metrics_are_for_nobody_whom_a_proxy_introduces_unless_both_are_on_this_machine() {
        for (peer, introduced, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "192.0.2.1", false),
            ("10.0.0.5", "127.0.0.1", false),
            ("10.0.0.5", "192.0.2.1", false),
        ] {
            let [from, introduces] = [peer, introduced].map(|text| text.parse().ok());
            let found = Readers::ThisMachine.include(from, introduces, &HeaderMap::new());
            assert_eq!(found, expected, "{peer} introduces {introduced}");
        }
    }
}
