//! What blocked manifests name. The cache keeps none of them, so it is learned where one passes by, or asked for once when a
//! client wants blobs of a repository in which somebody was refused one.

use std::time::Duration;

use bytes::Bytes;

use super::upstream::fetch;
use crate::cache::StoredManifest;
use crate::digest::Digest;
use crate::error::{Blocked, Error};
use crate::name::Reference;
use crate::platform::within;
use crate::request::RequestContext;
use crate::shared_requests::Manifest;
use crate::upstream::Negative;

/// How long a registry is asked for blocked manifests, all together, before a blob is served as if they were not there.
const ASK_TIME: Duration = Duration::from_secs(5);

/// A manifest is refused: its blobs are known from now on.
pub(super) fn learn(context: &RequestContext<'_>, manifest: &Manifest, blocked: &Blocked) {
    let Ok(digest) = Digest::parse(&blocked.what) else { return };
    match &manifest.bytes {
        Some(bytes) => learn_from(context, &digest, &manifest.digest, bytes),
        None => context.env.blocks.note_refused(context.upstream.name(), &context.target.name, &digest),
    }
}

/// Asks the registry for blocked manifests of this repository that clients were refused, to know which blobs they name.
pub(crate) async fn learn_refused(context: &RequestContext<'_>) -> Result<(), Error> {
    let (upstream, repository) = (context.upstream.name(), &context.target.name);
    if context.env.blocks.is_empty() || context.is_offline() {
        return Ok(());
    }
    let refused = context.env.blocks.refused_in(upstream, repository);
    if refused.is_empty() {
        return Ok(());
    }
    context.waiting.begin()?;
    let accept = context.env.manifest_types.accepted.accept_with(&context.head.headers);
    let asking = Box::pin(async {
        for digest in refused {
            let reference = Reference::Digest(digest.clone());
            match Box::pin(fetch(context, &reference, &accept)).await {
                Ok(Manifest { bytes: Some(bytes), digest: found, .. }) => {
                    learn_from(context, &digest, &found, &bytes);
                }
                // It is not in this repository.
                Ok(Manifest { bytes: None, .. }) | Err(Negative::Missing(_)) => {
                    context.env.blocks.forget_refused(upstream, repository, &digest);
                }
                // The next request tries again.
                Err(_) => {}
            }
        }
    });
    // Once the time is over, the next request goes on with those that are left.
    let _ = within(&*context.env.platform.clock, ASK_TIME, asking).await;
    Ok(())
}

fn learn_from(context: &RequestContext<'_>, blocked: &Digest, digest: &Digest, bytes: &Bytes) {
    if let Some(manifest) = StoredManifest::new(digest.clone(), bytes.clone()) {
        context.env.blocks.learn_manifest(blocked, manifest.children().blobs.into_iter().collect());
    }
}
