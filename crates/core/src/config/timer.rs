//! `[timer]`: what a function does when a timer of its platform calls it.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
#[cfg(feature = "schema")]
use super::order;
use super::units::Span;
use crate::secret::Secret;

/// How long a warming may take. Lambda ends after 15 minutes, a request to Cloud Run after an hour.
const LIMIT: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(1);
/// Fewest characters of the token.
const TOKEN_CHARACTERS: usize = 24;

/// `[timer]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct TimerConfig {
    /// File with the token that a timer sends where it calls by HTTP, as `payload` of a JSON object: at least 24 random
    /// characters. Without a token such calls are refused. AWS Lambda and Workers need none: nobody else can send them events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// The token itself, for platforms without secret files. A file is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// How long the images of `[[warm]]` are fetched at most when a timer calls, from 10s to 1h; less than the function may
    /// take. On AWS Lambda the invocation's own deadline counts as well. What does not fit is left to the next call.
    pub limit: Span,
}

impl Default for TimerConfig {
    fn default() -> Self {
        Self { token_file: None, token: None, limit: Span::seconds(600) }
    }
}

/// Refuses what cannot be meant.
pub(super) fn check(timer: &TimerConfig) -> Result<(), ConfigError> {
    if !LIMIT.contains(&timer.limit.0) {
        return Err(ConfigError::new("timer.limit", "expected 10s to 1h"));
    }
    if timer.token.as_ref().is_some_and(|token| token.expose().chars().count() < TOKEN_CHARACTERS) {
        let key = if timer.token_file.is_some() { "timer.token_file" } else { "timer.token" };
        return Err(ConfigError::new(key, format!("expected at least {TOKEN_CHARACTERS} random characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_can_be_guessed_and_a_limit_that_no_platform_has_are_refused() {
        let of = |token: Option<&str>, seconds| TimerConfig {
            token: token.map(Secret::new),
            limit: Span::seconds(seconds),
            ..TimerConfig::default()
        };
        let long = "x".repeat(24);
        for (timer, expected) in [
            (TimerConfig::default(), None),
            (of(Some(&long), 10), None),
            (of(None, 3600), None),
            (of(Some(&long[1..]), 600), Some("timer.token")),
            (of(None, 9), Some("timer.limit")),
            (of(None, 3601), Some("timer.limit")),
        ] {
            let place = check(&timer).map_err(|error| error.place);
            assert_eq!(place, expected.map_or(Ok(()), |place| Err(place.to_owned())));
        }
    }
}
