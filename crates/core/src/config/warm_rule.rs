//! `[[warm]]`: images that the server fetches by itself, again and again.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
#[cfg(feature = "schema")]
use super::order;
use super::units::Span;
use crate::image_platform::{ALL_PLATFORMS, ImagePlatform};

/// How often images may be fetched.
const EVERY: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(24 * 366);
/// Most images of a rule.
const MAX_IMAGES: usize = 1000;
/// Longest name of an image, in bytes.
const MAX_IMAGE_BYTES: usize = 1024;
/// Most tags that a pattern means.
const MAX_NEWEST: u32 = 100;

/// `[[warm]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct WarmRule {
    /// Images as in a pull: `docker.io/library/alpine:3.20`. A tag with `*` (`alpine:3.*`) means the newest tags of the
    /// registry's list that fit.
    pub images: Vec<String>,
    /// How often they are fetched: when the server starts, and then each time so long after the last one began.
    pub every: Span,
    /// Platforms of each image, such as `linux/amd64`; `all` for every platform.
    ///
    /// Default: Linux on the server's architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// How many tags a pattern means: those with the highest version numbers.
    #[serde(default = "usual_newest")]
    pub newest: u32,
    /// `true`: these images are never evicted, of a pattern the newest that are cached.
    #[serde(default)]
    pub keep: bool,
}

fn usual_newest() -> u32 {
    3
}

fn refuse(place: String, what: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::new(place, what))
}

/// Refuses rules that mean nothing.
pub(super) fn check(rules: &[WarmRule]) -> Result<(), ConfigError> {
    for (i, rule) in rules.iter().enumerate() {
        let at = |key: &str| format!("warm[{i}].{key}");
        if rule.images.is_empty() || rule.images.len() > MAX_IMAGES {
            return refuse(at("images"), format!("expected 1 to {MAX_IMAGES} images"));
        }
        for (j, image) in rule.images.iter().enumerate() {
            let is_name = !image.is_empty() && image.len() <= MAX_IMAGE_BYTES;
            if !is_name || !image.bytes().all(|byte| byte.is_ascii_graphic()) {
                return refuse(
                    at(&format!("images[{j}]")),
                    "expected an image such as docker.io/library/alpine:3.20",
                );
            }
        }
        if !EVERY.contains(&rule.every.0) {
            return refuse(at("every"), "expected 1m to 366d");
        }
        if !(1..=MAX_NEWEST).contains(&rule.newest) {
            return refuse(at("newest"), format!("expected 1 to {MAX_NEWEST}"));
        }
        for (j, platform) in rule.platforms.iter().enumerate().filter(|(_, platform)| *platform != ALL_PLATFORMS) {
            if let Err(what) = ImagePlatform::parse(platform) {
                return refuse(at(&format!("platforms[{j}]")), what);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_means_nothing_is_refused_with_its_place() {
        let rule = || WarmRule {
            images: vec!["alpine:3.*".to_owned()],
            every: Span::seconds(3600),
            platforms: vec!["linux/arm64".to_owned(), "all".to_owned()],
            newest: 3,
            keep: false,
        };
        assert_eq!(check(&[rule()]).map_err(|error| error.place), Ok(()));
        for (rule, place) in [
            (WarmRule { images: vec![], ..rule() }, "warm[0].images"),
            (WarmRule { images: vec!["a b".to_owned()], ..rule() }, "warm[0].images[0]"),
            (WarmRule { every: Span::seconds(59), ..rule() }, "warm[0].every"),
            (WarmRule { newest: 0, ..rule() }, "warm[0].newest"),
            (WarmRule { newest: 101, ..rule() }, "warm[0].newest"),
            (WarmRule { platforms: vec!["linux".to_owned()], ..rule() }, "warm[0].platforms[0]"),
        ] {
            assert_eq!(check(&[rule]).map_err(|error| error.place), Err(place.to_owned()));
        }
    }
}
