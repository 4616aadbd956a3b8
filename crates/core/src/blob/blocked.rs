//! Blobs of blocked manifests: they leave only if a manifest of their repository that is not blocked names them, too. Base
//! layers belong to many images.
//!
//! What a blocked manifest names is known if the cache has it or if it passed by. If neither happened, and no manifest that may
//! be served names the blob, the registry is asked for the blocked manifests: a client may have one from elsewhere. Whoever pulls
//! an image here has pulled its manifest before, and so asks for nothing more. What is fetched while it is blocked is not kept.

use std::time::Duration;

use crate::cache::{Cache, StoredManifest};
use crate::digest::Digest;
use crate::error::{Blocked, Error};
use crate::manifest::learn_blocked;
use crate::platform::within;
use crate::request::RequestContext;

/// How long the cache is looked through for a manifest that names the blob. After that the blob counts as named by none.
const LOOKUP_TIME: Duration = Duration::from_secs(2);

/// Refuses a blob if all manifests that name it in this repository are blocked.
pub(super) async fn refuse_blocked_part(context: &RequestContext<'_>, digest: &Digest) -> Result<(), Error> {
    let Some(cache) = context.cache() else { return Ok(()) };
    let blocks = &context.env.blocks;
    if blocks.digests().len() == 0 {
        return Ok(());
    }
    let now = context.env.platform.clock.now();
    let parts = match blocks.parts(now) {
        Some(parts) => parts,
        None => blocks.learn_parts(now, parts_of(context, cache).await),
    };
    if let Some(blocked) = parts.get(digest).and_then(|manifest| blocks.digest(manifest)) {
        return if is_named(context, cache, digest).await { Ok(()) } else { Err(Error::Blocked(blocked)) };
    }
    let scope = context.claim();
    if blocks.may_leave(&scope, digest, now) || blocks.unseen_in(&scope, now).is_empty() {
        return Ok(());
    }
    if !is_named(context, cache, digest).await {
        if context.is_offline() {
            return Err(Error::Blocked(unknown_part(digest)));
        }
        learn_blocked(context, &scope).await?;
        let parts = blocks.parts(now).unwrap_or_default();
        if let Some(blocked) = parts.get(digest).and_then(|manifest| blocks.digest(manifest)) {
            return Err(Error::Blocked(blocked));
        }
    }
    blocks.let_leave(&scope, digest, now);
    Ok(())
}

/// Why a blob stays here that may belong to a blocked manifest, while no registry may be asked.
fn unknown_part(digest: &Digest) -> Blocked {
    let reason = "no image that is cached and may be served names it, and cache.offline asks no registry whether a blocked one \
                  does; pull the image again";
    Blocked { what: digest.as_str().into(), reason: reason.into() }
}

/// What blocked manifests name that the cache has.
async fn parts_of(context: &RequestContext<'_>, cache: &Cache) -> Vec<(Digest, Vec<Digest>)> {
    let mut parts = Vec::new();
    for blocked in context.env.blocks.digests() {
        if let Some(manifest) = cache.metadata.manifest(blocked).await {
            parts.push((blocked.clone(), manifest.children().blobs.into_iter().collect()));
        }
    }
    parts
}

/// Whether a manifest of this repository that is not blocked names the blob.
async fn is_named(context: &RequestContext<'_>, cache: &Cache, blob: &Digest) -> bool {
    let names = |manifest: &StoredManifest| {
        context.env.blocks.digest(&manifest.digest).is_none() && manifest.children().blobs.contains(blob)
    };
    let (upstream, repository) = (context.upstream.name(), &context.target.name);
    let look = async { !cache.manifests_of(upstream, repository, 1, names).await.is_empty() };
    within(&*context.env.platform.clock, LOOKUP_TIME, look).await == Ok(true)
}
