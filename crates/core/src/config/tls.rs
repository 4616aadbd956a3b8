//! `[tls]`: HTTPS without a server in front.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::order;
use super::units::Span;

/// `[tls]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct Tls {
    /// Certificate chain (PEM), to serve HTTPS and HTTP/2 without a server in front. Read again at SIGHUP, and when it
    /// has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<String>,
    /// Its private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// How often certificate and key files, the proxy's and those for upstreams, are checked: a file whose inode,
    /// length or modification time has changed is read again, without a signal; 0s: never. If the new files cannot be
    /// used, for example while the key of a new certificate is not written yet, the old ones stay in force.
    pub watch_interval: Span,
}

impl Default for Tls {
    fn default() -> Self {
        Self { cert_file: None, key_file: None, watch_interval: Span::seconds(30) }
    }
}
