//! Manifests with a cache before the upstream. By digest what is here is served without a word to the upstream; a tag
//! is fresh for its time, then confirmed by HEAD, which Docker Hub does not count (P-86), and fetched by digest only
//! where it points elsewhere.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::accept::own_types;
use super::plan::{CacheLookup, Plan, known};
use super::revalidate::Due;
use super::{HeadAnswer, Manifest, error_of, fetch, look, whole};
use crate::body::SMALL_BYTES;
use crate::cache::{Cache, Key, Pointer, StoredManifest, TagGeneration};
use crate::digest::Digest;
use crate::error::{Error, NotStale};
use crate::evidence::MayServe;
use crate::name::Reference;
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::within;
use crate::request::RequestContext;
use crate::upstream::{Failure, Identity, Negative};

/// It was here, and the upstream says that this client may have it.
const CONFIRMED: Outcome = Outcome::new(Action::Revalidated, Reason::AccessConfirmed);

/// What is found, and what was done for it.
pub(super) type FoundManifest = (Manifest, Outcome);

/// A manifest from the cache or from the upstream.
pub(super) async fn find_cached(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    reference: &Reference,
    accept: &HeaderValue,
) -> Result<FoundManifest, Error> {
    let known = known(context, cache, reference).await;
    match known.plan {
        Plan::Hit(_) | Plan::Missing(_) => {}
        Plan::Ask | Plan::Fetch(_) => context.waiting.begin()?,
    }
    let found = match (known.plan, &known.manifest, reference) {
        (Plan::Hit(why), Some(kept), _) => Ok((of_cached(kept), Outcome::new(Action::Hit, why))),
        // Not remembered anew: whoever asks all the time would never have it looked for again.
        (Plan::Missing(absence), ..) => return Err(Error::ManifestUnknown(absence)),
        (_, kept, Reference::Digest(digest)) => {
            by_digest(context, cache, digest, kept.as_ref(), reference, accept).await.map_err(LookupError::from)
        }
        (_, _, Reference::Tag(tag)) => by_tag(context, cache, tag.as_str(), &known, reference, accept).await,
    };
    found.map_err(|LookupError { negative, refused_by, not_stale }| {
        match refused_by {
            RefusedBy::Get => context.denied(cache, &negative, reference.as_str()),
            RefusedBy::Head => {}
        }
        let error = error_of(negative, reference);
        match not_stale {
            Some(why) => Error::NotStale { error: Box::new(error), why },
            None => error,
        }
    })
}

/// What there was instead of a manifest.
pub(super) struct LookupError {
    pub(super) negative: Negative,
    pub(super) refused_by: RefusedBy,
    /// Why what is here was not served in its place.
    pub(super) not_stale: Option<NotStale>,
}

/// To which question a registry's no was said.
#[derive(Clone, Copy)]
pub(super) enum RefusedBy {
    /// HEAD, and nothing more could be asked. It is the answer, and takes nobody's grant.
    Head,
    /// GET.
    Get,
}

impl From<Negative> for LookupError {
    fn from(negative: Negative) -> Self {
        Self { negative, refused_by: RefusedBy::Get, not_stale: None }
    }
}

async fn by_digest(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    kept: Option<&Arc<StoredManifest>>,
    reference: &Reference,
    accept: &HeaderValue,
) -> Result<FoundManifest, Negative> {
    // It is here, and it may not be for this client: the upstream says.
    let may_serve = context.may_serve(cache, digest).await;
    let confirms = kept.filter(|_| may_serve == MayServe::AfterClaim);
    let looked = if confirms.is_some() || context.is_head() {
        look(context, reference, accept).await?
    } else {
        HeadAnswer::Unproven(None)
    };
    if let HeadAnswer::Described(found) = looked {
        context.claimed(cache, digest).await;
        return Ok(match confirms {
            Some(kept) => {
                cache.link_manifest(&context.provenance(), kept, None);
                (of_cached(kept), CONFIRMED)
            }
            None => (found, Outcome::new(Action::Relayed, Reason::AbsentHead)),
        });
    }
    let found = fetch_once(context, cache, reference, accept, None).await?;
    looked.is_contradicted(context);
    let outcome = match (kept, may_serve) {
        (None, _) => Outcome::new(Action::Filled, Reason::DigestAbsent),
        (Some(_), MayServe::AfterBody) => Outcome::new(Action::Filled, Reason::NotGivenYet),
        (Some(_), MayServe::Yes | MayServe::AfterClaim) => CONFIRMED,
    };
    Ok((found, outcome))
}

async fn by_tag(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    tag: &str,
    known: &CacheLookup,
    reference: &Reference,
    accept: &HeaderValue,
) -> Result<FoundManifest, LookupError> {
    let tag = cache.tag(Key::tag(context.upstream.name(), &context.target.name, tag));
    let kept = known.pointer.as_ref().zip(known.manifest.as_ref());
    let asked = match kept {
        Some((pointer, kept)) => {
            let due = Due { context, cache, tag: &tag, pointer, kept, reference, accept };
            // However many steps it takes: there must be time left to serve what is here.
            let limit = context.env.settings.timeouts.first_byte.0;
            let asked = within(&*context.env.platform.clock, limit, Box::pin(due.revalidate())).await;
            asked.unwrap_or(Err(Negative::Failed(Failure::TimedOut).into()))
        }
        None => first(context, cache, &tag, reference, accept).await.map_err(LookupError::from),
    };
    let LookupError { negative, refused_by, .. } = match asked {
        Ok(found) => return Ok(found),
        Err(trouble) => trouble,
    };
    let mut not_stale = None;
    if let Some((pointer, kept)) = kept
        && negative.allows_stale()
        && context.may_have(cache, &pointer.digest).await
    {
        // It may have come through another repository since a HEAD has said that it is this one's.
        cache.link_manifest(&context.provenance(), kept, None);
        match may_be_stale(context, cache, pointer, kept).await {
            Ok(()) => return Ok((of_cached(kept), Outcome::new(Action::Stale, why_stale(&negative)))),
            Err(why) => not_stale = Some(why),
        }
    }
    if let Some(pointer) = &known.pointer {
        disown(context, cache, &tag, pointer, &negative).await;
    }
    Err(LookupError { negative, refused_by, not_stale })
}

/// Of a tag of which nothing is here.
async fn first(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    tag: &TagGeneration,
    reference: &Reference,
    accept: &HeaderValue,
) -> Result<FoundManifest, Negative> {
    let looked =
        if context.is_head() { look(context, reference, accept).await? } else { HeadAnswer::Unproven(None) };
    if let HeadAnswer::Described(found) = looked {
        context.claimed(cache, &found.digest).await;
        let confirmed = context.env.platform.clock.unix_seconds();
        point_at(context, cache, tag, Pointer { digest: found.digest.clone(), confirmed }).await;
        return Ok((found, Outcome::new(Action::Relayed, Reason::AbsentHead)));
    }
    let found = fetch_once(context, cache, reference, accept, Some(tag)).await?;
    looked.is_contradicted(context);
    Ok((found, Outcome::new(Action::Filled, Reason::TagAbsent)))
}

/// A HEAD has said where a tag points. What is here of that, perhaps through another repository, is this one's from now on,
/// with all that it names.
async fn point_at(context: &RequestContext<'_>, cache: &Arc<Cache>, tag: &TagGeneration, pointer: Pointer) {
    match cache.manifest(&pointer.digest).await {
        Some(kept) if context.may_have(cache, &pointer.digest).await => {
            cache.link_manifest(&context.provenance(), &kept, Some((tag.clone(), pointer)));
        }
        Some(_) | None => cache.point(tag, pointer),
    }
}

/// What an upstream's no means for where a tag pointed: no outage that comes later brings that back.
async fn disown(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    tag: &TagGeneration,
    pointer: &Pointer,
    negative: &Negative,
) {
    match (negative, context.identity) {
        (Negative::Missing(_), _) => cache.forget(&tag.key).await,
        // Our credentials ask for everybody. A client's own refusal is not the others': there the grants decide.
        (Negative::Refused(_), Identity::Ours) => cache.point(tag, pointer.unconfirmed()),
        (
            Negative::Refused(_)
            | Negative::Limited { .. }
            | Negative::Unsatisfiable { .. }
            | Negative::Declined(..)
            | Negative::Failed(_),
            _,
        ) => {}
    }
}

/// Fetches and keeps, with where the tag points by which it is wanted; once however many ask.
pub(super) async fn fetch_once(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    reference: &Reference,
    accept: &HeaderValue,
    tag: Option<&TagGeneration>,
) -> Result<Manifest, Negative> {
    let work = || async {
        let found = fetch(context, reference, accept).await?;
        if let Some(bytes) = &found.bytes
            && found.digest.matches(bytes) == Some(true)
            // A copy, since what the cache keeps has a bound of its own, and the original is counted for its client.
            && let Some(stored) = StoredManifest::new(found.digest.clone(), bytes::Bytes::copy_from_slice(bytes))
        {
            let confirmed = context.env.platform.clock.unix_seconds();
            let pointer = tag.map(|tag| (tag.clone(), Pointer { digest: found.digest.clone(), confirmed }));
            let stored = Arc::new(stored.shelved(&context.env.in_flight));
            cache.keep_manifest(&context.provenance(), &stored, pointer);
        }
        Ok(found)
    };
    // Two tags of one digest are two questions: each is written down with its manifest.
    let wanted = match tag {
        None => format!("{} {}", reference.as_str(), context.since).into(),
        Some(tag) => question(context, tag),
    };
    let found = context.env.shared_requests.fetches.join(&(context.claim(), wanted), work).await?;
    context.admitted(cache);
    Ok(found)
}

/// Who asks about a tag after it was forgotten is not given what was asked before, nor who names other types of manifests.
pub(super) fn question(context: &RequestContext<'_>, tag: &TagGeneration) -> Box<str> {
    format!("{} {} {}", tag.key, tag.generation, own_types(&context.head.headers).join(",")).into()
}

/// Whether a tag may be served although its upstream has not confirmed it, or why not.
pub(crate) async fn may_be_stale(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    pointer: &Pointer,
    kept: &StoredManifest,
) -> Result<(), NotStale> {
    let (limit, now) = (cache.config().stale_if_error.0.as_secs(), context.env.platform.clock.unix_seconds());
    if !pointer.may_be_stale(limit, now) {
        return Err(NotStale::TooOld);
    }
    // A manifest promises its blobs: without them a client would have done better elsewhere (P-91).
    match whole::missing(context, cache, kept).await {
        Some(digest) => Err(NotStale::Incomplete(digest)),
        None => Ok(()),
    }
}

fn why_stale(negative: &Negative) -> Reason {
    match negative {
        Negative::Limited { .. } => Reason::LimitsRate,
        Negative::Failed(failure) => failure.reason(),
        _ => Reason::CannotBeAsked,
    }
}

pub(super) fn of_cached(kept: &StoredManifest) -> Manifest {
    Manifest {
        media_type: kept.media_type,
        digest: kept.digest.clone(),
        length: kept.bytes.len() as u64,
        bytes: Some(kept.bytes.clone()),
        // The small ones that memory has anyway are nobody's.
        is_shared_out: kept.is_counted() || kept.bytes.len() as u64 > SMALL_BYTES,
        budget: HeaderMap::new(),
    }
}
