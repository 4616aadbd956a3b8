//! A cached tag that is due: the proxy asks the upstream where it points, by HEAD, which Docker Hub does not count (P-86),
//! or by GET where HEAD says too little.

use std::sync::Arc;

use http::HeaderValue;

use super::fetch::{fetch_once, request_of_tag};
use super::lookup_error::{LookupError, RefusedBy};
use super::stale::may_be_stale;
use super::upstream::{contradict_head, look};
use crate::cache::{Cache, Pointer, StoredManifest, TagGeneration};
use crate::error::Failure;
use crate::name::Reference;
use crate::outcome::{Action, Outcome, Reason};
use crate::request::RequestContext;
use crate::shared_requests::{HeadAnswer, Manifest};
use crate::upstream::Negative;

/// A manifest and what was done for it.
pub(super) type FoundManifest = (Manifest, Outcome);

/// Served stale, to spare a pull that the registry would have counted.
const SPARED: Outcome = Outcome::new(Action::Stale, Reason::BudgetSpared);

/// A cached tag that is due.
pub(super) struct Due<'a, 'v> {
    pub(super) context: &'a RequestContext<'v>,
    pub(super) cache: &'a Arc<Cache>,
    pub(super) tag: &'a TagGeneration,
    /// Where it pointed when it was last confirmed.
    pub(super) pointer: &'a Pointer,
    /// The manifest it pointed to.
    pub(super) cached: &'a Arc<StoredManifest>,
    pub(super) reference: &'a Reference,
    pub(super) accept: &'a HeaderValue,
}

impl Due<'_, '_> {
    /// Asks where the tag points; once however many clients ask.
    pub(super) async fn revalidate(&self) -> Result<FoundManifest, LookupError> {
        let Self { context, reference, accept, .. } = *self;
        let key = (context.claim(), request_of_tag(context, self.tag));
        let heads = &context.env.shared_requests.heads;
        match heads.join(&key, || look(context, reference, accept)).await? {
            HeadAnswer::Described(manifest) => self.points_to(manifest).await.map_err(LookupError::from),
            look @ (HeadAnswer::Found | HeadAnswer::Declined | HeadAnswer::Unproven(_)) => self.by_get(look).await,
        }
    }

    /// The upstream has said by HEAD where the tag points.
    async fn points_to(&self, Manifest { digest, .. }: Manifest) -> Result<FoundManifest, Negative> {
        let Self { context, cache, tag, pointer, cached, accept, .. } = *self;
        let confirmed = context.env.platform.clock.unix_seconds();
        context.claimed(cache, &digest).await;
        // This upstream's claim is not enough for bytes that another upstream gave.
        let may_have = context.may_have(cache, &digest).await;
        let (why, other) = if digest == pointer.digest {
            (Reason::TagUnchanged, Some(Arc::clone(cached)))
        } else {
            (Reason::TagKnown, cache.metadata.manifest(&digest).await)
        };
        if may_have && let Some(other) = &other {
            let pointer = Pointer::confirmed(digest, confirmed);
            cache.metadata.link_manifest(&context.provenance(), other, Some((tag.clone(), pointer)));
            return Ok((Manifest::from_cached(other), Outcome::new(Action::Revalidated, why)));
        }
        if self.is_spared().await {
            return Ok((Manifest::from_cached(cached), SPARED));
        }
        let why = if other.is_some() { Reason::NotGivenYet } else { Reason::TagChanged };
        let found = fetch_once(context, cache, &Reference::Digest(digest), accept, Some(tag)).await?;
        Ok((found, Outcome::new(Action::Filled, why)))
    }

    /// Asks by GET, as HEAD has said too little.
    async fn by_get(&self, looked: HeadAnswer) -> Result<FoundManifest, LookupError> {
        let Self { context, cache, tag, pointer, cached, reference, accept } = *self;
        let may_be_spared = match looked {
            HeadAnswer::Found => {
                context.admitted(cache);
                true
            }
            HeadAnswer::Described(_) | HeadAnswer::Declined => true,
            HeadAnswer::Unproven(_) => false,
        };
        if may_be_spared && self.is_spared().await {
            return Ok((Manifest::from_cached(cached), SPARED));
        }
        let found = match (fetch_once(context, cache, reference, accept, Some(tag)).await, looked) {
            (Ok(found), looked) => {
                contradict_head(context, &looked);
                found
            }
            // No address could be asked: the refusal of the HEAD is the answer.
            (Err(Negative::Failed(Failure::Resting { .. })), HeadAnswer::Unproven(Some((_, negative)))) => {
                return Err(LookupError { negative, refused_by: RefusedBy::Head, not_stale: None });
            }
            (Err(negative), _) => return Err(negative.into()),
        };
        let outcome = if found.digest == pointer.digest {
            Outcome::new(Action::Revalidated, Reason::TagUnchanged)
        } else {
            Outcome::new(Action::Filled, Reason::TagChanged)
        };
        Ok((found, outcome))
    }

    /// Whether to serve the cached manifest, so that the last of the pull budget goes to images that are not cached (U-02).
    async fn is_spared(&self) -> bool {
        let Self { context, cache, pointer, cached, .. } = *self;
        !context.wants_it_new()
            && context.may_have(cache, &pointer.digest).await
            && context.upstream.is_scarce(context.identity, &context.target.name).await
            && may_be_stale(context, cache, pointer, cached).await.is_ok()
    }
}
