//! What is wanted of a warming: a value, for a command line, a socket or whatever else. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::WarmRule;
use crate::image_platform::{ALL_PLATFORMS, ImagePlatform};

/// Most images of one list.
pub const MAX_IMAGES: usize = 4096;
/// Longest name of an image, in bytes.
pub const MAX_IMAGE_BYTES: usize = 1024;
/// Most images that are fetched at once.
pub const MAX_JOBS: usize = 16;
/// Longest wait for a registry that limits us: a day.
pub const MAX_WAIT_SECONDS: u64 = 86_400;
/// Most tags that one pattern means.
pub const MAX_NEWEST: usize = 100;
/// How long a rule waits for a registry that limits us: nobody waits for the rule.
const RULE_WAIT_SECONDS: u64 = 300;
/// Most platforms that are wanted.
const MAX_PLATFORMS: usize = 64;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmRequest {
    /// Images, as people write them: `alpine:3.20`, `ghcr.io/owner/image@sha256:…`; with `*` in the tag, `alpine:3.*`, the
    /// newest tags of the registry's list that fit.
    pub images: Vec<String>,
    /// `linux/amd64`, `linux/arm/v7`; empty: every platform.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// Whether signatures, attestations and SBOMs are fetched, too.
    #[serde(default)]
    pub referrers: bool,
    /// Images that are fetched at once.
    #[serde(default = "one")]
    pub jobs: usize,
    /// How long each part may wait for a registry that limits the rate of requests, in seconds.
    #[serde(default)]
    pub wait_seconds: u64,
    /// How many tags a pattern means.
    #[serde(default = "usual_newest")]
    pub newest: usize,
}

/// How many tags a pattern means, where nobody says it.
pub const USUAL_NEWEST: usize = 3;

fn usual_newest() -> usize {
    USUAL_NEWEST
}

fn one() -> usize {
    1
}

impl WarmRequest {
    /// What a rule of the configuration wants; one without platforms is for `own_platform`.
    pub(crate) fn of_rule(rule: &WarmRule, own_platform: &str) -> Self {
        let platforms = match rule.platforms.as_slice() {
            [] => vec![own_platform.to_owned()],
            named if named.iter().any(|platform| platform == ALL_PLATFORMS) => Vec::new(),
            named => named.to_vec(),
        };
        Self {
            images: rule.images.clone(),
            platforms,
            referrers: false,
            jobs: 1,
            wait_seconds: RULE_WAIT_SECONDS,
            newest: usize::try_from(rule.newest).unwrap_or(USUAL_NEWEST),
        }
    }

    /// Whether it can be carried out at all; otherwise why not.
    pub fn check(&self) -> Result<(), String> {
        if self.images.is_empty() {
            return Err("no image is named".to_owned());
        }
        within("images", self.images.len(), MAX_IMAGES)?;
        within("platforms", self.platforms.len(), MAX_PLATFORMS)?;
        within("jobs", self.jobs, MAX_JOBS)?;
        within("tags of a pattern", self.newest, MAX_NEWEST)?;
        within("seconds to wait", self.wait_seconds, MAX_WAIT_SECONDS)?;
        if self.jobs == 0 || self.newest == 0 {
            return Err("0 jobs or tags; at least 1 is needed".to_owned());
        }
        if let Some(image) = self.images.iter().find(|image| !may_be_a_name(image)) {
            let shown: String = image.chars().filter(|c| !c.is_control()).take(60).collect();
            return Err(format!(
                "{shown:?} is no image's name; expected one such as docker.io/library/alpine:3.20"
            ));
        }
        self.wanted_platforms().map(drop)
    }

    pub(crate) fn wanted_platforms(&self) -> Result<Vec<ImagePlatform>, String> {
        self.platforms.iter().map(|text| ImagePlatform::parse(text)).collect()
    }
}

fn within<T: fmt::Display + PartialOrd + Copy>(what: &str, count: T, most: T) -> Result<(), String> {
    if count > most { Err(format!("{count} {what}; at most {most} are allowed")) } else { Ok(()) }
}

/// Whether the text can be looked up. Whether a registry of ours has it is another question.
fn may_be_a_name(image: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'?' | b'#');
    !image.is_empty() && image.len() <= MAX_IMAGE_BYTES && image.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(images: &[&str]) -> WarmRequest {
        WarmRequest {
            images: images.iter().map(|&image| image.to_owned()).collect(),
            platforms: Vec::new(),
            referrers: false,
            jobs: 1,
            wait_seconds: 0,
            newest: USUAL_NEWEST,
        }
    }

    #[test]
    fn a_request_outside_its_bounds_is_refused_with_the_bound() {
        let long = "x".repeat(MAX_IMAGE_BYTES + 1);
        let many = vec!["alpine"; MAX_IMAGES + 1];
        for (request, part) in [
            (of(&[]), "no image"),
            (of(&[""]), "is no image's name"),
            (of(&["alpine 3"]), "is no image's name"),
            (of(&["alpine\n3"]), "is no image's name"),
            (of(&["alpine?ns=evil"]), "is no image's name"),
            (of(&[&long]), "is no image's name"),
            (of(&many), "at most 4096"),
            (WarmRequest { jobs: 17, ..of(&["alpine"]) }, "17 jobs; at most 16"),
            (WarmRequest { jobs: 0, ..of(&["alpine"]) }, "at least 1"),
            (WarmRequest { newest: 101, ..of(&["alpine"]) }, "101 tags of a pattern; at most 100"),
            (WarmRequest { wait_seconds: 86_401, ..of(&["alpine"]) }, "at most 86400"),
            (WarmRequest { platforms: vec!["linux".to_owned()], ..of(&["alpine"]) }, "\"linux\" is no platform"),
        ] {
            let said = request.check().expect_err(part);
            assert!(said.contains(part), "{said}");
        }
        for image in ["alpine", "ghcr.io/o/i:1", "localhost:5000/a", "a@sha256:00", "https://p.example/a"] {
            assert_eq!(of(&[image]).check(), Ok(()), "{image}");
        }
    }

    #[test]
    fn a_list_alone_is_a_request() {
        let request: WarmRequest = serde_json::from_str(r#"{"images":["alpine"]}"#).unwrap();
        assert_eq!(request, of(&["alpine"]));
    }
}
