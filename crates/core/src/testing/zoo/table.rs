//! The table as it is written. Whatever it does not know is an error: a misspelt key would be an expectation that nobody
//! holds.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The table, as it is checked in.
const TEXT: &str = include_str!("registries.toml");

/// Registries, routes and expectations.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What the words of an expectation become where a registry keeps things elsewhere.
    pub(super) placement: BTreeMap<Placement, BTreeMap<String, String>>,
    #[serde(rename = "route")]
    pub(super) routes: Vec<RouteCase>,
    #[serde(rename = "registry")]
    pub(super) registries: Vec<Row>,
}

/// Where a registry keeps what is asked of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Placement {
    /// It gives everything itself.
    #[default]
    Own,
    /// Blobs are behind redirects, on a host that signs its addresses for GET.
    Cdn,
    /// Everything is behind redirects, at another registry.
    Elsewhere,
}

/// How a registry wants to know who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LoginScheme {
    /// Not at all.
    Open,
    /// With tokens, which it also gives to nobody in particular.
    Bearer,
    /// With user name and password, and nothing without.
    Basic,
}

/// One route of the product.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteCase {
    pub(super) name: String,
    /// Whether pushes pass, which the configuration must allow.
    #[serde(default)]
    pub(super) push: bool,
    /// Whether the registry is asked about each tag each time (`cache.tag_ttl`).
    #[serde(default)]
    pub(super) always_confirmed: bool,
    /// What was asked before; what the registry is asked for that is not looked at.
    #[serde(default)]
    pub(super) before: Vec<String>,
    /// What is asked.
    pub(super) request: String,
    /// With nothing kept.
    pub(super) none: Option<String>,
    /// With a cache.
    pub(super) kept: Option<String>,
    /// With a cache, where clients have logins of their own; `kept` where it is left out.
    pub(super) by_login: Option<String>,
    /// What the registry is asked where it wants a login that nobody has; left out where it is not asked at all.
    pub(super) refused: Option<String>,
}

/// One registry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) login: LoginScheme,
    #[serde(default)]
    pub(super) placement: Placement,
    /// Tags besides `v1` that give the image.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    #[serde(rename = "behaviour")]
    pub(super) behaviours: Vec<Behaviour>,
    /// What is expected otherwise than of any registry, by the name of the route.
    #[serde(default)]
    pub(super) expect: BTreeMap<String, Cells>,
}

/// What is expected of one registry on one route.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cells {
    pub(super) none: Option<String>,
    pub(super) kept: Option<String>,
    pub(super) by_login: Option<String>,
}

/// What a registry is reported to do. Without `request` it is shown by `login` and `placement`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Behaviour {
    /// In words, after the registry's name.
    pub(super) says: String,
    /// Who reports it.
    pub(super) sources: Vec<String>,
    /// Which requests it is about, as `HEAD blob`; `*` is any method, or anything.
    #[serde(default)]
    pub(super) request: Vec<String>,
    #[serde(default)]
    pub(super) when: When,
    /// Headers of the request that it does not look at.
    #[serde(default)]
    pub(super) ignores: Vec<String>,
    pub(super) status: Option<u16>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Headers that it leaves out.
    #[serde(default)]
    pub(super) without: Vec<String>,
    /// What is missing from a header, by its name.
    #[serde(default)]
    pub(super) cuts: BTreeMap<String, String>,
    pub(super) body: Option<String>,
    /// Whether it says no length.
    #[serde(default)]
    pub(super) chunked: bool,
}

/// To which requests of a kind a behaviour applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum When {
    /// All of them.
    #[default]
    Always,
    /// Until this was given to a GET.
    UntilGiven,
    /// Those without a login.
    WithoutLogin,
    /// Those of a repository that is not there.
    OfUnknownRepository,
    /// The first page of a list.
    OfFirstPage,
    /// Any other page of a list.
    OfLaterPages,
}

impl Table {
    /// The table, as it is checked in.
    ///
    /// # Panics
    ///
    /// Where it cannot be read.
    pub fn checked_in() -> Self {
        Self::read(TEXT).unwrap_or_else(|error| panic!("registries.toml: {error}"))
    }

    /// Reads a table.
    pub fn read(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The text of the table, for those who change it.
    pub fn text() -> &'static str {
        TEXT
    }

    /// With this registry alone.
    #[must_use]
    pub fn only(mut self, registry: &str) -> Self {
        self.registries.retain(|row| row.name == registry);
        self
    }

    /// How many registries there are.
    pub fn registries(&self) -> usize {
        self.registries.len()
    }

    /// How many routes there are.
    pub fn routes(&self) -> usize {
        self.routes.len()
    }
}
