//! Manifests with a cache. A cached digest is served without asking the upstream. A tag is fresh for its time; then the
//! proxy confirms it by HEAD, which Docker Hub does not count (P-86), and fetches a manifest only if the tag moved.

use std::sync::Arc;

use http::HeaderValue;

use super::by_digest::by_digest;
use super::fetch::fetch_once;
use super::held::{self, HeldError, HeldTag};
use super::lookup_error::{LookupError, RefusedBy};
use super::moved::say_if_moved;
use super::plan::{CacheLookup, Plan, known};
use super::revalidate::{Due, FoundManifest};
use super::stale::may_be_stale;
use super::upstream::{contradict_head, error_of, look};
use crate::cache::{Cache, Key, Pointer, TagGeneration};
use crate::error::{Error, Failure};
use crate::name::Reference;
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::within;
use crate::request::RequestContext;
use crate::shared_requests::{HeadAnswer, Manifest};
use crate::upstream::{Identity, Negative};

/// A manifest from the cache or from the upstream.
pub(super) async fn find_cached(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    reference: &Reference,
) -> Result<FoundManifest, Error> {
    if let Reference::Digest(digest) = reference
        && cache.config().holds_digests()
        && let Some(withheld) = held::withheld_digest(context, cache, digest).await
    {
        return Err(Error::Withheld(withheld));
    }
    let known = known(context, cache, reference).await;
    match known.plan {
        Plan::Hit(_) | Plan::Missing(_) => {}
        Plan::Ask | Plan::Fetch(_) => context.waiting.begin()?,
    }
    // What asks an upstream is boxed: a hit does not need a future of that size.
    let accept = || context.env.manifest_types.accepted.accept_with(&context.head.headers);
    let found = match (known.plan, &known.manifest, reference) {
        (Plan::Hit(why), Some(cached), _) => {
            let held = known.pointer.as_ref().and_then(|pointer| pointer.held);
            Ok(held::marked((Manifest::from_cached(cached), Outcome::new(Action::Hit, why)), held))
        }
        // The absence is not recorded again, or a client that keeps asking would keep it for ever.
        (Plan::Missing(absence), ..) => return Err(Error::ManifestUnknown(absence)),
        (_, cached, Reference::Digest(digest)) => {
            let accept = accept();
            let asked = by_digest(context, cache, digest, cached.as_ref(), reference, &accept);
            Box::pin(asked).await.map_err(LookupError::from)
        }
        (_, _, Reference::Tag(tag)) => {
            let accept = accept();
            match known.hold {
                None => Box::pin(by_tag(context, cache, tag.as_str(), &known, reference, &accept)).await,
                Some(rule) => {
                    let held = HeldTag::new(context, cache, tag, rule, &known, &accept);
                    match Box::pin(held.find()).await {
                        Ok(found) => Ok(found),
                        Err(HeldError::Lookup(trouble)) => {
                            let key = Key::tag(context.upstream.name(), &context.target.name, tag.as_str());
                            let tag = cache.metadata.tag(key);
                            Box::pin(otherwise(context, cache, &tag, &known, trouble)).await
                        }
                        Err(HeldError::Withheld(withheld)) => return Err(Error::Withheld(withheld)),
                    }
                }
            }
        }
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

async fn by_tag(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    tag: &str,
    known: &CacheLookup,
    reference: &Reference,
    accept: &HeaderValue,
) -> Result<FoundManifest, LookupError> {
    let tag = cache.metadata.tag(Key::tag(context.upstream.name(), &context.target.name, tag));
    let cached = known.pointer.as_ref().zip(known.manifest.as_ref());
    let asked = match cached {
        Some((pointer, cached)) => {
            let due = Due { context, cache, tag: &tag, pointer, cached, reference, accept };
            // Whatever steps this takes, time must be left to serve the cached manifest.
            let limit = context.env.settings.timeouts.first_byte.0;
            let asked = within(&*context.env.platform.clock, limit, Box::pin(due.revalidate())).await;
            asked.unwrap_or(Err(Negative::Failed(Failure::TimedOut).into()))
        }
        None => first(context, cache, &tag, reference, accept).await.map_err(LookupError::from),
    };
    match asked {
        Ok(found) => {
            say_if_moved(context, known.pointer.as_ref(), reference.as_str(), &found.0.digest);
            Ok(found)
        }
        Err(trouble) => otherwise(context, cache, &tag, known, trouble).await,
    }
}

/// What is served where the upstream does not give the tag: a stale one, or nothing.
async fn otherwise(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    tag: &TagGeneration,
    known: &CacheLookup,
    trouble: LookupError,
) -> Result<FoundManifest, LookupError> {
    let LookupError { negative, refused_by, .. } = trouble;
    let cached = known.pointer.as_ref().zip(known.manifest.as_ref());
    let mut not_stale = None;
    if let Some((pointer, cached)) = cached
        && negative.allows_stale()
        && context.may_have(cache, &pointer.digest).await
    {
        // A HEAD has named the manifest for this repository, and it may have been cached through another one since.
        cache.metadata.link_manifest(&context.provenance(), cached, None);
        match may_be_stale(context, cache, pointer, cached).await {
            Ok(()) => {
                return Ok((Manifest::from_cached(cached), Outcome::new(Action::Stale, why_stale(&negative))));
            }
            Err(why) => not_stale = Some(why),
        }
    }
    if let Some(pointer) = &known.pointer {
        disown(context, cache, tag, pointer, &negative).await;
    }
    Err(LookupError { negative, refused_by, not_stale })
}

/// A tag of which nothing is cached.
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
        point_at(context, cache, tag, Pointer::confirmed(found.digest.clone(), confirmed)).await;
        return Ok((found, Outcome::new(Action::Relayed, Reason::AbsentHead)));
    }
    let found = fetch_once(context, cache, reference, accept, Some(tag)).await?;
    contradict_head(context, &looked);
    Ok((found, Outcome::new(Action::Filled, Reason::TagAbsent)))
}

/// Records where a tag points, as a HEAD has said. If that manifest is cached, perhaps through another repository, it and
/// all that it names belong to this repository from now on.
async fn point_at(context: &RequestContext<'_>, cache: &Arc<Cache>, tag: &TagGeneration, pointer: Pointer) {
    match cache.metadata.manifest(&pointer.digest).await {
        Some(cached) if context.may_have(cache, &pointer.digest).await => {
            cache.metadata.link_manifest(&context.provenance(), &cached, Some((tag.clone(), pointer)));
        }
        Some(_) | None => cache.metadata.point(tag, pointer),
    }
}

/// Removes a tag that the upstream denies, so that no later outage serves it as stale.
async fn disown(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    tag: &TagGeneration,
    pointer: &Pointer,
    negative: &Negative,
) {
    match (negative, context.identity) {
        (Negative::Missing(_), _) => cache.metadata.forget(&tag.key).await,
        // A refusal of our own credentials counts for all clients. A refusal of one client's login does not: for the others
        // the grants decide.
        (Negative::Refused(_), Identity::Ours) => cache.metadata.point(tag, pointer.unconfirmed()),
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

fn why_stale(negative: &Negative) -> Reason {
    match negative {
        Negative::Limited { .. } => Reason::LimitsRate,
        Negative::Failed(failure) => failure.reason(),
        _ => Reason::CannotBeAsked,
    }
}
