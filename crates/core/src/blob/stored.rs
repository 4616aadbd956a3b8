//! What serving a blob from the cache takes, whoever fetches it there: who may have it, a part of it, and whether there is
//! any use in asking the upstream.

use std::sync::Arc;

use http::Response;

use super::{Window, answer, blob_unknown, length_of};
use crate::body::Body;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Absence, Error};
use crate::evidence::MayServe;
use crate::outcome::{Done, Outcome, Why};
use crate::platform::{Found, Part};
use crate::range::RangeSpec;
use crate::upstream::{Ask, Negative};
use crate::visit::{Answer, Visit};

/// It is here, and this client may have it.
pub(super) const HIT: Outcome = Outcome::new(Done::Hit, Why::Digest);
/// The same after the upstream has said so.
pub(super) const CONFIRMED: Outcome = Outcome::new(Done::Revalidated, Why::AccessConfirmed);
/// What kept a blob from being kept.
pub(super) const BYPASSED: Outcome = Outcome::new(Done::Relayed, Why::NoRoom);

/// Whether this client may have what is here: at once, or once the upstream has claimed it. `None`: the upstream has to
/// give it first.
pub(super) async fn admit(
    visit: &Visit<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<Option<Outcome>, Error> {
    match visit.may_serve(cache, digest).await {
        MayServe::Yes => Ok(Some(HIT)),
        MayServe::AfterClaim => {
            show(visit, cache, digest).await?;
            Ok(Some(CONFIRMED))
        }
        MayServe::AfterBody => Ok(None),
    }
}

/// All of a stored blob.
pub(super) fn whole(visit: &Visit<'_>, digest: &Digest, found: Found, outcome: Outcome) -> Answer {
    answer(visit, digest, &Window::whole(found.stat.length), found.body, outcome)
}

/// A part of a stored blob of `total` bytes; `None`: it is gone, or not what it was.
pub(super) async fn part(
    visit: &Visit<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spec: RangeSpec,
    total: u64,
    outcome: Outcome,
) -> Result<Option<Answer>, Error> {
    let Some(range) = spec.within(total) else {
        return match cache.right_length(digest).await {
            Some(total) => Err(Error::RangeNotSatisfiable { total }),
            None => Ok(None),
        };
    };
    let part = Part { first: range.first, end: range.end };
    let found = cache.blob(digest, Some(part)).await;
    Ok(found.map(|found| answer(visit, digest, &Window::part(range), found.body, outcome)))
}

/// Has the upstream say to this client that it has the blob, and how long it is.
pub(super) async fn show(visit: &Visit<'_>, cache: &Arc<Cache>, digest: &Digest) -> Result<Option<u64>, Error> {
    not_elsewhere(visit, cache, digest)?;
    ask_length(visit, cache, digest).await.map_err(|negative| negative.into_error(blob_unknown))
}

/// The same, where there is use in asking.
pub(super) async fn ask_length(
    visit: &Visit<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<Option<u64>, Negative> {
    match length_of(visit, digest).await {
        Ok(length) => {
            visit.claimed(cache, digest).await;
            Ok(length)
        }
        Err(negative) => {
            visit.denied(cache, &negative, digest.as_str());
            Err(negative)
        }
    }
}

/// Whether there is any use in asking the upstream, and a place to wait for it.
pub(super) fn not_elsewhere(visit: &Visit<'_>, cache: &Cache, digest: &Digest) -> Result<(), Error> {
    if visit.is_offline() {
        return Err(Error::BlobUnknown(Absence::Offline));
    }
    if visit.is_absent(cache, digest.as_str()) {
        return Err(Error::BlobUnknown(Absence::Remembered));
    }
    visit.waiting.begin()
}

/// Asks the upstream for it, and remembers what that says of who may have it.
pub(super) async fn found(
    visit: &Visit<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    ask: &Ask,
) -> Result<Response<Body>, Negative> {
    let found = visit.upstream.read(ask).await.found();
    match &found {
        Ok(_) => visit.claimed(cache, digest).await,
        Err(negative) => visit.denied(cache, negative, digest.as_str()),
    }
    found
}
