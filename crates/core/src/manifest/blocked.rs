//! Blobs of blocked manifests: they leave only if a manifest of their repository that is not blocked names them, too. Base
//! layers belong to many images.
//!
//! What a blocked manifest names is known if the cache has it or if it passed by. If neither happened, and no manifest that may
//! be served names the blob, the registry is asked for the blocked manifests: a client may have one from elsewhere. Whoever pulls
//! an image here has pulled its manifest before, and so asks for nothing more. What is fetched while it is blocked is not kept.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::upstream::{error_of, fetch};
use crate::cache::{Cache, StoredManifest};
use crate::digest::Digest;
use crate::error::{Blocked, Error, Failure};
use crate::evidence::ClientScope;
use crate::name::Reference;
use crate::platform::within;
use crate::request::RequestContext;
use crate::shared_requests::Manifest;
use crate::upstream::Negative;

/// How long the cache is looked through for a manifest that names the blob. After that the blob counts as named by none.
const LOOKUP_TIME: Duration = Duration::from_secs(2);

/// How long a registry is asked for blocked manifests, all together.
const ASK_TIME: Duration = Duration::from_secs(5);

/// Blocked manifests that one request asks for at once.
const AT_ONCE: usize = 8;

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

/// A manifest is refused: its blobs are known from now on.
pub(super) fn learn(context: &RequestContext<'_>, manifest: &Manifest, blocked: &Blocked) {
    if let (Ok(digest), Some(bytes)) = (Digest::parse(&blocked.what), &manifest.bytes) {
        learn_from(context, &digest, &manifest.digest, bytes);
    }
}

/// Asks the registry for the blocked manifests of which nobody has seen what they name, as far as they are in this repository.
/// Whoever gets an error does not know it yet; the next request goes on with those that are left.
async fn learn_blocked(context: &RequestContext<'_>, scope: &ClientScope) -> Result<(), Error> {
    let clock = &*context.env.platform.clock;
    let unseen = context.env.blocks.unseen_in(scope, clock.now());
    if unseen.is_empty() {
        return Ok(());
    }
    context.waiting.begin()?;
    let accept = context.env.manifest_types.accepted.accept_with(&context.head.headers);
    let ask = |digest: Digest| {
        let accept = &accept;
        async move {
            let reference = Reference::Digest(digest.clone());
            match Box::pin(fetch(context, &reference, accept)).await {
                Ok(Manifest { bytes: Some(bytes), digest: found, .. }) => {
                    learn_from(context, &digest, &found, &bytes);
                    Ok(())
                }
                // Some registries refuse to say that there is none (P-22). Who may not have the manifest gets no blob of it either.
                Ok(Manifest { bytes: None, .. })
                | Err(Negative::Missing(_) | Negative::Refused(_) | Negative::Declined(..)) => {
                    context.env.blocks.learn_absence(scope, &digest, clock.now());
                    Ok(())
                }
                Err(no @ (Negative::Limited { .. } | Negative::Unsatisfiable { .. } | Negative::Failed(_))) => {
                    Err(error_of(no, &reference))
                }
            }
        }
    };
    let asking = async {
        let mut answers = stream::iter(unseen).map(ask).buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    };
    within(clock, ASK_TIME, Box::pin(asking)).await.unwrap_or(Err(Error::Upstream(Failure::TimedOut)))
}

fn learn_from(context: &RequestContext<'_>, blocked: &Digest, digest: &Digest, bytes: &Bytes) {
    if let Some(manifest) = StoredManifest::new(digest.clone(), bytes.clone()) {
        context.env.blocks.learn_manifest(blocked, manifest.children().blobs.into_iter().collect());
    }
}
