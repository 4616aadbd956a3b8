//! Fetching a manifest into the cache, once however many clients ask for it.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use super::upstream::fetch;
use crate::accept::own_types;
use crate::cache::{Cache, Pointer, StoredManifest, TagGeneration};
use crate::name::Reference;
use crate::request::RequestContext;
use crate::shared_requests::Manifest;
use crate::upstream::Negative;

/// Fetches the manifest and caches it, with the tag that was asked for; once however many clients ask.
pub(super) async fn fetch_once(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    reference: &Reference,
    accept: &HeaderValue,
    tag: Option<&TagGeneration>,
) -> Result<Manifest, Negative> {
    let work = || async {
        let found = fetch(context, reference, accept).await?;
        if let Some(bytes) = &found.bytes
            && found.digest.matches(bytes) == Some(true)
            // What is blocked is not served, so nothing that it names belongs to the repository by it.
            && (context.env.blocks.is_empty() || context.env.blocks.content(&found.digest, Some(bytes)).is_none())
            // A copy: the cache has a memory bound of its own, and the original counts for the client that asked.
            && let Some(stored) = StoredManifest::new(found.digest.clone(), Bytes::copy_from_slice(bytes))
            && let Some(_room) = cache.backend.room_for_write().await
        {
            let confirmed = context.env.platform.clock.unix_seconds();
            let pointer = tag.map(|tag| (tag.clone(), Pointer::confirmed(found.digest.clone(), confirmed)));
            let stored = Arc::new(stored.in_tier(&context.env.in_flight));
            cache.metadata.keep_manifest(&context.provenance(), &stored, pointer);
        }
        Ok(found)
    };
    // Two tags of one digest are two requests: each is recorded with its manifest.
    let wanted = match tag {
        None => {
            // By tag, a registry may choose by what the client accepts.
            let types = match reference {
                Reference::Tag(_) => own_types(&context.head.headers).join(","),
                Reference::Digest(_) => String::new(),
            };
            format!("{} {} {types}", reference.as_str(), context.since).into()
        }
        Some(tag) => request_of_tag(context, tag),
    };
    let found = context.env.shared_requests.fetches.join(&(context.claim(), wanted), work).await?;
    context.admitted(cache);
    Ok(found)
}

/// The key of a request for a tag. A client that asks after the tag was removed from the cache does not share an
/// earlier request, nor does a client that accepts other types of manifests.
pub(super) fn request_of_tag(context: &RequestContext<'_>, tag: &TagGeneration) -> Box<str> {
    format!("{} {} {}", tag.key, tag.generation, own_types(&context.head.headers).join(",")).into()
}
