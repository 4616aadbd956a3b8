//! `[page]`: the page for people.

use serde::{Deserialize, Serialize};

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
}

impl Default for PageConfig {
    fn default() -> Self {
        Self { public: true }
    }
}
