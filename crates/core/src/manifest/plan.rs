//! What to do about a manifest, decided from the cache before anybody is asked. The handler does it; `explain` reports it.

use std::sync::Arc;

use crate::cache::{Cache, Freshness, HeldBack, HoldLookup, Key, Pointer, Standing, StoredManifest};
use crate::config::{CacheConfig, HoldRule};
use crate::error::Absence;
use crate::name::{Reference, Tag};
use crate::outcome::Reason;
use crate::request::RequestContext;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Serve the cached manifest.
    Hit(Reason),
    /// Ask the upstream, then serve the cached manifest.
    Ask,
    /// Fetch it.
    Fetch(Reason),
    /// Answer that there is none, without asking.
    Missing(Absence),
}

/// What the cache has of a manifest, and the plan that follows.
pub(crate) struct CacheLookup {
    /// Where the tag points.
    pub(crate) pointer: Option<Pointer>,
    /// The cached manifest.
    pub(crate) manifest: Option<Arc<StoredManifest>>,
    /// What to do.
    pub(crate) plan: Plan,
    /// How new digests of the tag are held.
    pub(crate) hold: Option<HoldRule>,
}

/// Looks in the cache.
pub(crate) async fn known(context: &RequestContext<'_>, cache: &Cache, reference: &Reference) -> CacheLookup {
    if context.is_absent(cache, reference.as_str()) && !context.wants_it_new() {
        return CacheLookup {
            pointer: None,
            manifest: None,
            plan: Plan::Missing(Absence::Remembered),
            hold: None,
        };
    }
    match reference {
        Reference::Digest(digest) => {
            let manifest = cache.metadata.manifest(digest).await;
            let plan = match &manifest {
                Some(_) if context.may_have(cache, digest).await => Plan::Hit(Reason::Digest),
                _ if context.is_offline() => Plan::Missing(Absence::Offline),
                Some(_) => Plan::Ask,
                None => Plan::Fetch(Reason::DigestAbsent),
            };
            CacheLookup { pointer: None, manifest, plan, hold: None }
        }
        Reference::Tag(tag) => {
            let (upstream, repository) = (context.upstream.name(), &context.target.name);
            let rule = cache.config().named_rule_for(upstream, repository.as_str(), tag.as_str());
            let hold = CacheConfig::hold_by(rule, tag.as_str());
            let pointer = match cache.metadata.pointer(&Key::tag(upstream, repository, tag.as_str())).await {
                None if hold.is_some() && context.is_offline() => led_to(context, cache, tag).await,
                pointer => pointer,
            };
            let manifest = match &pointer {
                Some(pointer) => cache.metadata.manifest(&pointer.digest).await,
                None => None,
            };
            let plan = match pointer.as_ref().filter(|_| manifest.is_some()) {
                // A tag whose manifest was deleted from the repository is not served: the upstream is asked.
                Some(pointer) if context.may_have(cache, &pointer.digest).await => {
                    let rule = cache.config().revalidate_by(rule);
                    let now = context.env.platform.clock.unix_seconds();
                    match pointer.must_ask(rule, context.wants_it_new(), now) {
                        _ if context.is_offline() => Plan::Hit(Reason::Offline),
                        Freshness::Fresh => Plan::Hit(Reason::TagFresh),
                        Freshness::Due => Plan::Ask,
                    }
                }
                _ if context.is_offline() => Plan::Missing(Absence::Offline),
                Some(_) => Plan::Ask,
                None => Plan::Fetch(Reason::TagAbsent),
            };
            CacheLookup { pointer, manifest, plan, hold }
        }
    }
}

/// Where a held tag leads by its record alone: a tag that was released or pinned is looked up anew, and offline nobody else can
/// be asked.
async fn led_to(context: &RequestContext<'_>, cache: &Cache, tag: &Tag) -> Option<Pointer> {
    let key = Key::hold(context.upstream.name(), &context.target.name, tag.as_str());
    let HoldLookup::Known { record, .. } = cache.metadata.holds.hold(&key).await else { return None };
    let (digest, held) = match record.standing() {
        Standing::Pinned(pinned) => (pinned, Some(HeldBack::Pinned)),
        Standing::Current(_) | Standing::Held { .. } if record.is_gone => return None,
        Standing::Current(digest) => (digest, None),
        Standing::Held { served, moved } => (served, Some(HeldBack::Moved(moved))),
        Standing::New(_) | Standing::Unknown => return None,
    };
    Some(Pointer { held, ..Pointer::confirmed(digest.clone(), 0) })
}
