//! `[clients]`: who may use the proxy, and how clients log in.

use serde::{Deserialize, Serialize};

use super::units::Span;
use crate::secret::Secret;

/// `[clients]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientsConfig {
    /// How clients log in.
    pub auth: Auth,
    /// How long a token of ours allows reading; it allows writing for `expires_in` (P-42).
    pub read_token_life: Span,
    /// Password file for `auth = "users"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users_file: Option<String>,
    /// File with a path segment that every request must carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_secret_file: Option<String>,
    /// That path segment itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_secret: Option<Secret>,
}

impl Default for ClientsConfig {
    fn default() -> Self {
        Self {
            auth: Auth::default(),
            read_token_life: Span::seconds(3600),
            users_file: None,
            path_secret_file: None,
            path_secret: None,
        }
    }
}

/// How clients log in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Anybody, without a login.
    #[default]
    Open,
    /// Users of our own password file.
    Users,
    /// Each client's own login, checked by the upstream.
    Upstream,
}
