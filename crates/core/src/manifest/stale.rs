//! Whether a stale tag may be served: only while `stale_if_error` allows it and all of the image is cached. Each manifest and
//! blob of an image is looked up once, however many manifests name it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, Pointer, StoredManifest};
use crate::digest::Digest;
use crate::error::NotStale;
use crate::platform::within;
use crate::request::RequestContext;

/// Most digests to look up: more than any image has for one platform.
const MAX_LOOKED_FOR: usize = 2000;
/// How long the lookup may take; after that the image counts as incomplete.
const LOOKUP_TIME: Duration = Duration::from_secs(2);

/// What has been looked up so far.
#[derive(Default)]
struct Looked {
    blobs: HashMap<Digest, bool>,
    manifests: HashSet<Digest>,
}

impl Looked {
    fn is_over(&self) -> bool {
        self.blobs.len() + self.manifests.len() >= MAX_LOOKED_FOR
    }
}

/// Whether a tag may be served although its upstream has not confirmed it; if not, why.
pub(crate) async fn may_be_stale(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    pointer: &Pointer,
    cached: &StoredManifest,
) -> Result<(), NotStale> {
    let (limit, now) = (cache.config().stale_if_error.0.as_secs(), context.env.platform.clock.unix_seconds());
    if !pointer.may_be_stale(limit, now) {
        return Err(NotStale::TooOld);
    }
    // A served manifest promises its blobs: without them a client is better off elsewhere (P-91).
    match missing(context, cache, cached).await {
        Some(digest) => Err(NotStale::Incomplete(digest)),
        None => Ok(()),
    }
}

/// A digest of the image that this client cannot pull from the cache. Of an index without a complete platform, what its
/// first cached platform lacks.
async fn missing(context: &RequestContext<'_>, cache: &Arc<Cache>, manifest: &StoredManifest) -> Option<Digest> {
    let found = within(&*context.env.platform.clock, LOOKUP_TIME, find(context, cache, manifest)).await;
    found.unwrap_or_else(|_| Some(manifest.digest.clone()))
}

async fn find(context: &RequestContext<'_>, cache: &Arc<Cache>, manifest: &StoredManifest) -> Option<Digest> {
    let mut looked = Looked::default();
    let (mut of_a_platform, mut platform) = (None, None);
    let mut next: Vec<Digest> = Vec::new();
    let mut children = manifest.children();
    loop {
        match first_missing(context, cache, &children.blobs, &mut looked).await {
            // One complete manifest is enough at each depth: it makes every index complete that leads to it.
            None if children.manifests.is_empty() => return None,
            None => {
                let named = children.manifests.into_iter().rev();
                next.extend(named.filter(|digest| looked.manifests.insert(digest.clone())));
            }
            Some(blob) => of_a_platform = of_a_platform.or(Some(blob)),
        }
        children = loop {
            let Some(digest) = next.pop() else { return of_a_platform.or(platform) };
            if looked.is_over() {
                return of_a_platform.or(platform).or(Some(digest));
            }
            match cache.metadata.manifest(&digest).await {
                Some(child) if context.may_have(cache, &digest).await => break child.children(),
                Some(_) | None => platform = platform.or(Some(digest)),
            }
        };
    }
}

async fn first_missing(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    blobs: &[Digest],
    looked: &mut Looked,
) -> Option<Digest> {
    for blob in blobs {
        let is_here = match looked.blobs.get(blob) {
            Some(is_here) => *is_here,
            None if looked.is_over() => false,
            None => {
                let is_here = cache.blobs.blob_length(blob).await.is_some() && context.may_have(cache, blob).await;
                looked.blobs.insert(blob.clone(), is_here);
                is_here
            }
        };
        if !is_here {
            return Some(blob.clone());
        }
    }
    None
}
