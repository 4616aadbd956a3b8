//! Blobs where no request may wait for another's work (`Capabilities::shares_io`): from the store, or from the upstream while
//! the platform keeps a copy of what passes. Two who want one cold blob both fetch it.

use std::sync::Arc;

use http::header::RANGE;
use http::{Method, Response};

use super::hit::{self, BYPASSED, begin_asking, found};
use super::{accept, ask_for, chunked, deliver, relay};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::Error;
use crate::outcome::{Action, Outcome, Reason};
use crate::range::{ByteRange, RangeSpec};
use crate::request::{HandlerResponse, RequestContext};

/// All of a blob.
pub(super) async fn whole(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<HandlerResponse, Error> {
    let is_here = cache.blob_length(digest).await.is_some();
    if is_here
        && let Some(hit) = hit::admit(context, cache, digest).await?
        && let Some(found) = cache.blob(digest, None).await
    {
        return Ok(hit::whole(context, digest, found, hit));
    }
    let ask = ask_for(context, digest, Method::GET);
    begin_asking(context, cache, digest)?;
    let found = found(context, cache, digest, &ask).await;
    let (mut window, response) = accept(context, digest, None, found).await?;
    if window.range.is_none() {
        window.range = chunked::length(context, cache, digest).await.map(ByteRange::whole);
    }
    let Some(range) = window.range.filter(|range| range.total > 0) else {
        return relay(context, digest, ask, window, response).await;
    };
    let (head, body) = response.into_parts();
    let why = if is_here { Reason::NotGivenYet } else { Reason::BlobAbsent };
    match cache.keep_passing(context.provenance(), digest, range.total, body) {
        Ok(body) => deliver(context, digest, &window, body, Outcome::new(Action::Filled, why)).await,
        Err(body) => {
            let mut answer = relay(context, digest, ask, window, Response::from_parts(head, body)).await?;
            answer.outcome = BYPASSED;
            Ok(answer)
        }
    }
}

/// A range of a blob. One that is not here is passed on, and not kept: there is no draft to put it into.
pub(super) async fn range(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spec: RangeSpec,
) -> Result<HandlerResponse, Error> {
    if let Some(total) = cache.blob_length(digest).await {
        let hit = hit::admit(context, cache, digest).await?;
        if let Some(hit) = hit
            && let Some(part) = hit::part(context, cache, digest, spec, total, hit).await?
        {
            return Ok(part);
        }
    }
    let mut ask = ask_for(context, digest, Method::GET);
    ask.headers.insert(RANGE, spec.to_header());
    begin_asking(context, cache, digest)?;
    let found = found(context, cache, digest, &ask).await;
    let (window, response) = accept(context, digest, Some(spec), found).await?;
    let mut answer = relay(context, digest, ask, window, response).await?;
    answer.outcome = Outcome::new(Action::Relayed, Reason::RangePassed);
    Ok(answer)
}
