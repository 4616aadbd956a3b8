//! `[[events]]`: who is told when something happens.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use super::ConfigError;
#[cfg(feature = "schema")]
use super::order;
use crate::notification::EventKind;
use crate::secret::Secret;

/// What a key begins with, and how many bytes follow in base64 (Standard Webhooks 1.0.0, "Signature scheme").
const KEY_PREFIX: &str = "whsec_";
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Receivers, each of which has a queue.
const MAX_RECEIVERS: usize = 16;

/// `[[events]]`: a receiver of events.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("x-order" = order::of::<Self>(), "required" = ["url"]))
)]
pub struct EventsConfig {
    /// Where events are sent: each by POST, as a CloudEvent in JSON. `HTTPS_PROXY` and its like apply; redirects are not
    /// followed. Path and query are shown nowhere, since they may contain a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<ReceiverUrl>,
    /// File with the key that signs events as Standard Webhooks says: `whsec_`, and 24 to 64 random bytes in base64. Read
    /// again at SIGHUP. Either this or `key` is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// The key itself, for platforms without secret files. A file is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// Which events are sent: `tag moved`, `held`, `released`, `refused`, `upstream down`, `upstream up`, `corrupt`, `quota`.
    ///
    /// Default: all.
    pub on: Vec<EventKind>,
    /// `true`: allows `http://`, and does not verify the receiver's certificate. For tests.
    pub insecure: bool,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { url: None, key_file: None, key: None, on: EventKind::ALL.to_vec(), insecure: false }
    }
}

impl EventsConfig {
    /// Refuses what cannot be right; `at` is the path of a key of this receiver.
    fn validate(&self, at: &dyn Fn(&str) -> String) -> Result<(), ConfigError> {
        let Some(ReceiverUrl(url)) = &self.url else {
            return Err(ConfigError::new(at("url"), "expected the address that events are sent to"));
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(ConfigError::new(at("url"), "expected https://host/path"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let what = "an address must not contain a user name or password; events are signed with the key";
            return Err(ConfigError::new(at("url"), what));
        }
        if url.scheme() == "http" && !self.insecure {
            return Err(ConfigError::new(at("url"), "plain HTTP needs insecure = true"));
        }
        if self.on.is_empty() {
            return Err(ConfigError::new(at("on"), "names no event; leave it out for all"));
        }
        match &self.key {
            None => Err(ConfigError::new(
                at("key_file"),
                "needed: receivers tell our events from others' by its signature",
            )),
            Some(key) if key_bytes(key).is_none() => Err(ConfigError::new(
                at("key_file"),
                "expected whsec_ and 24 to 64 bytes in base64; make one with: echo \"whsec_$(openssl rand -base64 32)\"",
            )),
            Some(_) => Ok(()),
        }
    }
}

/// Refuses receivers that cannot be right.
pub(super) fn validate(receivers: &[EventsConfig]) -> Result<(), ConfigError> {
    if receivers.len() > MAX_RECEIVERS {
        return Err(ConfigError::new("events", format!("expected at most {MAX_RECEIVERS} receivers")));
    }
    receivers
        .iter()
        .enumerate()
        .try_for_each(|(i, receiver)| receiver.validate(&|key| format!("events[{i}].{key}")))
}

/// The bytes that sign; `None`: it is no such key.
pub fn key_bytes(key: &Secret) -> Option<Vec<u8>> {
    let encoded = key.expose().trim().strip_prefix(KEY_PREFIX)?;
    BASE64_STANDARD.decode(encoded).ok().filter(|bytes| KEY_BYTES.contains(&bytes.len()))
}

/// A receiver's address. It is shown without its path and query: the addresses of chat services contain a token there.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiverUrl(Url);

impl ReceiverUrl {
    /// The whole address, to send to.
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for ReceiverUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_more = self.0.path() != "/" || self.0.query().is_some();
        let rest = if has_more { "***" } else { "" };
        write!(f, "{}/{rest}", self.0.origin().ascii_serialization())
    }
}

impl fmt::Debug for ReceiverUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for ReceiverUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A token may stand in it: what is wrong is said without it.
        let text = String::deserialize(deserializer)?;
        Url::parse(&text)
            .map(Self)
            .map_err(|error| D::Error::custom(format!("{error}; expected https://host/path")))
    }
}

impl Serialize for ReceiverUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn load(keys: &str) -> Result<Config, ConfigError> {
        let text = format!("[[events]]\n{keys}");
        let read = |path: &str| Ok(if path == "good" { KEY.to_owned() } else { path.to_owned() });
        Config::load(&Sources { text: Some(&text), variables: Vec::new(), read: &read })
    }

    #[test]
    fn a_receiver_has_an_address_and_a_key_and_gets_all_events_unless_some_are_named() {
        let config = load("url = 'https://hooks.example/x'\nkey_file = 'good'").unwrap();
        assert_eq!(config.events[0].on, EventKind::ALL);
        assert_eq!(key_bytes(config.events[0].key.as_ref().unwrap()).map(|bytes| bytes.len()), Some(24));
        let config =
            load("url = 'https://h.example'\nkey_file = 'good'\non = ['tag moved', 'upstream down']").unwrap();
        assert_eq!(config.events[0].on, [EventKind::TagMoved, EventKind::UpstreamDown]);
    }

    #[test]
    fn a_receiver_that_cannot_be_right_is_refused_at_its_key() {
        for (keys, place) in [
            ("key_file = 'good'", "events[0].url"),
            ("url = 'ftp://h.example'\nkey_file = 'good'", "events[0].url"),
            ("url = 'http://h.example'\nkey_file = 'good'", "events[0].url"),
            ("url = 'https://u:p@h.example'\nkey_file = 'good'", "events[0].url"),
            ("url = 'https://h.example'", "events[0].key_file"),
            ("url = 'https://h.example'\nkey_file = 'whsec_dG9vIHNob3J0'", "events[0].key_file"),
            ("url = 'https://h.example'\nkey_file = 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'", "events[0].key_file"),
            ("url = 'https://h.example'\nkey_file = 'good'\non = []", "events[0].on"),
            ("url = 'https://h.example'\nkey_file = 'good'\non = ['tag deleted']", "events[0].on[0]"),
        ] {
            assert_eq!(load(keys).unwrap_err().place, place, "{keys}");
        }
        assert!(load("url = 'http://127.0.0.1:1'\nkey_file = 'good'\ninsecure = true").is_ok());
    }

    #[test]
    fn neither_the_key_nor_what_follows_the_host_is_shown() {
        let config = load("url = 'https://hooks.example:8443/T0/B0/t0k3n?sig=s1g'\nkey_file = 'good'").unwrap();
        let shown = format!("{config:?}{}", config.to_toml());
        assert!(shown.contains("https://hooks.example:8443/***"), "{shown}");
        assert!(!["t0k3n", "s1g", "MfKQ9r8"].iter().any(|secret| shown.contains(secret)), "{shown}");
        let wrong = load("url = 'https://hooks.example:port/t0k3n'\nkey_file = 'good'").unwrap_err().to_string();
        assert!(wrong.starts_with("events[0].url: ") && !wrong.contains("t0k3n"), "{wrong}");
    }
}
