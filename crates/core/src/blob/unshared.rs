//! Blobs where no request may wait for another's work (`Capabilities::shares_io`): from the store, or from the upstream while
//! the platform copies the answer into the store. Two clients that want one absent blob both fetch it.

use std::sync::Arc;

use http::{Method, Response};

use super::hit::{self, BYPASSED};
use super::length::length_beforehand;
use super::relay::relay;
use super::request::BlobRequest;
use super::response::deliver;
use super::upstream::{ask_for, begin_asking, fetch};
use super::window::accept;
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
    let stored = cache.blobs.blob_length(digest).await;
    if let Some(total) = stored
        && let Some(answer) = hit::serve(context, cache, digest, total, None).await?
    {
        return Ok(answer);
    }
    let ask = ask_for(context, digest, Method::GET);
    begin_asking(context, cache, digest)?;
    let found = fetch(context, cache, digest, &ask).await;
    let (mut window, response) = accept(context, digest, None, found).await?;
    if window.range.is_none() {
        window.range = length_beforehand(context, cache, digest).await.map(ByteRange::whole);
    }
    let Some(range) = window.range.filter(|range| range.total > 0) else {
        return relay(context, digest, ask, window, response).await;
    };
    let (head, body) = response.into_parts();
    let why = if stored.is_some() { Reason::NotGivenYet } else { Reason::BlobAbsent };
    match cache.blobs.keep_passing(context.provenance(), digest, range.total, body) {
        Ok(body) => deliver(context, digest, &window, body, Outcome::new(Action::Filled, why)).await,
        Err(body) => {
            let relayed = relay(context, digest, ask, window, Response::from_parts(head, body)).await?;
            Ok(HandlerResponse { outcome: BYPASSED, ..relayed })
        }
    }
}

/// A range of a blob. One that is not stored is relayed and not cached: there is no draft to write it to.
pub(super) async fn range(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spec: RangeSpec,
) -> Result<HandlerResponse, Error> {
    if let Some(total) = cache.blobs.blob_length(digest).await
        && let Some(part) = hit::serve(context, cache, digest, total, Some(spec)).await?
    {
        return Ok(part);
    }
    begin_asking(context, cache, digest)?;
    BlobRequest::new(context, cache, digest, Some(spec)).alone().await
}
