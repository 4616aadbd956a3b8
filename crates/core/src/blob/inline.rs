//! Blobs where no request may wait for another's work (`Limits::shares_io`): from the store, or from the upstream while
//! the platform keeps a copy of what passes. Two who want one cold blob both fetch it.

use std::sync::Arc;

use http::header::RANGE;
use http::{Method, Response};

use super::stored::{self, BYPASSED, found, not_elsewhere};
use super::{accept, ask_for, chunked, deliver, relay};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::Error;
use crate::outcome::{Done, Outcome, Why};
use crate::range::{ByteRange, RangeSpec};
use crate::visit::{Answer, Visit};

/// All of a blob.
pub(super) async fn whole(visit: &Visit<'_>, cache: &Arc<Cache>, digest: &Digest) -> Result<Answer, Error> {
    let is_here = cache.blob_length(digest).await.is_some();
    if is_here
        && let Some(hit) = stored::admit(visit, cache, digest).await?
        && let Some(found) = cache.blob(digest, None).await
    {
        return Ok(stored::whole(visit, digest, found, hit));
    }
    let ask = ask_for(visit, digest, Method::GET);
    not_elsewhere(visit, cache, digest)?;
    let found = found(visit, cache, digest, &ask).await;
    let (mut window, response) = accept(visit, digest, None, found).await?;
    if window.range.is_none() {
        window.range = chunked::length(visit, cache, digest).await.map(ByteRange::whole);
    }
    let Some(range) = window.range.filter(|range| range.total > 0) else {
        return relay(visit, digest, ask, window, response).await;
    };
    let (head, body) = response.into_parts();
    let why = if is_here { Why::NotGivenYet } else { Why::BlobAbsent };
    match cache.keep_passing(visit.provenance(), digest, range.total, body) {
        Ok(body) => deliver(visit, digest, &window, body, Outcome::new(Done::Filled, why)).await,
        Err(body) => {
            let mut answer = relay(visit, digest, ask, window, Response::from_parts(head, body)).await?;
            answer.outcome = BYPASSED;
            Ok(answer)
        }
    }
}

/// A range of a blob. One that is not here is passed on, and not kept: there is no draft to put it into.
pub(super) async fn range(
    visit: &Visit<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spec: RangeSpec,
) -> Result<Answer, Error> {
    if let Some(total) = cache.blob_length(digest).await {
        let hit = stored::admit(visit, cache, digest).await?;
        if let Some(hit) = hit
            && let Some(part) = stored::part(visit, cache, digest, spec, total, hit).await?
        {
            return Ok(part);
        }
    }
    let mut ask = ask_for(visit, digest, Method::GET);
    ask.headers.insert(RANGE, spec.to_header());
    not_elsewhere(visit, cache, digest)?;
    let found = found(visit, cache, digest, &ask).await;
    let (window, response) = accept(visit, digest, Some(spec), found).await?;
    let mut answer = relay(visit, digest, ask, window, response).await?;
    answer.outcome = Outcome::new(Done::Relayed, Why::RangePassed);
    Ok(answer)
}
