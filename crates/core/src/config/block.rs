//! `[[block]]`: what the proxy never serves.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
#[cfg(feature = "schema")]
use super::order;
use crate::digest::Digest;

/// Longest reason: it goes into an answer.
const MAX_REASON_CHARS: usize = 200;

/// `[[block]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
#[cfg_attr(feature = "schema", schemars(extend("oneOf" = [{ "required": ["digest"] }, { "required": ["match"] }])))]
pub struct BlockRule {
    /// The digest of a manifest or a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[a-z0-9]+([+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+$")))]
    pub digest: Option<String>,
    /// Pattern such as `docker.io/evil/**` for whole repositories, or `docker.io/evil/app:v1` for tags; `*` within a segment,
    /// `**` across segments.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[!-~]+$")))]
    pub pattern: Option<String>,
    /// What clients are told.
    pub reason: String,
}

fn refuse(place: String, what: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::new(place, what))
}

/// Refuses rules that mean nothing, or not one thing.
pub(super) fn check(rules: &[BlockRule]) -> Result<(), ConfigError> {
    for (i, rule) in rules.iter().enumerate() {
        let at = |key: &str| format!("block[{i}].{key}");
        match (&rule.digest, &rule.pattern) {
            (Some(digest), None) if Digest::parse(digest).is_err() => {
                return refuse(at("digest"), "expected sha256: and 64 lower-case hex digits");
            }
            (None, Some(pattern)) if pattern.is_empty() => {
                return refuse(at("match"), "expected a pattern such as docker.io/evil/**");
            }
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) | (Some(_), Some(_)) => {
                return refuse(format!("block[{i}]"), "expected either digest or match");
            }
        }
        let length = rule.reason.chars().count();
        if length == 0 || length > MAX_REASON_CHARS || rule.reason.chars().any(char::is_control) {
            return refuse(at("reason"), format!("expected a sentence of 1 to {MAX_REASON_CHARS} characters"));
        }
    }
    Ok(())
}
