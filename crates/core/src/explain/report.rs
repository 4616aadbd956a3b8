//! What is said of an image: the shape of it, in JSON too.

use serde::Serialize;

use crate::config::{Auth, Redirects};

/// Everything that can be said of an image.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// As it was asked.
    pub image: String,
    /// What a pull would do now.
    pub pull: Pull,
    /// Which repository of which registry it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteReport>,
    /// Where that registry is, and as whom it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamReport>,
    /// What clients may.
    pub clients: ClientPolicy,
    /// Where its tag points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<TagState>,
    /// Its manifest and all that belongs to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<PartReport>,
}

/// What a pull would do now.
#[derive(Debug, Serialize)]
pub struct Pull {
    /// `hit`, `revalidate`, `fill`, `relay` or `refuse`.
    pub does: &'static str,
    /// Why.
    pub why: String,
    /// What would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// The way to a repository.
#[derive(Debug, Serialize)]
pub struct RouteReport {
    /// The upstream's name.
    pub upstream: String,
    /// The repository's name there.
    pub repository: String,
    /// Tag or digest.
    pub reference: String,
    /// By which rule the upstream was found.
    pub by: &'static str,
}

/// Where and as whom an upstream is asked.
#[derive(Debug, Serialize)]
pub struct UpstreamReport {
    /// Its addresses, in order.
    pub addresses: Vec<String>,
    /// Our accounts for this repository; none: as nobody.
    pub accounts: Vec<AccountReport>,
    /// What becomes of its redirects of blobs.
    pub redirects: Redirects,
}

/// An account of ours.
#[derive(Debug, Serialize)]
pub struct AccountReport {
    /// Its name; absent where only asking would tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The key that names it.
    pub from: String,
}

/// What clients may.
#[derive(Debug, Serialize)]
pub struct ClientPolicy {
    /// How they are told apart.
    pub auth: Auth,
    /// Whether the repository is let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_permitted: Option<bool>,
    /// Only these, where any are named.
    pub allow: Vec<String>,
    /// Not these.
    pub deny: Vec<String>,
    /// Whether pushes pass.
    pub push: bool,
}

/// Where a tag points, as far as is known here.
#[derive(Debug, Serialize)]
pub struct TagState {
    /// The rule for it: a pattern of `cache.tags`, or `cache.tag_ttl`.
    pub rule: String,
    /// What the rule says: a time, `always`, `never`.
    pub revalidate: String,
    /// The manifest it points to; absent: nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How long ago the upstream said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_seconds_ago: Option<u64>,
    /// How long it is still served without asking; 0: it is due. Absent where nothing is known, or by `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh_seconds: Option<u64>,
    /// How long it may still be served while the upstream cannot answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_seconds: Option<u64>,
    /// Whether it would be: all of an image that it needs is here, too.
    pub would_be_stale: bool,
    /// Why it would not be, where its manifest is here: what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_stale: Option<String>,
}

/// A manifest, a configuration or a layer.
#[derive(Debug, Serialize)]
pub struct PartReport {
    /// Its digest.
    pub digest: String,
    /// Its length in bytes, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// `linux/arm64`, if its index says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Whether it is here.
    pub state: PartState,
    /// The manifests that it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<PartReport>,
    /// The blobs that it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<PartReport>,
    /// How many more it names: they are shown elsewhere in the tree, or it would have no end.
    #[serde(skip_serializing_if = "is_default")]
    pub unshown: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whether something is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// It is served without asking.
    Here,
    /// It is here, and the upstream is asked whether this client may have it from this repository.
    HereUnproven,
    /// It is being fetched.
    Arriving,
    /// It is not.
    Absent,
}
