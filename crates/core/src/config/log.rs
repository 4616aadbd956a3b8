//! `[log]` and `[metrics]`.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::order;

/// `[log]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct Log {
    /// `text` or `json`; one line per request.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or a filter such as `info,hyper=debug`.
    pub level: String,
    /// How much of the client's address a log line shows: `full`: all of it; `network`: the first 24 bits of an IPv4
    /// address and 48 of an IPv6 address; `none`: nothing.
    pub client: LogClient,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned(), client: LogClient::Full }
    }
}

/// Lines for people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is written of a client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum LogClient {
    /// All of it.
    Full,
    /// The network it is in: 24 bits of an IPv4 address, 48 of an IPv6 address, which many others share.
    Network,
    /// Nothing.
    None,
}

/// A client's address as the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedClient {
    /// The address itself.
    Address(IpAddr),
    /// The network of the address.
    Network(IpNet),
}

impl LogClient {
    /// The address as the log has it; `None`: not logged.
    pub fn shown(self, address: IpAddr) -> Option<LoggedClient> {
        match self {
            Self::Full => Some(LoggedClient::Address(address)),
            Self::Network => {
                let bits = if address.is_ipv4() { 24 } else { 48 };
                IpNet::new(address, bits).ok().map(|net| LoggedClient::Network(net.trunc()))
            }
            Self::None => None,
        }
    }
}

impl fmt::Display for LoggedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// `[metrics]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct Metrics {
    /// Separate address for `/metrics`, which answers everybody who reaches it; the main address then does not serve
    /// `/metrics`.
    ///
    /// Default: the main address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// `true`: `/metrics` on the main address answers everybody. `false`: it answers only requests from this machine
    /// that did not come through a proxy; all others get 403.
    ///
    /// Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
}

impl Metrics {
    /// Whether everybody who reaches the main address may read them.
    pub fn is_public(&self) -> bool {
        self.public == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_down_as_far_as_it_is_said() {
        for (address, network) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("255.255.255.255", "255.255.255.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
            ("::1", "::/48"),
        ] {
            let shown = |how: LogClient| how.shown(address.parse().unwrap()).map(|shown| shown.to_string());
            assert_eq!(shown(LogClient::Full).as_deref(), Some(address));
            assert_eq!(shown(LogClient::Network).as_deref(), Some(network));
            assert_eq!(shown(LogClient::None), None);
        }
    }
}
