//! `[quota]`: how much clients may have in an hour and in a day.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
#[cfg(feature = "schema")]
use super::order;
use super::units::Bytes;

/// `[quota]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct QuotaConfig {
    /// `on`: the limits apply, those of `client` to each client and those of `total` to all clients together; if none is
    /// set, nothing is counted. `off`: no limit applies. `closed`: every request for content gets 429. Instances that
    /// share a store add up their counts for `total`, a minute or two late.
    pub mode: QuotaMode,
    /// Clients counted separately at once: an IPv4 address, or an IPv6 network of 64 bits. All further clients share
    /// the limits of one client until the next day.
    pub max_clients: usize,
    /// Limits of each client.
    pub client: Quota,
    /// Limits of all clients together.
    pub total: Quota,
}

impl Default for QuotaConfig {
    fn default() -> Self {
        Self { mode: QuotaMode::default(), max_clients: 10_000, client: Quota::default(), total: Quota::default() }
    }
}

/// The switch over all limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum QuotaMode {
    /// The limits hold; without any, nothing is counted.
    #[default]
    On,
    /// No limit holds.
    Off,
    /// Nobody gets anything.
    Closed,
}

/// Limits for an hour and for a day; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct Quota {
    /// Requests for manifests, blobs, lists and uploads per clock hour (UTC); then 429 until the next hour. `/v2/` and
    /// `/token` do not count.
    ///
    /// Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_hour: Option<u64>,
    /// The same per day (UTC).
    ///
    /// Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u64>,
    /// Response bytes sent per hour. A response that has begun is not cut off.
    ///
    /// Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_hour: Option<Bytes>,
    /// The same per day.
    ///
    /// Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_day: Option<Bytes>,
}

impl Quota {
    /// Whether there is a limit at all.
    pub fn is_some(&self) -> bool {
        *self != Self::default()
    }
}

impl QuotaConfig {
    /// Whether something is limited now.
    pub fn limits(&self) -> bool {
        match self.mode {
            QuotaMode::On => self.client.is_some() || self.total.is_some(),
            QuotaMode::Off => false,
            QuotaMode::Closed => true,
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.max_clients == 0 {
            return Err(ConfigError::new("quota.max_clients", "expected at least 1"));
        }
        for (whose, quota) in [("client", &self.client), ("total", &self.total)] {
            for (key, limit) in [
                ("requests_per_hour", quota.requests_per_hour),
                ("requests_per_day", quota.requests_per_day),
                ("bytes_per_hour", quota.bytes_per_hour.map(|bytes| bytes.0)),
                ("bytes_per_day", quota.bytes_per_day.map(|bytes| bytes.0)),
            ] {
                if limit == Some(0) {
                    return Err(ConfigError::new(
                        format!("quota.{whose}.{key}"),
                        "expected at least 1; leave it out for no limit, or set quota.mode = \"closed\" to refuse everything",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Warnings, by key.
    pub(super) fn warnings(&self) -> Vec<(&'static str, &'static str)> {
        match self.mode {
            QuotaMode::Off if self.client.is_some() || self.total.is_some() => {
                vec![("quota.mode", "off: the limits of [quota] do not apply")]
            }
            QuotaMode::Closed => vec![("quota.mode", "closed: every request for content is answered 429")],
            QuotaMode::On | QuotaMode::Off => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Sources};
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::load(&Sources { text: Some(text), variables, read: &|path| Ok(path.to_owned()) })
    }

    #[test]
    fn limits_come_from_the_file_and_from_the_environment() {
        let config = load(
            "[quota.client]\nrequests_per_hour=300\nbytes_per_day='20 GiB'",
            &[("REGISTRY_PROXY_QUOTA__TOTAL__BYTES_PER_DAY", "500 GiB"), ("REGISTRY_PROXY_QUOTA__MODE", "off")],
        );
        let quota = config.unwrap().quota;
        assert_eq!(quota.mode, QuotaMode::Off);
        assert_eq!(
            (quota.client.requests_per_hour, quota.client.bytes_per_day),
            (Some(300), Some(Bytes(20 << 30)))
        );
        assert_eq!(quota.total, Quota { bytes_per_day: Some(Bytes(500 << 30)), ..Quota::default() });
    }

    #[test]
    fn a_limit_of_nothing_is_refused_at_its_key() {
        for (text, place) in [
            ("[quota.client]\nrequests_per_hour=0", "quota.client.requests_per_hour"),
            ("[quota.total]\nbytes_per_day='0GiB'", "quota.total.bytes_per_day"),
            ("[quota]\nmax_clients=0", "quota.max_clients"),
            ("[quota]\nmode='shut'", "quota.mode"),
        ] {
            assert_eq!(load(text, &[]).unwrap_err().place, place, "{text}");
        }
    }

    #[test]
    fn a_proxy_that_anybody_can_use_up_is_named_and_each_way_to_restrict_it_counts() {
        let said = |text: &str| -> Vec<String> {
            let config = load(&format!("listen='0.0.0.0:80'\n{text}"), &[]).unwrap();
            config
                .warnings()
                .into_iter()
                .filter(|w| w.what.contains("finds this address"))
                .map(|w| w.place)
                .collect()
        };
        assert_eq!(said(""), ["clients.auth"]);
        assert_eq!(said("[quota]\nmode='off'\n[quota.total]\nbytes_per_day='1TiB'"), ["clients.auth"]);
        let one = "[[upstream]]\nname='ghcr.io'\n[[upstream]]\nname='quay.io'\nrepositories={allow=['a/**']}";
        assert_eq!(said(one), ["clients.auth"], "one of two is open");
        for text in [
            "[clients]\npath_secret_file='long-enough-to-be-a-secret'",
            "signing_key_file='k'\n[clients]\nauth='users'\nusers_file='u'",
            "[[upstream]]\nname='ghcr.io'\nrepositories={allow=['a/**']}",
            "[quota.client]\nrequests_per_hour=5",
            "[quota]\nmode='closed'",
        ] {
            assert_eq!(said(text), Vec::<String>::new(), "{text}");
        }
        assert_eq!(load("", &[]).unwrap().warnings(), [], "who listens on this machine only");
        for function in
            [("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), ("REGISTRY_PROXY_PLATFORM", "cloudflare-workers")]
        {
            let warnings = load("", &[function]).unwrap().warnings();
            assert!(warnings.iter().any(|warning| warning.what.contains("finds this address")), "{function:?}");
        }
    }

    #[test]
    fn a_switch_that_is_not_at_on_is_said() {
        let places = |text: &str| -> Vec<String> {
            load(text, &[]).unwrap().warnings().into_iter().map(|warning| warning.place).collect()
        };
        assert_eq!(places("[quota]\nmode='closed'"), ["quota.mode"]);
        assert_eq!(places("[quota]\nmode='off'\n[quota.client]\nrequests_per_day=1"), ["quota.mode"]);
        assert_eq!(places("[quota]\nmode='off'"), Vec::<String>::new());
    }
}
