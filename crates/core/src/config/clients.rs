//! `[clients]`: who may use the proxy, and how clients log in.

use serde::{Deserialize, Serialize};

use super::Groups;
use super::issuer::IssuerConfig;
#[cfg(feature = "schema")]
use super::order;
use super::units::Span;
use crate::secret::Secret;

/// `[clients]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct ClientsConfig {
    /// Who may use the proxy. `open`: anybody. `users`: the users in `users_file`, and whom an `issuer` vouches for. `upstream`: each
    /// client logs in with its own account at the upstream, which checks the login.
    pub auth: Auth,
    // P-42
    /// How long the proxy's tokens are valid for reading, from 5m to 24h. Clients are told 300 s and should renew by
    /// then, but some never do within a pull. For writing a token is valid for 300 s. It becomes invalid at once when
    /// its user is removed or gets another password.
    pub read_token_life: Span,
    /// File with lines of `name:bcrypt-hash`, as `htpasswd -B` writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users_file: Option<String>,
    /// File with groups of users, for `[[access]]`: lines of `group: user user`, as Apache's `AuthGroupFile` has them; with
    /// `auth = "upstream"` a user is `ghcr.io/alice`. Read again at SIGHUP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups_file: Option<String>,
    /// What is in it.
    #[serde(skip)]
    pub groups: Groups,
    /// File with a lower-case path segment that every request for content must contain: `/v2/<secret>/<name>` or
    /// `/<secret>/v2/<name>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_secret_file: Option<String>,
    /// The segment itself, for platforms without secret files. A file is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_secret: Option<Secret>,
    /// With `auth = "users"`: OIDC issuers, such as GitHub Actions, GitLab or a Kubernetes cluster, whose tokens let clients in, as Bearer
    /// or as the password of any user name. Several may have the same `url`: the first one that lets a token in counts. Needs a build
    /// with the feature `issuers`, as the packages are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuer: Vec<IssuerConfig>,
}

impl Default for ClientsConfig {
    fn default() -> Self {
        Self {
            auth: Auth::default(),
            read_token_life: Span::seconds(3600),
            users_file: None,
            groups_file: None,
            groups: Groups::default(),
            path_secret_file: None,
            path_secret: None,
            issuer: Vec::new(),
        }
    }
}

/// How clients log in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Auth {
    /// Anybody, without a login.
    #[default]
    Open,
    /// Users of our own password file.
    Users,
    /// Each client's own login, checked by the upstream.
    Upstream,
}
