//! A tag that is here and due: its upstream is asked where it points, by HEAD, which Docker Hub does not count (P-86), or
//! where HEAD says too little, by GET.

use std::sync::Arc;

use http::HeaderValue;

use super::cached::{FoundManifest, LookupError, RefusedBy, fetch_once, may_be_stale, of_cached, question};
use super::{HeadAnswer, Manifest, look};
use crate::cache::{Cache, Pointer, StoredManifest, TagGeneration};
use crate::name::Reference;
use crate::outcome::{Action, Outcome, Reason};
use crate::request::RequestContext;
use crate::upstream::{Failure, Negative};

/// A pull that would have counted, and did not.
const SPARED: Outcome = Outcome::new(Action::Stale, Reason::BudgetSpared);

/// A tag that is due.
pub(super) struct Due<'a, 'v> {
    pub(super) context: &'a RequestContext<'v>,
    pub(super) cache: &'a Arc<Cache>,
    pub(super) tag: &'a TagGeneration,
    /// Where it pointed.
    pub(super) pointer: &'a Pointer,
    /// What it pointed to.
    pub(super) kept: &'a Arc<StoredManifest>,
    pub(super) reference: &'a Reference,
    pub(super) accept: &'a HeaderValue,
}

impl Due<'_, '_> {
    /// Asks where the tag points; once however many ask.
    pub(super) async fn revalidate(&self) -> Result<FoundManifest, LookupError> {
        let Self { context, reference, accept, .. } = *self;
        let question = (context.claim(), question(context, self.tag));
        let looks = &context.env.shared_requests.looks;
        match looks.join(&question, || look(context, reference, accept)).await? {
            HeadAnswer::Described(manifest) => self.points_to(manifest).await.map_err(LookupError::from),
            look @ (HeadAnswer::Found | HeadAnswer::Declined | HeadAnswer::Unproven(_)) => self.by_get(look).await,
        }
    }

    /// The upstream says by HEAD where it points.
    async fn points_to(&self, Manifest { digest, .. }: Manifest) -> Result<FoundManifest, Negative> {
        let Self { context, cache, tag, pointer, kept, accept, .. } = *self;
        let confirmed = context.env.platform.clock.unix_seconds();
        context.claimed(cache, &digest).await;
        // A word of this upstream is not enough for what another one gave.
        let may_have = context.may_have(cache, &digest).await;
        let (why, other) = if digest == pointer.digest {
            (Reason::TagUnchanged, Some(Arc::clone(kept)))
        } else {
            (Reason::TagKnown, cache.manifest(&digest).await)
        };
        if may_have && let Some(other) = &other {
            let pointer = Pointer { digest, confirmed };
            cache.link_manifest(&context.provenance(), other, Some((tag.clone(), pointer)));
            return Ok((of_cached(other), Outcome::new(Action::Revalidated, why)));
        }
        if self.is_spared().await {
            return Ok((of_cached(kept), SPARED));
        }
        let why = if other.is_some() { Reason::NotGivenYet } else { Reason::TagChanged };
        let found = fetch_once(context, cache, &Reference::Digest(digest), accept, Some(tag)).await?;
        Ok((found, Outcome::new(Action::Filled, why)))
    }

    /// HEAD has said too little.
    async fn by_get(&self, looked: HeadAnswer) -> Result<FoundManifest, LookupError> {
        let Self { context, cache, tag, pointer, kept, reference, accept } = *self;
        let may_be_spared = match looked {
            HeadAnswer::Found => {
                context.admitted(cache);
                true
            }
            HeadAnswer::Described(_) | HeadAnswer::Declined => true,
            HeadAnswer::Unproven(_) => false,
        };
        if may_be_spared && self.is_spared().await {
            return Ok((of_cached(kept), SPARED));
        }
        let found = match (fetch_once(context, cache, reference, accept, Some(tag)).await, looked) {
            (Ok(found), looked) => {
                looked.is_contradicted(context);
                found
            }
            // Nobody could be asked: then the refusal of HEAD is the last word.
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

    /// Whether what is here is good enough to leave the last of the budget to what is not here at all (U-02).
    async fn is_spared(&self) -> bool {
        let Self { context, cache, pointer, kept, .. } = *self;
        !context.wants_it_new()
            && context.may_have(cache, &pointer.digest).await
            && context.upstream.is_scarce(context.identity, &context.target.name).await
            && may_be_stale(context, cache, pointer, kept).await.is_ok()
    }
}
