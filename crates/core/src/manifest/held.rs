//! A tag whose rule holds new digests: the upstream is asked where it points, as for any tag, and clients are led where the
//! hold decides ([`HoldRecord`]). A client's `no-cache` makes the proxy ask, and changes nothing in what is decided.

use std::sync::Arc;

use http::HeaderValue;

use super::by_digest::by_digest;
use super::fetch::{fetch_once, request_of_tag};
use super::lookup_error::{LookupError, RefusedBy};
use super::moved::{say_held, say_moved, say_released};
use super::plan::CacheLookup;
use super::revalidate::FoundManifest;
use super::upstream::{contradict_head, look};
use crate::cache::{
    Cache, HeldBack, HoldChange, HoldLookup, HoldRecord, Key, Pointer, Standing, TagGeneration, TagSeen,
};
use crate::config::{HoldNew, HoldRule};
use crate::digest::Digest;
use crate::error::{Age, Failure, Withheld};
use crate::name::{Reference, Tag};
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::within;
use crate::request::RequestContext;
use crate::shared_requests::{HeadAnswer, Manifest};
use crate::telemetry;
use crate::upstream::Negative;

/// Why a held tag is not served.
pub(super) enum HeldError {
    /// The upstream gave no usable answer.
    Lookup(LookupError),
    /// The hold does not let it through.
    Withheld(Withheld),
}

impl<E: Into<LookupError>> From<E> for HeldError {
    fn from(error: E) -> Self {
        Self::Lookup(error.into())
    }
}

/// Where the upstream points, and its manifest where it was fetched to find that out.
struct Seen {
    digest: Digest,
    manifest: Option<Manifest>,
}

/// A request for a held tag that is due or not cached.
pub(super) struct HeldTag<'a, 'v> {
    context: &'a RequestContext<'v>,
    cache: &'a Arc<Cache>,
    tag: &'a Tag,
    generation: TagGeneration,
    /// The key of its record.
    key: Key,
    rule: HoldRule,
    known: &'a CacheLookup,
    reference: Reference,
    accept: &'a HeaderValue,
}

/// Why a tag points elsewhere than at its upstream.
pub(crate) const fn why_held(held: HeldBack) -> Reason {
    match held {
        HeldBack::Moved(_) => Reason::TagMoved,
        HeldBack::Pinned => Reason::TagPinned,
    }
}

/// Marks a manifest that is not what the upstream has under the tag.
pub(super) fn marked((mut manifest, outcome): FoundManifest, held: Option<HeldBack>) -> FoundManifest {
    manifest.held = held;
    (manifest, held.map_or(outcome, |held| Outcome::new(Action::Held, why_held(held))))
}

/// Why a digest is not served: only a held tag of this repository names it.
pub(crate) async fn withheld_digest(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Option<Withheld> {
    let (upstream, repository) = (context.upstream.name(), &context.target.name);
    let tag = cache.metadata.holds.held_for(upstream, repository, digest).await?;
    let rule = cache.config().hold_for(upstream, repository.as_str(), tag.as_str())?;
    let key = Key::hold(upstream, repository, tag.as_str());
    let HoldLookup::Known { record, .. } = cache.metadata.holds.hold(&key).await else { return None };
    let now = context.env.platform.clock.unix_seconds();
    (rule.digests && record.holds(digest, rule, now))
        .then(|| Withheld::Digest { image: name_of(context, &tag), hold: Age { seconds: rule.span.0.as_secs() } })
}

fn name_of(context: &RequestContext<'_>, tag: &Tag) -> Box<str> {
    format!("{}/{}:{}", context.upstream.name(), context.target.name, tag.as_str()).into()
}

impl<'a, 'v> HeldTag<'a, 'v> {
    pub(super) fn new(
        context: &'a RequestContext<'v>,
        cache: &'a Arc<Cache>,
        tag: &'a Tag,
        rule: HoldRule,
        known: &'a CacheLookup,
        accept: &'a HeaderValue,
    ) -> Self {
        let (upstream, repository) = (context.upstream.name(), &context.target.name);
        let generation = cache.metadata.tag(Key::tag(upstream, repository, tag.as_str()));
        let key = Key::hold(upstream, repository, tag.as_str());
        let reference = Reference::Tag(tag.clone());
        Self { context, cache, tag, generation, key, rule, known, reference, accept }
    }

    /// Asks where the tag points, and finds what clients get for it.
    pub(super) async fn find(&self) -> Result<FoundManifest, HeldError> {
        let lookup = self.cache.metadata.holds.hold(&self.key).await;
        let (record, is_stored, is_readable) = match lookup {
            HoldLookup::Known { record, is_stored } => (record, is_stored, true),
            // Cached before there was a rule for it.
            HoldLookup::Absent => (self.adopted(), false, true),
            // Not kept: it would compete with the record that the store has.
            HoldLookup::Unreadable => (self.adopted(), false, false),
        };
        if let Standing::Pinned(pinned) = record.standing() {
            return self.serve(pinned, Some(HeldBack::Pinned), None).await;
        }
        let is_unknown = record == HoldRecord::default();
        let limit = self.context.env.settings.timeouts.first_byte.0;
        let clock = &*self.context.env.platform.clock;
        let seen = within(clock, limit, Box::pin(self.ask(is_unknown))).await;
        let seen = match seen.unwrap_or(Err(Negative::Failed(Failure::TimedOut).into())) {
            Ok(seen) => seen,
            Err(trouble) => {
                if is_readable && matches!(trouble.negative, Negative::Missing(_)) && !is_unknown {
                    let (gone, change) = record.observe(TagSeen::Gone, self.rule, clock.unix_seconds());
                    self.keep(&gone, &change, is_stored, None).await;
                }
                return Err(trouble.into());
            }
        };
        let now = clock.unix_seconds();
        let mut record = record;
        let (mut decided, mut change) = record.clone().observe(TagSeen::At(&seen.digest), self.rule, now);
        // An older move may have become available only now, and be gone at the registry: then the one before it is tried, and
        // after the last one the hold goes on. A record has few moves, and each is tried once.
        while let HoldChange::Taken { to, .. } = &change
            && *to != seen.digest
        {
            match self.serve(to, Some(HeldBack::Moved(decided.moved)), None).await {
                Err(HeldError::Withheld(_)) => {
                    record = record.without(to);
                    (decided, change) = record.clone().observe(TagSeen::At(&seen.digest), self.rule, now);
                }
                served @ (Ok(_) | Err(HeldError::Lookup(_))) => {
                    if served.is_ok() && is_readable {
                        self.keep(&decided, &change, is_stored, Some(&seen)).await;
                    }
                    return served;
                }
            }
        }
        if is_readable {
            self.keep(&decided, &change, is_stored, Some(&seen)).await;
        }
        match decided.standing() {
            Standing::Current(digest) => self.serve(digest, None, seen.manifest).await,
            Standing::Held { served, moved } => self.serve(served, Some(HeldBack::Moved(moved)), None).await,
            Standing::Pinned(pinned) => self.serve(pinned, Some(HeldBack::Pinned), None).await,
            Standing::New(newest) => {
                let age = Age { seconds: now.saturating_sub(newest.seen) };
                let hold = Age { seconds: self.rule.span.0.as_secs() };
                Err(HeldError::Withheld(Withheld::New { image: name_of(self.context, self.tag), age, hold }))
            }
            Standing::Unknown => Err(Negative::Failed(Failure::Nonsense("tag")).into()),
        }
    }

    /// What a tag without a record starts from.
    fn adopted(&self) -> HoldRecord {
        self.known.pointer.as_ref().map_or_else(HoldRecord::default, |it| HoldRecord::at(it.digest.clone()))
    }

    /// Asks where the tag points, once however many clients ask.
    async fn ask(&self, is_unknown: bool) -> Result<Seen, LookupError> {
        let Self { context, cache, ref reference, accept, .. } = *self;
        let key = (context.claim(), request_of_tag(context, &self.generation));
        // What is served at once is fetched at once.
        let looked = if is_unknown && self.rule.new == HoldNew::Serve && !context.is_head() {
            HeadAnswer::Unproven(None)
        } else {
            context.env.shared_requests.heads.join(&key, || look(context, reference, accept)).await?
        };
        match looked {
            HeadAnswer::Described(Manifest { digest, .. }) => {
                context.admitted(cache);
                return Ok(Seen { digest, manifest: None });
            }
            HeadAnswer::Found | HeadAnswer::Declined | HeadAnswer::Unproven(_) => {}
        }
        match (fetch_once(context, cache, reference, accept, None).await, looked) {
            (Ok(found), looked) => {
                contradict_head(context, &looked);
                Ok(Seen { digest: found.digest.clone(), manifest: Some(found) })
            }
            // No address could be asked: the refusal of the HEAD is the answer.
            (Err(Negative::Failed(Failure::Resting { .. })), HeadAnswer::Unproven(Some((_, negative)))) => {
                Err(LookupError { negative, refused_by: RefusedBy::Head, not_stale: None })
            }
            (Err(negative), _) => Err(negative.into()),
        }
    }

    /// Serves a digest for the tag, from the cache or from the registry.
    async fn serve(
        &self,
        digest: &Digest,
        held: Option<HeldBack>,
        found: Option<Manifest>,
    ) -> Result<FoundManifest, HeldError> {
        let Self { context, cache, accept, .. } = *self;
        let confirmed = context.env.platform.clock.unix_seconds();
        let pointer = Pointer { held, ..Pointer::confirmed(digest.clone(), confirmed) };
        let before = self.known.pointer.as_ref().map(|pointer| &pointer.digest);
        if let Some(found) = found {
            cache.metadata.point(&self.generation, pointer);
            let why = match before {
                Some(before) if before == digest => Outcome::new(Action::Revalidated, Reason::TagUnchanged),
                Some(_) => Outcome::new(Action::Filled, Reason::TagChanged),
                None => Outcome::new(Action::Filled, Reason::TagAbsent),
            };
            return Ok(marked((found, why), held));
        }
        if held.is_none() {
            context.claimed(cache, digest).await;
        }
        let cached = cache.metadata.manifest(digest).await;
        if let Some(cached) = &cached
            && context.may_have(cache, digest).await
        {
            cache.metadata.link_manifest(&context.provenance(), cached, Some((self.generation.clone(), pointer)));
            let why = if before == Some(digest) { Reason::TagUnchanged } else { Reason::TagKnown };
            return Ok(marked((Manifest::from_cached(cached), Outcome::new(Action::Revalidated, why)), held));
        }
        if context.is_offline() {
            return Err(self.gone(digest));
        }
        let reference = Reference::Digest(digest.clone());
        match by_digest(context, cache, digest, cached.as_ref(), &reference, accept).await {
            Ok(found) => {
                cache.metadata.point(&self.generation, pointer);
                Ok(marked(found, held))
            }
            Err(Negative::Missing(_)) if held.is_some() => Err(self.gone(digest)),
            Err(negative) => Err(negative.into()),
        }
    }

    fn gone(&self, digest: &Digest) -> HeldError {
        HeldError::Withheld(Withheld::Gone { image: name_of(self.context, self.tag), digest: digest.clone() })
    }

    /// Keeps what was decided, and tells of it once.
    async fn keep(&self, record: &HoldRecord, change: &HoldChange, is_stored: bool, seen: Option<&Seen>) {
        let Self { context, cache, rule, .. } = *self;
        let until = record.until(rule);
        if !cache.metadata.holds.keep_hold(&self.key, record, is_stored) {
            return;
        }
        let (upstream, repository) = (context.upstream.name(), &context.target.name);
        let image = name_of(context, self.tag);
        match change {
            HoldChange::Moved { from, to } => {
                telemetry::tag_moved(context.upstream.label());
                if let Some(from) = from {
                    say_moved(context, self.tag.as_str(), from, to);
                }
                let hold_seconds = rule.span.0.as_secs();
                say_held(context, self.tag.as_str(), record.served.as_ref(), to, hold_seconds);
                let from = from.as_ref().map(tracing::field::display);
                tracing::info!(tag = %image, from, to = %to, held_until = until, "tag moved");
                // A digest that this repository has shown before is not known by this tag alone.
                let is_fetched = seen.is_some_and(|seen| seen.manifest.is_some());
                if rule.digests && (is_fetched || cache.metadata.linked(upstream, repository, to).await.is_none())
                {
                    let key = Key::held_digest(upstream, repository, to);
                    cache.metadata.holds.set_held_for(key, Some(self.tag.clone()));
                }
            }
            HoldChange::Taken { from, to } => {
                say_released(context, self.tag.as_str(), from.as_ref(), to);
                let from = from.as_ref().map(tracing::field::display);
                tracing::info!(tag = %image, from, to = %to, "held tag goes on");
                self.let_digest_go(to).await;
            }
            HoldChange::First => {
                if let Some(seen) = seen {
                    self.let_digest_go(&seen.digest).await;
                }
            }
            HoldChange::Back => tracing::info!(tag = %image, "held tag moved back"),
            HoldChange::Gone => tracing::info!(tag = %image, "held tag was deleted at its registry"),
            HoldChange::None => {}
        }
    }

    /// A tag leads clients to a digest: it is held for no other any more.
    async fn let_digest_go(&self, digest: &Digest) {
        let Self { context, cache, rule, .. } = *self;
        let (upstream, repository) = (context.upstream.name(), &context.target.name);
        if rule.digests && cache.metadata.holds.held_for(upstream, repository, digest).await.is_some() {
            cache.metadata.holds.set_held_for(Key::held_digest(upstream, repository, digest), None);
        }
    }
}
