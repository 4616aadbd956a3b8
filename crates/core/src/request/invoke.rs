//! Invocations that are begun for a client's request: for one blob, or for the blobs of a manifest.

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

use super::RequestContext;
use crate::cache::{Cache, Described};
use crate::digest::Digest;
use crate::ingest::{INVOKE_TIME, Job, can_be_sliced};
use crate::platform::{IngestMode, within};
use crate::upstream::Identity;

/// Most invocations for one manifest, and how many of them are begun at once.
const MAX_FOR_ONE: usize = 64;
const AT_ONCE: usize = 8;

/// Begins an invocation that brings a blob into the store. Returns whether one was begun lately. None is begun once all
/// clients together have used up what they may have.
pub(crate) async fn invoke(context: &RequestContext<'_>, digest: &Digest, total: u64) -> bool {
    let Some(invoker) = context.env.platform.invoker.as_deref() else { return false };
    let job = Job {
        upstream: context.upstream.name().to_owned(),
        repository: context.target.name.as_str().to_owned(),
        digest: digest.to_string(),
        total,
    };
    context.env.invocations.begin(invoker, &*context.env.platform.clock, &context.env.quotas, &job).await
}

/// A client that has a manifest will ask for its blobs: begins an invocation for each blob that no answer can carry.
pub(crate) async fn begin_for(context: &RequestContext<'_>, cache: &Cache, manifest: &[u8]) {
    let capabilities = &context.env.platform.capabilities;
    let store = cache.backend.capabilities();
    if capabilities.ingest != IngestMode::SelfInvoke
        || !(store.links && store.uploads)
        || !matches!(context.identity, Identity::Ours)
    {
        return;
    }
    let large = Described::of(manifest).blobs.into_iter().filter_map(|piece| {
        let size =
            piece.size.filter(|size| !capabilities.carries_well(Some(*size)) && cache.blobs.may_hold(*size))?;
        can_be_sliced(&piece.digest).then_some((piece.digest, size))
    });
    let work = large.take(MAX_FOR_ONE).map(|(digest, size)| -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if cache.blobs.blob_length(&digest).await.is_none() {
                invoke(context, &digest, size).await;
            }
        })
    });
    let work: Vec<_> = work.collect();
    let all = stream::iter(work).buffer_unordered(AT_ONCE).for_each(|()| std::future::ready(()));
    // The answer with the manifest waits no longer than this.
    let _ = within(&*context.env.platform.clock, INVOKE_TIME, all).await;
}
