//! A blob that is relayed from the upstream and not cached.

use std::sync::Arc;

use http::Response;

use super::response::deliver;
use super::upstream::source_of;
use super::window::ServedRange;
use crate::body::Body;
use crate::cache::Cache;
use crate::config::Redirects;
use crate::digest::Digest;
use crate::error::Error;
use crate::outcome::{Action, Outcome, Reason};
use crate::relay::Relay;
use crate::request::{HandlerResponse, RequestContext};
use crate::upstream::Ask;

/// The cache for blobs; `None` where the upstream's redirects go to the client, so that its blobs do not pass through us.
pub(crate) fn cache_for<'a>(context: &RequestContext<'a>) -> Option<&'a Arc<Cache>> {
    context.cache().filter(|_| context.upstream.redirects() == Redirects::Follow)
}

/// The outcome of relaying, with the reason why the blob is not cached.
pub(super) fn passed_on(context: &RequestContext<'_>) -> Outcome {
    match (context.cache(), cache_for(context)) {
        (None, _) => Outcome::relayed(),
        (Some(_), None) => Outcome::new(Action::Relayed, Reason::LeftToClient),
        (Some(_), Some(_)) => Outcome::new(Action::Relayed, Reason::Unkeepable),
    }
}

/// Answers with the bytes as they come from the upstream.
pub(super) async fn relay(
    context: &RequestContext<'_>,
    digest: &Digest,
    ask: Ask,
    window: ServedRange,
    response: Response<Body>,
) -> Result<HandlerResponse, Error> {
    let length = window.range.map(|range| range.length());
    if window.skip == 0 && matches!(response.body(), Body::Native(_)) && response.body().length() == length {
        // The platform relays the stream by itself, so this proxy cannot resume it where it breaks.
        return deliver(context, digest, &window, response.into_body(), passed_on(context)).await;
    }
    let (first, end) = window.range.map_or((0, None), |range| (range.first, Some(range.end)));
    let source = source_of(context, ask, window.range.map(|range| range.total));
    let relay = Relay::new(source, response.into_body(), window.skip, first, end);
    let body = Body::frames(relay, length);
    deliver(context, digest, &window, body, passed_on(context)).await
}
