//! Why there is no manifest to serve.

use crate::error::NotStale;
use crate::upstream::Negative;

/// Why there is no manifest to serve.
pub(super) struct LookupError {
    pub(super) negative: Negative,
    pub(super) refused_by: RefusedBy,
    /// Why the cached manifest was not served instead.
    pub(super) not_stale: Option<NotStale>,
}

/// Which method the registry answered with a negative.
#[derive(Clone, Copy)]
pub(super) enum RefusedBy {
    /// HEAD, and no GET could follow. The client gets this answer; no grant is revoked for it.
    Head,
    /// GET.
    Get,
}

impl From<Negative> for LookupError {
    fn from(negative: Negative) -> Self {
        Self { negative, refused_by: RefusedBy::Get, not_stale: None }
    }
}
