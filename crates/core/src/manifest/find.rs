//! A manifest from the cache or from the upstream, of a type that the client accepts.

use super::cached;
use super::upstream::{error_of, find};
use crate::config::HoldRule;
use crate::error::Error;
use crate::name::Reference;
use crate::outcome::{Action, Outcome, Reason};
use crate::request::RequestContext;
use crate::shared_requests::Manifest;

/// The rule by which new digests of a tag are held.
pub(super) fn hold_of(context: &RequestContext<'_>, reference: &Reference) -> Option<HoldRule> {
    let Reference::Tag(tag) = reference else { return None };
    let (upstream, repository) = (context.upstream.name(), context.target.name.as_str());
    context.cache()?.config().hold_for(upstream, repository, tag.as_str())
}

fn is_held(context: &RequestContext<'_>, reference: &Reference) -> bool {
    hold_of(context, reference).is_some()
}

/// Finds the manifest in the cache or at the upstream, of a type that the client accepts.
pub(super) async fn find_any(
    context: &RequestContext<'_>,
    reference: &Reference,
) -> Result<(Manifest, Outcome), Error> {
    let accepted = &context.env.manifest_types.accepted;
    let (manifest, outcome) = if let Some(cache) = context.cache() {
        cached::find_cached(context, cache, reference).await?
    } else {
        context.waiting.begin()?;
        let every = accepted.accept_with(&context.head.headers);
        let found = Box::pin(find(context, reference, &every)).await.map_err(|no| error_of(no, reference))?;
        (found, Outcome::relayed())
    };
    // By tag, a client whose `Accept` excludes this type may get another manifest from the registry (P-82).
    if let (Reference::Tag(_), Some(narrow)) =
        (reference, accepted.narrow_accept(&context.head.headers, manifest.media_type))
        && !context.is_offline()
        // What the registry would answer now may be what is held.
        && !is_held(context, reference)
        && context.waiting.begin().is_ok()
        && let Ok(other) = Box::pin(find(context, reference, &narrow)).await
    {
        return Ok((other, Outcome::new(Action::Relayed, Reason::NarrowAccept)));
    }
    Ok((manifest, outcome))
}
