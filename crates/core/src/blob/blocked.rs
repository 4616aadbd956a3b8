//! Blobs of blocked manifests: they leave only if a manifest of their repository that is not blocked names them, too. Base
//! layers belong to many images.
//!
//! What a blocked manifest names is known if the cache has it, if it passed by, or if a client was refused it in this
//! repository. What is fetched while it is blocked is not kept.

use std::collections::HashMap;
use std::time::Duration;

use crate::cache::{Cache, StoredManifest};
use crate::digest::Digest;
use crate::error::Blocked;
use crate::platform::within;
use crate::request::RequestContext;

/// How long the cache is looked through for a manifest that names the blob. After that the blob counts as blocked.
const LOOKUP_TIME: Duration = Duration::from_secs(2);

/// Why a blob is not served: of the manifests that name it in this repository all are blocked.
pub(super) async fn blocked_part(context: &RequestContext<'_>, digest: &Digest) -> Option<Blocked> {
    let cache = context.cache()?;
    let blocks = &context.env.blocks;
    let now = context.env.platform.clock.now();
    let parts = match blocks.parts(now) {
        Some(parts) => parts,
        None => blocks.learn_parts(now, parts_of(context, cache).await),
    };
    let blocked = blocks.digest(parts.get(digest)?)?;
    let named = within(&*context.env.platform.clock, LOOKUP_TIME, is_named(context, cache, digest)).await;
    (!matches!(named, Ok(true))).then_some(blocked)
}

/// What blocked manifests name that the cache has.
async fn parts_of(context: &RequestContext<'_>, cache: &Cache) -> HashMap<Digest, Digest> {
    let mut parts = HashMap::new();
    for blocked in context.env.blocks.digests() {
        if let Some(manifest) = cache.metadata.manifest(blocked).await {
            parts.extend(manifest.children().blobs.into_iter().map(|blob| (blob, blocked.clone())));
        }
    }
    parts
}

/// Whether a manifest of this repository that is not blocked names the blob.
async fn is_named(context: &RequestContext<'_>, cache: &Cache, blob: &Digest) -> bool {
    let names = |manifest: &StoredManifest| {
        context.env.blocks.digest(&manifest.digest).is_none() && manifest.children().blobs.contains(blob)
    };
    !cache.manifests_of(context.upstream.name(), &context.target.name, 1, names).await.is_empty()
}
