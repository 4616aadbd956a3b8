//! Serving a stored blob, or a part of it: who may have it, and the answer.

use std::sync::Arc;

use super::length::confirm;
use super::response::{answer, describe};
use super::window::ServedRange;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::Error;
use crate::evidence::MayServe;
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::{Found, Part};
use crate::range::RangeSpec;
use crate::request::{HandlerResponse, RequestContext};

/// The blob is stored, and this client may have it.
pub(super) const HIT: Outcome = Outcome::new(Action::Hit, Reason::Digest);
/// The same, after the upstream has confirmed it.
pub(super) const CONFIRMED: Outcome = Outcome::new(Action::Revalidated, Reason::AccessConfirmed);
/// The store had no room for the blob.
pub(super) const BYPASSED: Outcome = Outcome::new(Action::Relayed, Reason::NoRoom);

/// Whether this client may have the stored blob: at once, or after the upstream has confirmed it. `None`: the upstream has
/// to give the bytes first.
pub(super) async fn admit(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<Option<Outcome>, Error> {
    match context.may_serve(cache, digest).await {
        MayServe::Yes => Ok(Some(HIT)),
        MayServe::AfterClaim => {
            confirm(context, cache, digest).await?;
            Ok(Some(CONFIRMED))
        }
        MayServe::AfterBody => Ok(None),
    }
}

/// Answers with a small blob that is in memory, or with the part of it that `spec` names. `None`: it is not there, or the
/// upstream is to be asked first.
pub(super) async fn from_memory(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spec: Option<RangeSpec>,
) -> Result<Option<HandlerResponse>, Error> {
    let Some(blob) = cache.blobs.in_memory(digest) else { return Ok(None) };
    if context.may_serve(cache, digest).await != MayServe::Yes {
        return Ok(None);
    }
    let total = blob.stat.length;
    let window = match spec {
        None => ServedRange::whole(total),
        Some(spec) => ServedRange::part(spec.within(total).ok_or(Error::RangeNotSatisfiable { total })?),
    };
    let body = blob.body(window.range.map(|range| Part { first: range.first, end: range.end }));
    Ok(Some(describe(context, &blob.named, &window, body, HIT)))
}

/// Answers with a stored blob of `total` bytes, or with the part of it that `spec` names. `None`: this client may not have
/// it yet, or it is gone.
pub(super) async fn serve(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    total: u64,
    spec: Option<RangeSpec>,
) -> Result<Option<HandlerResponse>, Error> {
    let Some(outcome) = admit(context, cache, digest).await? else { return Ok(None) };
    match spec {
        None => Ok(cache.blobs.blob(digest, None).await.map(|found| whole(context, digest, found, outcome))),
        Some(spec) => part(context, cache, digest, spec, total, outcome).await,
    }
}

/// Answers with all of a stored blob.
pub(super) fn whole(
    context: &RequestContext<'_>,
    digest: &Digest,
    found: Found,
    outcome: Outcome,
) -> HandlerResponse {
    answer(context, digest, &ServedRange::whole(found.stat.length), found.body, outcome)
}

/// Answers with a part of a stored blob of `total` bytes; `None`: the blob is gone, or was replaced.
pub(super) async fn part(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spec: RangeSpec,
    total: u64,
    outcome: Outcome,
) -> Result<Option<HandlerResponse>, Error> {
    let Some(range) = spec.within(total) else {
        return match cache.blobs.right_length(digest).await {
            Some(total) => Err(Error::RangeNotSatisfiable { total }),
            None => Ok(None),
        };
    };
    let part = Part { first: range.first, end: range.end };
    let found = cache.blobs.blob(digest, Some(part)).await;
    Ok(found.map(|found| answer(context, digest, &ServedRange::part(range), found.body, outcome)))
}
