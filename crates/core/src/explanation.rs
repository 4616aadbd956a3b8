//! The report on an image, also as JSON.

use serde::Serialize;

use crate::config::{Auth, Redirects};

/// The report on an image.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The image as it was asked for.
    pub image: String,
    /// What a pull would do now.
    pub pull: Pull,
    /// Which repository of which registry it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteReport>,
    /// The addresses of that registry, and the account it is asked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamReport>,
    /// What clients are allowed to do.
    pub clients: ClientPolicy,
    /// Where its tag points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<TagState>,
    /// What its policy wants, if there is one for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyReport>,
    /// Its manifest and all that belongs to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<PartReport>,
}

/// What a pull would do now.
#[derive(Debug, Serialize)]
pub struct Pull {
    /// `hit`, `held`, `revalidate`, `fill`, `relay` or `refuse`.
    pub does: &'static str,
    /// Why.
    pub why: String,
    /// Advice.
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
    /// The rule that chose the upstream.
    pub by: &'static str,
}

/// How an upstream is asked.
#[derive(Debug, Serialize)]
pub struct UpstreamReport {
    /// Its addresses, in order.
    pub addresses: Vec<String>,
    /// Our accounts for this repository; none: anonymously.
    pub accounts: Vec<AccountReport>,
    /// What becomes of its redirects of blobs.
    pub redirects: Redirects,
}

/// An account of ours.
#[derive(Debug, Serialize)]
pub struct AccountReport {
    /// Its name; absent where only a request would tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The configuration key that names it.
    pub from: String,
}

/// What clients are allowed to do.
#[derive(Debug, Serialize)]
pub struct ClientPolicy {
    /// How they are told apart.
    pub auth: Auth,
    /// Whether the rules permit the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_permitted: Option<bool>,
    /// Only these repositories, if there are any.
    pub allow: Vec<String>,
    /// Not these repositories.
    pub deny: Vec<String>,
    /// Whether pushes pass.
    pub push: bool,
}

/// Where a tag points, as far as the cache knows.
#[derive(Debug, Serialize)]
pub struct TagState {
    /// The rule for it: a pattern of `cache.tags`, or `cache.tag_ttl`.
    pub rule: String,
    /// What the rule says: a time, `always`, `never`.
    pub revalidate: String,
    /// The manifest it points to; absent: nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Seconds since the upstream confirmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_seconds_ago: Option<u64>,
    /// Seconds that it is still served without asking; 0: it is due. Absent if nothing is known, or by `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh_seconds: Option<u64>,
    /// Seconds that it may still be served while the upstream cannot answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_seconds: Option<u64>,
    /// Whether it would be served then: all of the image is cached, too.
    pub would_be_stale: bool,
    /// Why it would not be, although its manifest is cached: what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_stale: Option<String>,
    /// What its rule holds, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldReport>,
}

/// What the policy for an image wants, and what is known of that.
#[derive(Debug, Serialize)]
pub struct PolicyReport {
    /// The repositories that the policy is for.
    pub pattern: String,
    /// `warn` or `enforce`.
    pub mode: &'static str,
    /// Whose signature, and the consent of which service.
    pub wanted: String,
    /// What was found of the signature, where one is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What the service said, where one is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// What is known of a held tag.
#[derive(Debug, Serialize)]
pub struct HoldReport {
    /// `current`, `held`, `pinned`, `new` (not served yet), `unknown` (never seen) or `unreadable`.
    pub state: &'static str,
    /// How long a digest must have stood, in seconds.
    pub hold_seconds: u64,
    /// What clients get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
    /// Where the upstream pointed when it was last asked, if that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Seconds since the upstream moved the tag away from what clients get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_seconds_ago: Option<u64>,
    /// Seconds until clients get what the upstream has, if it stays there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_seconds_more: Option<u64>,
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
    /// Whether it is cached.
    pub state: PartState,
    /// The manifests that it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<PartReport>,
    /// The blobs that it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<PartReport>,
    /// How many more it names that are not shown: they are elsewhere in the tree, or the tree is too large.
    #[serde(skip_serializing_if = "is_default")]
    pub unshown: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whether something is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// It is served without asking.
    Here,
    /// It is cached, and the upstream is asked whether this client may have it from this repository.
    HereUnproven,
    /// It is being fetched.
    Arriving,
    /// It is not cached.
    Absent,
}
