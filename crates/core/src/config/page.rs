//! `[page]`: the pages for people.

use serde::{Deserialize, Serialize};

use super::Auth;
#[cfg(feature = "schema")]
use super::order;

/// `[page]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct PageConfig {
    /// `true`: a browser that opens `/` gets a page with the lines for each client at this address; with
    /// a path secret, below it only. `false`: it gets what other clients get.
    pub public: bool,
    /// Address and port of its own for the administration page `/-/`, which then leaves the main address. Not set: the
    /// page is on the main address where its readers log in, and is off where they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// How readers of the administration page log in. `clients`: as clients do (`clients.auth`); with `open` nobody
    /// logs in, and whoever reaches `page.listen` may read. `users`: as the users in `clients.users_file`, even where
    /// clients need no login.
    pub auth: PageAuth,
    /// Who may purge, release and warm on the administration page: names of users; with `clients.auth = "upstream"`,
    /// registry and user: `ghcr.io/alice`. All others may read only.
    ///
    /// Default: nobody.
    pub admins: Vec<String>,
    /// `true`: `docker search` and `podman search` at this address are passed to Docker Hub, without a login
    /// (`/v1/search`; with a path secret, below it only). It needs Docker Hub among the upstreams.
    pub search: bool,
}

impl Default for PageConfig {
    fn default() -> Self {
        Self { public: true, listen: None, auth: PageAuth::default(), admins: Vec::new(), search: false }
    }
}

impl PageConfig {
    /// How readers log in, where clients do it by `clients`.
    pub fn login(&self, clients: Auth) -> Auth {
        match self.auth {
            PageAuth::Clients => clients,
            PageAuth::Users => Auth::Users,
        }
    }
}

/// How readers of the administration page log in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PageAuth {
    /// As clients do.
    #[default]
    Clients,
    /// As the users in `clients.users_file`.
    Users,
}
