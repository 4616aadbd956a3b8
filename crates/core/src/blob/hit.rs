//! What serving a blob from the cache takes, whoever fetches it there: who may have it, a part of it, and whether there is
//! any use in asking the upstream.

use std::sync::Arc;

use http::Response;

use super::{ServedRange, answer, blob_unknown, length_of};
use crate::body::Body;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Absence, Error};
use crate::evidence::MayServe;
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::{Found, Part};
use crate::range::RangeSpec;
use crate::request::{HandlerResponse, RequestContext};
use crate::upstream::{Ask, Negative};

/// It is here, and this client may have it.
pub(super) const HIT: Outcome = Outcome::new(Action::Hit, Reason::Digest);
/// The same after the upstream has said so.
pub(super) const CONFIRMED: Outcome = Outcome::new(Action::Revalidated, Reason::AccessConfirmed);
/// What kept a blob from being kept.
pub(super) const BYPASSED: Outcome = Outcome::new(Action::Relayed, Reason::NoRoom);

/// Whether this client may have what is here: at once, or once the upstream has claimed it. `None`: the upstream has to
/// give it first.
pub(super) async fn admit(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<Option<Outcome>, Error> {
    match context.may_serve(cache, digest).await {
        MayServe::Yes => Ok(Some(HIT)),
        MayServe::AfterClaim => {
            show(context, cache, digest).await?;
            Ok(Some(CONFIRMED))
        }
        MayServe::AfterBody => Ok(None),
    }
}

/// All of a stored blob.
pub(super) fn whole(
    context: &RequestContext<'_>,
    digest: &Digest,
    found: Found,
    outcome: Outcome,
) -> HandlerResponse {
    answer(context, digest, &ServedRange::whole(found.stat.length), found.body, outcome)
}

/// A part of a stored blob of `total` bytes; `None`: it is gone, or not what it was.
pub(super) async fn part(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spec: RangeSpec,
    total: u64,
    outcome: Outcome,
) -> Result<Option<HandlerResponse>, Error> {
    let Some(range) = spec.within(total) else {
        return match cache.right_length(digest).await {
            Some(total) => Err(Error::RangeNotSatisfiable { total }),
            None => Ok(None),
        };
    };
    let part = Part { first: range.first, end: range.end };
    let found = cache.blob(digest, Some(part)).await;
    Ok(found.map(|found| answer(context, digest, &ServedRange::part(range), found.body, outcome)))
}

/// Has the upstream say to this client that it has the blob, and how long it is.
pub(super) async fn show(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<Option<u64>, Error> {
    begin_asking(context, cache, digest)?;
    ask_length(context, cache, digest).await.map_err(|negative| negative.into_error(blob_unknown))
}

/// The same, where there is use in asking.
pub(super) async fn ask_length(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<Option<u64>, Negative> {
    match length_of(context, digest).await {
        Ok(length) => {
            context.claimed(cache, digest).await;
            Ok(length)
        }
        Err(negative) => {
            context.denied(cache, &negative, digest.as_str());
            Err(negative)
        }
    }
}

/// Whether there is any use in asking the upstream, and a place to wait for it.
pub(super) fn begin_asking(context: &RequestContext<'_>, cache: &Cache, digest: &Digest) -> Result<(), Error> {
    if context.is_offline() {
        return Err(Error::BlobUnknown(Absence::Offline));
    }
    if context.is_absent(cache, digest.as_str()) {
        return Err(Error::BlobUnknown(Absence::Remembered));
    }
    context.waiting.begin()
}

/// Asks the upstream for it, and remembers what that says of who may have it.
pub(super) async fn found(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    ask: &Ask,
) -> Result<Response<Body>, Negative> {
    let found = context.upstream.read(ask).await.found();
    match &found {
        Ok(_) => context.claimed(cache, digest).await,
        Err(negative) => context.denied(cache, negative, digest.as_str()),
    }
    found
}
