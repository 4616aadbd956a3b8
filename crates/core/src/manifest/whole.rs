//! Whether all of an image is here: looked for in what its manifests name, each of which is looked at once, however many
//! name it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, StoredManifest};
use crate::digest::Digest;
use crate::platform::within;
use crate::request::RequestContext;

/// Digests that are looked for, at most: some more than any image has for one platform.
const MAX_LOOKED_FOR: usize = 2000;
/// How long it may take; then it counts as not here.
const PATIENCE: Duration = Duration::from_secs(2);

/// What has been looked for.
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

/// What this client could not pull of the image from here: one of its blobs; of an index, what is missing of the first of its
/// platforms that is here at all, unless another one is whole.
pub(super) async fn missing(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    manifest: &StoredManifest,
) -> Option<Digest> {
    let found = within(&*context.env.platform.clock, PATIENCE, find(context, cache, manifest)).await;
    found.unwrap_or_else(|_| Some(manifest.digest.clone()))
}

async fn find(context: &RequestContext<'_>, cache: &Arc<Cache>, manifest: &StoredManifest) -> Option<Digest> {
    let mut looked = Looked::default();
    let (mut of_a_platform, mut platform) = (None, None);
    let mut next: Vec<Digest> = Vec::new();
    let mut children = manifest.children();
    loop {
        match first_missing(context, cache, &children.blobs, &mut looked).await {
            // One manifest is enough, at each depth: the first that is whole makes all whole that lead to it.
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
            match cache.manifest(&digest).await {
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
                let is_here = cache.blob_length(blob).await.is_some() && context.may_have(cache, blob).await;
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
