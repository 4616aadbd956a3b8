//! Blobs with a cache: from the store, or fetched into it once for all clients that want them, whole
//! ([`fetched`](super::fetched)) or range by range ([`ranged`](super::ranged)).

use std::sync::Arc;

use super::length::{ask_length, confirm};
use super::request::{ARRIVING, Admission, BlobRequest};
use super::upstream::{begin_asking, blob_unknown};
use super::{hit, unshared};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::Error;
use crate::evidence::MayServe;
use crate::fill::Phase;
use crate::outcome::{Action, Outcome, Reason};
use crate::range::RangeSpec;
use crate::request::{HandlerResponse, RequestContext};

/// The length of a blob, in bytes.
pub(super) async fn length(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<(Option<u64>, Outcome), Error> {
    let may_have = context.may_have(cache, digest).await;
    // A client that may push may ask whether it must send this one: only the registry itself knows.
    if may_have && (!context.may_push() || context.is_offline()) {
        if let Some(length) = cache.blobs.right_length(digest).await {
            return Ok((Some(length), hit::HIT));
        }
        if let Some(spool) =
            context.env.fills.find(digest, context.upstream.name(), context.env.platform.clock.now())
        {
            return Ok((Some(spool.total()), ARRIVING));
        }
    }
    begin_asking(context, cache, digest)?;
    match ask_length(context, cache, digest).await {
        Ok(length) => Ok((length, Outcome::new(Action::Relayed, Reason::AbsentHead))),
        Err(negative) if may_have && negative.allows_stale() => match cache.blobs.right_length(digest).await {
            Some(length) => Ok((Some(length), hit::HIT)),
            None => Err(negative.into_error(blob_unknown)),
        },
        Err(negative) => Err(negative.into_error(blob_unknown)),
    }
}

/// All of a blob.
pub(super) async fn whole(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<HandlerResponse, Error> {
    if !context.env.platform.capabilities.shares_io {
        return unshared::whole(context, cache, digest).await;
    }
    let wanted = BlobRequest::new(context, cache, digest, None);
    let mut hit = hit::HIT;
    let may_serve = context.may_serve(cache, digest).await;
    let mut is_admitted = may_serve == MayServe::Yes;
    // The stored blob is of no use where the upstream has to give the bytes first.
    let is_usable = may_serve != MayServe::AfterBody;
    if !is_admitted
        && (is_usable && cache.blobs.blob_length(digest).await.is_some() || wanted.arriving().is_some())
    {
        // This client may perhaps not have the cached bytes: the upstream decides.
        confirm(context, cache, digest).await?;
        is_admitted = true;
        hit = hit::CONFIRMED;
    }
    let is_arriving = || wanted.arriving().is_some_and(|spool| spool.phase() == Phase::Running);
    // A blob that is being fetched is not stored: no need to look.
    if is_admitted
        && is_usable
        && !is_arriving()
        && let Some(found) = cache.blobs.blob(digest, None).await
    {
        return Ok(hit::whole(context, digest, found, hit));
    }
    wanted.fetch_whole(Admission { is_admitted, is_usable }, hit).await
}

/// A range of a blob.
pub(super) async fn range(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spec: RangeSpec,
) -> Result<HandlerResponse, Error> {
    if !context.env.platform.capabilities.shares_io {
        return unshared::range(context, cache, digest, spec).await;
    }
    let wanted = BlobRequest::new(context, cache, digest, Some(spec));
    let stored = cache.blobs.blob_length(digest).await;
    let arriving = wanted.arriving();
    let is_here = stored.is_some() || arriving.is_some();
    let hit = if is_here { hit::admit(context, cache, digest).await? } else { None };
    if let (None, true) = (hit, arriving.is_some()) {
        confirm(context, cache, digest).await?;
    }
    if let (Some(total), Some(hit)) = (stored, hit)
        && let Some(part) = hit::part(context, cache, digest, spec, total, hit).await?
    {
        return Ok(part);
    }
    match spec {
        // From the first byte on: so begin clients that fetch in parallel (P-106).
        RangeSpec::From(0) => {
            let may_serve = context.may_serve(cache, digest).await;
            let is_admitted = hit.is_some() || arriving.is_some() || may_serve == MayServe::Yes;
            let admission = Admission { is_admitted, is_usable: may_serve != MayServe::AfterBody };
            wanted.fetch_whole(admission, hit.unwrap_or(hit::HIT)).await
        }
        RangeSpec::From(_) | RangeSpec::Between(..) | RangeSpec::Last(_) => wanted.fetch_range(spec).await,
    }
}
