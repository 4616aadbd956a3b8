//! Blobs whose answer does not say how long they are, as it is chunked (RFC 9112 section 7.1): what is kept needs a
//! length beforehand, and something else may say it.

use std::time::Duration;

use super::length_of;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::platform::within;
use crate::request::RequestContext;

/// How long the answer to a client waits for what only the cache needs. A connection of `upstream.max_connections` may be
/// needed for it that the answer itself holds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The length in bytes: what a manifest of this repository says, or else what the registry says to a HEAD. `None`: nobody
/// says it in time.
pub(super) async fn length(context: &RequestContext<'_>, cache: &Cache, digest: &Digest) -> Option<u64> {
    if let Some(length) = cache.described_length(&context.provenance(), digest) {
        return Some(length);
    }
    let asked = within(&*context.env.platform.clock, PATIENCE, length_of(context, digest)).await;
    asked.ok()?.ok().flatten().filter(|length| *length > 0)
}
