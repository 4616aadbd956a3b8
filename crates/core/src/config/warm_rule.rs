//! `[[warm]]`: images that the server fetches by itself, again and again.
//!
//! What a cron expression means, and whether a time zone is known, is for the platform (`platform::Timetable`): here is
//! checked what needs neither.

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
/// Longest cron expression, and longest name of a time zone, in bytes.
const MAX_TIME_BYTES: usize = 200;
/// The fields of a cron expression.
const CRON_FIELDS: usize = 5;
/// Those that name days: of the month, and of the week.
const DAY_FIELDS: [usize; 2] = [2, 4];
/// Longest name of an image, in bytes.
const MAX_IMAGE_BYTES: usize = 1024;
/// Most tags that a pattern means.
const MAX_NEWEST: u32 = 100;

/// `[[warm]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
#[cfg_attr(feature = "schema", schemars(extend("oneOf" = [{ "required": ["every"] }, { "required": ["at"] }])))]
pub struct WarmRule {
    /// Images as in a pull: `docker.io/library/alpine:3.20`. A tag with `*` (`alpine:3.*`) means the newest tags of the
    /// registry's list that fit.
    pub images: Vec<String>,
    /// How often they are fetched: when the server starts, and then each time so long after the last one began. A rule has
    /// either this or `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// When they are fetched, as cron writes it: `0 7 * * 1-5` is 07:00 from Monday to Friday (minute, hour, day of the month,
    /// month, day of the week). A time that comes while the server is stopped is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The time zone of `at`: `Asia/Shanghai`, as the machine's time zone database (`/usr/share/zoneinfo`, or `TZDIR`) names it,
    /// or `+08:00`, which needs no database.
    ///
    /// Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
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
        check_time(rule).map_err(|(key, what)| ConfigError::new(at(key), what))?;
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

/// Refuses a rule that says twice or never when it is due; the key, and why.
fn check_time(rule: &WarmRule) -> Result<(), (&'static str, String)> {
    match (&rule.every, &rule.at, &rule.time_zone) {
        (None, None, _) => Err(("every", "expected every, or at".to_owned())),
        (Some(_), Some(_), _) => Err(("at", "a rule has every or at, not both".to_owned())),
        (Some(_), None, Some(_)) => Err(("time_zone", "it belongs to at, which this rule has not".to_owned())),
        (Some(every), None, None) if !EVERY.contains(&every.0) => Err(("every", "expected 1m to 366d".to_owned())),
        (Some(_), None, None) => Ok(()),
        (None, Some(cron), zone) => {
            check_cron(cron).map_err(|what| ("at", what))?;
            let is_zone = |zone: &str| {
                let is_fit =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'+' | b'-' | b':');
                !zone.is_empty()
                    && zone.len() <= MAX_TIME_BYTES
                    && zone.bytes().all(is_fit)
                    && !zone.starts_with('/')
            };
            match zone {
                Some(zone) if !is_zone(zone) => {
                    Err(("time_zone", "expected a time zone such as Asia/Shanghai, or +08:00".to_owned()))
                }
                Some(_) | None => Ok(()),
            }
        }
    }
}

fn check_cron(cron: &str) -> Result<(), String> {
    let fields: Vec<&str> = cron.split(' ').collect();
    let is_text = cron.len() <= MAX_TIME_BYTES && cron.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !is_text || fields.len() != CRON_FIELDS || fields.iter().any(|field| field.is_empty()) {
        return Err("expected five fields with one space between them, such as 0 7 * * 1-5".to_owned());
    }
    // The crate that reads the expression never finds the last day of December (cronexpr 1.7: `L`, `5L`).
    let names_last = |field: &&str| field.split(',').any(|item| item.ends_with(['l', 'L']));
    if DAY_FIELDS.iter().filter_map(|at| fields.get(*at)).any(names_last) {
        return Err("L, the last day, is not supported; name the day".to_owned());
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
            every: Some(Span::seconds(3600)),
            at: None,
            time_zone: None,
            platforms: vec!["linux/arm64".to_owned(), "all".to_owned()],
            newest: 3,
            keep: false,
        };
        assert_eq!(check(&[rule()]).map_err(|error| error.place), Ok(()));
        for (rule, place) in [
            (WarmRule { images: vec![], ..rule() }, "warm[0].images"),
            (WarmRule { images: vec!["a b".to_owned()], ..rule() }, "warm[0].images[0]"),
            (WarmRule { every: Some(Span::seconds(59)), ..rule() }, "warm[0].every"),
            (WarmRule { newest: 0, ..rule() }, "warm[0].newest"),
            (WarmRule { newest: 101, ..rule() }, "warm[0].newest"),
            (WarmRule { platforms: vec!["linux".to_owned()], ..rule() }, "warm[0].platforms[0]"),
        ] {
            assert_eq!(check(&[rule]).map_err(|error| error.place), Err(place.to_owned()));
        }
    }

    #[test]
    fn a_rule_says_once_when_it_is_due() {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let hour = Some(Span::seconds(3600));
        for (every, at, time_zone, wrong) in [
            (hour, "", "", None),
            (None, "0 7 * * 1-5", "", None),
            (None, "*/15 0-6,22 1,15 JAN-MAR,JUL mon,WED", "America/Argentina/Buenos_Aires", None),
            (None, "0 7 * * 1-5", "+08:00", None),
            (None, "0 7 * * 1-5", "Etc/GMT-8", None),
            (None, "", "", Some("warm[0].every")),
            (None, "", "UTC", Some("warm[0].every")),
            (hour, "0 7 * * 1-5", "", Some("warm[0].at")),
            (hour, "", "UTC", Some("warm[0].time_zone")),
            (None, "0 7 * *", "", Some("warm[0].at")),
            (None, "0 7 * * 1-5 UTC", "", Some("warm[0].at")),
            (None, "0  7 * * 1-5", "", Some("warm[0].at")),
            (None, "@daily", "", Some("warm[0].at")),
            (None, "0 7 L * *", "", Some("warm[0].at")),
            (None, "0 7 1,L * *", "", Some("warm[0].at")),
            (None, "0 7 * * 5L", "", Some("warm[0].at")),
            (None, "0 7 * * 1-5", "../../etc/passwd", Some("warm[0].time_zone")),
            (None, "0 7 * * 1-5", "/etc/localtime", Some("warm[0].time_zone")),
            (None, "0 7 * * 1-5", "Asia/Shanghai\0", Some("warm[0].time_zone")),
        ] {
            let rule = WarmRule {
                images: vec!["alpine:3.20".to_owned()],
                every,
                at: some(at),
                time_zone: some(time_zone),
                platforms: Vec::new(),
                newest: 3,
                keep: false,
            };
            let place = check(&[rule]).map_err(|error| error.place);
            assert_eq!(place, wrong.map_or(Ok(()), |place| Err(place.to_owned())), "{at} {time_zone}");
        }
    }
}
