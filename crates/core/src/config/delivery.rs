//! `[delivery]`: how blobs go to clients where the platform does not carry them, or where a link is cheaper.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::order;
use super::units::Span;

/// `[delivery]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct DeliveryConfig {
    /// When clients are redirected to the store by a signed link: `auto`: if the blob is too large for the platform's
    /// responses; `always`: whenever the store has the blob; `never`.
    pub links: Links,
    /// How long a link to the store, or a rewritten redirect, is valid; a transfer that has begun continues.
    pub link_life: Span,
    /// How long a client waits while a blob that is too large for the platform's responses is fetched into the store;
    /// at most `timeouts.head` minus five seconds.
    pub hold: Span,
    /// What a client gets if the blob is not in the store by then: `redirect`: a redirect to the upstream's own
    /// storage; `refuse`: "try again", for clients whose network does not reach that storage.
    pub miss: Miss,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            links: Links::Auto,
            link_life: Span::seconds(15 * 60),
            hold: Span::seconds(20),
            miss: Miss::Redirect,
        }
    }
}

/// When clients are sent to the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Links {
    /// Where the platform does not carry the blob.
    #[default]
    Auto,
    /// Whenever it is there.
    Always,
    /// Never.
    Never,
}

/// What becomes of a blob that the platform does not carry and that is not in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Miss {
    /// The client is sent where the upstream itself would send it.
    #[default]
    Redirect,
    /// The client is to come again: for networks that do not reach the upstream's storage.
    Refuse,
}
