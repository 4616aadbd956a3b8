//! `[delivery]`: how blobs go to clients where the platform does not carry them, or where a link is cheaper.

use serde::{Deserialize, Serialize};

use super::units::Span;

/// `[delivery]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryConfig {
    /// When clients are sent to the store by a signed link.
    pub links: Links,
    /// How long a link can be followed. A transfer that has begun goes on.
    pub link_life: Span,
    /// How long a client waits for a blob that is on its way into the store.
    pub hold: Span,
    /// What a client gets for a blob that the platform does not carry and that is not in the store in time.
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
pub enum Miss {
    /// The client is sent where the upstream itself would send it.
    #[default]
    Redirect,
    /// The client is to come again: for networks that do not reach the upstream's storage.
    Refuse,
}
