//! `[cache]`: where content is kept, how much of it, and for how long it counts as fresh.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

#[cfg(feature = "schema")]
use super::order;
use super::tag_rule::{HoldRule, Revalidate, TagRule};
use super::units::{Bytes, Span};
use crate::name::is_attachment;

/// `[cache]`; one field for each key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct CacheConfig {
    /// Where content is cached: `file:///directory`, `memory:`,
    /// `s3://bucket/prefix?region=…&endpoint=…&public_endpoint=…`, or `oss`, `cos`, `obs`, `gcs`, `azblob`, with
    /// credentials from the environment variables of each cloud; or `none`: everything is relayed, nothing is cached.
    /// `auto` is `$CACHE_DIRECTORY`, `$XDG_CACHE_HOME/registry-proxy` or `~/.cache/registry-proxy`, for root
    /// `/var/cache/registry-proxy`; if none of them can be written, `none`.
    pub store: StoreAddress,
    /// Directory for uploads to a bucket; `None`: where a cache of this machine would be.
    #[serde(skip)]
    pub scratch: Option<Box<str>>,
    /// Size of the cache, small records included; the least recently used content is evicted first. During eviction it
    /// may be exceeded by 5 % or 64MiB, whichever is more.
    ///
    /// Default: 20GiB; 512MiB for `memory:`; 256MiB on a serverless platform, unless the store is a bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Bytes>,
    /// Space that is left free on the disk, whatever `max_size` says.
    ///
    /// Default: 1GiB; 64MiB on a serverless platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_free: Option<Bytes>,
    /// Evicts content that nobody has used for this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unused: Option<Span>,
    /// Memory for manifests, tags, which repository contains which digest, and verified blobs of at most 64KiB, such as the
    /// configurations of images; larger blobs are never held in memory.
    pub memory: Bytes,
    /// How long a tag is served before the proxy asks the upstream whether it still points to the same manifest.
    pub tag_ttl: Span,
    /// Rules for some tags, the first match wins: `{ match = "docker.io/library/*:latest", revalidate = "5m" }`;
    /// `always` revalidates on each request, `never` treats the tag as immutable. `hold = "3d"` keeps a tag that moved at
    /// its old manifest until the new one has stood for so long; beside it `hold_new` (`serve`, or `refuse` for tags never
    /// seen), `hold_max` (30d: tags that move all the time go on after so long), `hold_digests` (true: also by digest).
    pub tags: Vec<TagRule>,
    /// How long after its last confirmation a tag is served while its upstream is down or answers 429; 0s: not at all.
    pub stale_if_error: Span,
    /// How long "not found" is remembered; at most 60s.
    pub negative_ttl: Span,
    /// How long lists of tags and of referrers are served before the upstream is asked again.
    pub listing_ttl: Span,
    /// `true`: serves cached content only, however old, and contacts no upstream.
    pub offline: bool,
    /// How blobs are fetched into the cache.
    pub fill: Fill,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            store: StoreAddress::Auto,
            scratch: None,
            max_size: None,
            min_free: None,
            max_unused: None,
            memory: Bytes(32 << 20),
            tag_ttl: Span::seconds(60),
            tags: Vec::new(),
            stale_if_error: Span::seconds(7 * 86_400),
            negative_ttl: Span::seconds(10),
            listing_ttl: Span::seconds(30),
            offline: false,
            fill: Fill::default(),
        }
    }
}

/// Default size of a cache.
pub(super) const USUAL_SIZE: Bytes = Bytes(20 << 30);
/// Default free space of its disk.
pub(super) const USUAL_RESERVE: Bytes = Bytes(1 << 30);

impl CacheConfig {
    /// Most bytes of the cache.
    pub fn max_size(&self) -> Bytes {
        self.max_size.unwrap_or(USUAL_SIZE)
    }

    /// Bytes of the disk that stay free.
    pub fn min_free(&self) -> Bytes {
        self.min_free.unwrap_or(USUAL_RESERVE)
    }

    /// What holds for a tag: the first rule that matches, or `tag_ttl`.
    pub fn rule_for(&self, upstream: &str, repository: &str, tag: &str) -> Revalidate {
        self.revalidate_by(self.named_rule_for(upstream, repository, tag))
    }

    /// When a tag with this rule is asked about.
    pub fn revalidate_by(&self, rule: Option<&TagRule>) -> Revalidate {
        rule.and_then(|rule| rule.revalidate).unwrap_or(Revalidate::After(self.tag_ttl))
    }

    /// How new digests of a tag are held, by the first rule that matches it.
    pub fn hold_for(&self, upstream: &str, repository: &str, tag: &str) -> Option<HoldRule> {
        Self::hold_by(self.named_rule_for(upstream, repository, tag), tag)
    }

    /// How new digests of a tag with this rule are held. What belongs to another manifest by its name, such as a signature, is
    /// as old as that.
    pub fn hold_by(rule: Option<&TagRule>, tag: &str) -> Option<HoldRule> {
        rule?.hold_rule().filter(|_| !is_attachment(tag))
    }

    /// The first rule that holds tags, by its number.
    pub fn first_hold(&self) -> Option<usize> {
        self.tags.iter().position(|rule| rule.hold_rule().is_some())
    }

    /// Whether any rule holds digests, too.
    pub fn holds_digests(&self) -> bool {
        self.tags.iter().any(|rule| rule.hold_rule().is_some_and(|hold| hold.digests))
    }

    /// The first rule that matches a tag.
    pub fn named_rule_for(&self, upstream: &str, repository: &str, tag: &str) -> Option<&TagRule> {
        let pieces = [upstream, "/", repository, ":", tag];
        self.tags.iter().find(|rule| crate::pattern::matches_joined(&rule.pattern, &pieces))
    }
}

/// `[cache.fill]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct Fill {
    /// Ranges of one blob fetched at once if one connection is slow; 1: never more than one.
    pub parts: u32,
    /// Length of each range, from a quarter to twice as much, so that all end together; a blob shorter than two of them is
    /// fetched whole.
    pub part_size: Bytes,
    /// Ranges fetched at once from one upstream, for all blobs together.
    pub parts_per_upstream: u32,
    /// How long a request waits for bytes that another request, in this or another process, is fetching.
    pub wait: Span,
}

impl Default for Fill {
    fn default() -> Self {
        Self { parts: 8, part_size: Bytes(4 << 20), parts_per_upstream: 32, wait: Span::seconds(15) }
    }
}

/// `cache.store`: where content is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoreAddress {
    /// The platform chooses.
    #[default]
    Auto,
    /// No store: everything is relayed.
    None,
    /// In memory, until the process ends.
    Memory,
    /// In a directory.
    File(Box<str>),
    /// In an object store.
    Objects(Box<Url>),
}

/// Schemes of object stores.
pub const OBJECT_STORES: [&str; 6] = ["s3", "oss", "cos", "obs", "gcs", "azblob"];

/// The text is no address of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected none, memory:, file:///directory, or s3://bucket/prefix (also oss, cos, obs, gcs, azblob)")]
pub struct InvalidStore;

impl FromStr for StoreAddress {
    type Err = InvalidStore;

    fn from_str(text: &str) -> Result<Self, InvalidStore> {
        match text {
            "auto" => return Ok(Self::Auto),
            "none" => return Ok(Self::None),
            "memory" | "memory:" => return Ok(Self::Memory),
            _ => {}
        }
        if let Some(path) = text.strip_prefix("file://") {
            return (path.starts_with('/')).then(|| Self::File(path.into())).ok_or(InvalidStore);
        }
        let url = Url::parse(text).map_err(|_| InvalidStore)?;
        let is_known = OBJECT_STORES.contains(&url.scheme());
        let has_bucket = url.host_str().is_some_and(|bucket| !bucket.is_empty());
        let is_secret = url.password().is_some() || !url.username().is_empty();
        (is_known && has_bucket && !is_secret).then(|| Self::Objects(Box::new(url))).ok_or(InvalidStore)
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Memory => f.write_str("memory:"),
            Self::File(path) => write!(f, "file://{path}"),
            Self::Objects(url) => url.fmt(f),
        }
    }
}

impl Serialize for StoreAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StoreAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_stores_are_read_and_shown_alike() {
        for text in
            ["auto", "none", "memory:", "file:///var/cache/x", "s3://bucket/some/prefix?region=eu-1", "oss://b"]
        {
            assert_eq!(text.parse::<StoreAddress>().unwrap().to_string(), text);
        }
        for text in
            ["", "disk", "file://relative", "file:relative", "s3://", "ftp://x/y", "s3://key:secret@bucket/x"]
        {
            assert_eq!(text.parse::<StoreAddress>(), Err(InvalidStore), "{text}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_a_tag_wins() {
        let rule = |pattern: &str, revalidate| TagRule::new(pattern, revalidate);
        let cache = CacheConfig {
            tags: vec![
                rule("docker.io/library/*:latest", Revalidate::Always),
                rule("docker.io/**", Revalidate::Never),
            ],
            ..CacheConfig::default()
        };
        assert_eq!(cache.rule_for("docker.io", "library/alpine", "latest"), Revalidate::Always);
        assert_eq!(cache.rule_for("docker.io", "library/alpine", "3.20"), Revalidate::Never);
        assert_eq!(cache.rule_for("ghcr.io", "a/b", "latest"), Revalidate::After(Span::seconds(60)));
    }
}
