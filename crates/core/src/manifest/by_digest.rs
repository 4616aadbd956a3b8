//! A manifest by its digest that cannot be served from the cache at once: the upstream confirms it, or sends it.

use std::sync::Arc;

use http::HeaderValue;

use super::fetch::fetch_once;
use super::revalidate::FoundManifest;
use super::upstream::{contradict_head, look};
use crate::cache::{Cache, StoredManifest};
use crate::digest::Digest;
use crate::evidence::MayServe;
use crate::name::Reference;
use crate::outcome::{Action, Outcome, Reason};
use crate::request::RequestContext;
use crate::shared_requests::{HeadAnswer, Manifest};
use crate::upstream::Negative;

/// The manifest was cached, and the upstream confirmed that this client may have it.
const CONFIRMED: Outcome = Outcome::new(Action::Revalidated, Reason::AccessConfirmed);

/// Asks the upstream for a manifest by its digest.
pub(super) async fn by_digest(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    cached: Option<&Arc<StoredManifest>>,
    reference: &Reference,
    accept: &HeaderValue,
) -> Result<FoundManifest, Negative> {
    // A cached manifest that this client may perhaps not have: the upstream decides.
    let may_serve = context.may_serve(cache, digest).await;
    let confirms = cached.filter(|_| may_serve == MayServe::AfterClaim);
    let looked = if confirms.is_some() || context.is_head() {
        look(context, reference, accept).await?
    } else {
        HeadAnswer::Unproven(None)
    };
    if let HeadAnswer::Described(found) = looked {
        context.claimed(cache, digest).await;
        return Ok(match confirms {
            Some(cached) => {
                cache.metadata.link_manifest(&context.provenance(), cached, None);
                (Manifest::from_cached(cached), CONFIRMED)
            }
            None => (found, Outcome::new(Action::Relayed, Reason::AbsentHead)),
        });
    }
    let found = fetch_once(context, cache, reference, accept, None).await?;
    contradict_head(context, &looked);
    let outcome = match (cached, may_serve) {
        (None, _) => Outcome::new(Action::Filled, Reason::DigestAbsent),
        (Some(_), MayServe::AfterBody) => Outcome::new(Action::Filled, Reason::NotGivenYet),
        (Some(_), MayServe::Yes | MayServe::AfterClaim) => CONFIRMED,
    };
    Ok((found, outcome))
}
