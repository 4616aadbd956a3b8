//! Blobs where the platform cannot carry every answer, or where the configuration wants links. Such a blob goes by a link
//! into our store, by the upstream's own link, or not at all. An answer that the platform can carry goes the usual way.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{AUTHORIZATION, RANGE, USER_AGENT};
use url::Url;

use super::hit::admit;
use super::length::{confirm, known_length};
use super::redirect::redirect_to;
use super::relay::relay;
use super::upstream::{ask_for, source_of};
use super::window::accept;
use crate::backoff::Backoff;
use crate::cache::Cache;
use crate::config::Links;
use crate::delivery::{BlobLocation, DeliveryMethod, check_link, decide, otherwise};
use crate::digest::Digest;
use crate::error::{Error, Obstacle};
use crate::ingest::{BlobIngest, Slice, can_be_sliced};
use crate::outcome::Reason;
use crate::platform::{IngestMode, Moment, StoreCapabilities};
use crate::quota::Linked;
use crate::range::RangeSpec;
use crate::request::invoke::invoke;
use crate::request::{HandlerResponse, RequestContext};
use crate::upstream::{Identity, Redirected};

/// Pauses between two looks at whether another request has brought a blob into the store: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(200);
const LONGEST_BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// The part of `timeouts.head` that is kept for the answer after the hold: a slice may overrun its time, and the
/// upstream may be asked.
const REST: Duration = Duration::from_secs(5);
/// How soon a separate invocation should have begun to work.
const SOON: Duration = Duration::from_secs(3);

/// A request for a blob that perhaps cannot go through this proxy.
struct Offload<'a, 'v> {
    context: &'a RequestContext<'v>,
    cache: Option<&'a Arc<Cache>>,
    digest: &'a Digest,
    wanted: Option<RangeSpec>,
}

/// Answers where the blob does not go the usual way; `None`: it does.
pub(super) async fn get(
    context: &RequestContext<'_>,
    cache: Option<&Arc<Cache>>,
    digest: &Digest,
    wanted: Option<RangeSpec>,
) -> Result<Option<HandlerResponse>, Error> {
    let capabilities = &context.env.platform.capabilities;
    if capabilities.carries_well(None) && context.env.settings.delivery.links != Links::Always {
        return Ok(None);
    }
    Box::pin(Offload { context, cache, digest, wanted }.get()).await
}

impl Offload<'_, '_> {
    async fn get(&self) -> Result<Option<HandlerResponse>, Error> {
        let Self { context, digest, .. } = self;
        if let Some(cache) = self.cache
            && let Some(total) = cache.blobs.blob_length(digest).await
        {
            if admit(context, cache, digest).await?.is_none() {
                // The stored bytes came from another registry, for its own clients: this registry has to give them itself.
                let is_carried = context.env.platform.capabilities.carries(self.length(Some(total)));
                return if is_carried { Ok(None) } else { self.send_to_upstream(Some(total)).await };
            }
            return match self.decide(BlobLocation::Stored, Some(total)) {
                DeliveryMethod::Link => self.link(cache, Reason::StoreLink, total).await,
                DeliveryMethod::Refuse(obstacle) => Err(self.refusal(Some(total), obstacle)),
                _ => Ok(None),
            };
        }
        if context.env.platform.capabilities.carries_well(None) {
            return Ok(None);
        }
        let total = match self.cache {
            Some(cache) => confirm(context, cache, digest).await?,
            None => known_length(context, digest).await?,
        };
        match (self.decide(BlobLocation::Upstream, total), self.cache, total) {
            (DeliveryMethod::Ingest, Some(cache), Some(total)) => self.ingest(cache, total).await,
            (DeliveryMethod::Upstream | DeliveryMethod::Ingest, ..) => self.send_to_upstream(total).await,
            (DeliveryMethod::Refuse(obstacle), ..) => Err(self.refusal(total, obstacle)),
            (DeliveryMethod::Through | DeliveryMethod::Link, ..) => Ok(None),
        }
    }

    fn decide(&self, location: BlobLocation, total: Option<u64>) -> DeliveryMethod {
        decide(
            &self.context.env.platform.capabilities,
            &self.context.env.settings.delivery,
            self.store_capabilities(),
            location,
            self.length(total),
        )
    }

    /// What the store can do for this blob.
    fn store_capabilities(&self) -> StoreCapabilities {
        let store = self.cache.map_or(StoreCapabilities::default(), |cache| cache.backend.capabilities());
        StoreCapabilities { uploads: store.uploads && can_be_sliced(self.digest), ..store }
    }

    /// The length of the answer's body in bytes.
    fn length(&self, total: Option<u64>) -> Option<u64> {
        match (self.wanted, total) {
            (Some(spec), Some(total)) => spec.within(total).map_or(Some(0), |range| Some(range.length())),
            (_, total) => total,
        }
    }

    /// Answers with a link into our store; `None`: there is no link, and the platform can carry the answer.
    async fn link(&self, cache: &Arc<Cache>, why: Reason, total: u64) -> Result<Option<HandlerResponse>, Error> {
        let context = self.context;
        let link = cache.blobs.link(self.digest, context.env.settings.delivery.link_life.0).await;
        let fit = link.as_ref().map(|url| self.check(url));
        if let (Some(url), Some(Ok(()))) = (&link, fit) {
            let mut answer = redirect_to(url.as_str(), why);
            answer.response.extensions_mut().insert(Linked(self.length(Some(total)).unwrap_or(total)));
            return Ok(Some(answer));
        }
        let length = self.length(Some(total));
        if context.env.platform.capabilities.carries(length) {
            return Ok(None);
        }
        // Where the store fails, or its links lead nowhere, the upstream can still give the answer.
        match (otherwise(&context.env.platform.capabilities, &context.env.settings.delivery, length), fit) {
            (Some(DeliveryMethod::Upstream), _) => self.send_to_upstream(Some(total)).await,
            (_, Some(Err(unfit))) => Err(self.refusal(Some(total), unfit)),
            (_, Some(Ok(())) | None) => Err(self.come_again()),
        }
    }

    fn check(&self, url: &Url) -> Result<(), Obstacle> {
        let context = self.context;
        let is_logged_in = context.head.headers.contains_key(AUTHORIZATION);
        let fits = check_link(&context.env.platform.capabilities, url, &context.client_view.host, is_logged_in);
        fits.inspect_err(|unfit| tracing::warn!(host = url.host_str(), "a signed link cannot be used: {unfit}"))
    }

    /// Brings the blob into the store, and waits for that as long as a client may be held.
    async fn ingest(&self, cache: &Arc<Cache>, total: u64) -> Result<Option<HandlerResponse>, Error> {
        let context = self.context;
        let clock = &context.env.platform.clock;
        // The time that this request has already waited counts too (P-113).
        let last = context.started.after(context.env.settings.timeouts.head.0.saturating_sub(REST));
        let until = last.min(clock.now().after(context.env.settings.delivery.hold.0));
        // A separate invocation begins soon, unless held requests use up all that may run: then this one works.
        let is_done =
            self.is_invoked(total).await && self.appears(cache, until.min(clock.now().after(SOON))).await;
        let slice = if is_done { Slice::Whole } else { self.slice(cache, total, until).await };
        let is_whole = match slice {
            Slice::Whole => true,
            Slice::Theirs => self.appears(cache, until).await,
            Slice::Parked | Slice::Failed => false,
        };
        if is_whole {
            return self.link(cache, Reason::StoreFilled, total).await;
        }
        match otherwise(
            &context.env.platform.capabilities,
            &context.env.settings.delivery,
            self.length(Some(total)),
        ) {
            Some(DeliveryMethod::Upstream) => self.send_to_upstream(Some(total)).await,
            Some(_) => Ok(None),
            None => Err(self.come_again()),
        }
    }

    /// Whether a separate invocation was begun for the blob.
    async fn is_invoked(&self, total: u64) -> bool {
        let context = self.context;
        // The payload of an invocation never contains a client's own login.
        context.env.platform.capabilities.ingest == IngestMode::SelfInvoke
            && matches!(context.identity, Identity::Ours)
            && invoke(context, self.digest, total).await
    }

    /// Does a slice of the work in this request, unless another request does it.
    async fn slice(&self, cache: &Arc<Cache>, total: u64, until: Moment) -> Slice {
        let context = self.context;
        let ask = ask_for(context, self.digest, Method::GET);
        let ingest = BlobIngest {
            cache: Arc::clone(cache),
            clock: Arc::clone(&context.env.platform.clock),
            source: source_of(context, ask, None),
            provenance: context.provenance(),
            digest: self.digest.clone(),
            total,
        };
        ingest.slice(until).await.slice
    }

    /// Waits until another request has brought the blob into the store.
    async fn appears(&self, cache: &Cache, until: Moment) -> bool {
        let clock = &self.context.env.platform.clock;
        let mut backoff = Backoff::new(FIRST_LOOK, LONGEST_BETWEEN_LOOKS);
        loop {
            let left = until.since(clock.now());
            if left.is_zero() {
                return false;
            }
            clock.sleep(backoff.pause().min(left)).await;
            if cache.blobs.blob_length(self.digest).await.is_some() {
                return true;
            }
        }
    }

    /// Answers with the address that the upstream names for the blob. Some upstreams name none, and send the bytes.
    async fn send_to_upstream(&self, total: Option<u64>) -> Result<Option<HandlerResponse>, Error> {
        let Self { context, digest, wanted, .. } = *self;
        let mut ask = ask_for(context, digest, Method::GET);
        ask.headers.extend(wanted.map(|spec| (RANGE, spec.to_header())));
        let reply = match context.upstream.locate_blob(&ask).await {
            Redirected::To(link) => {
                let fit = self.check(link.url()).map(|()| redirect_to(link.as_written(), Reason::UpstreamLink));
                return fit.map(Some).map_err(|unfit| self.refusal(total, unfit));
            }
            Redirected::Reply(reply) => reply,
        };
        let (window, response) = accept(context, digest, wanted, reply).await?;
        if context.env.platform.capabilities.carries(self.length(total)) {
            return relay(context, digest, ask, window, response).await.map(Some);
        }
        drop(response);
        let store = self.store_capabilities();
        Err(if store.links && store.uploads { self.come_again() } else { self.refusal(total, Obstacle::NoStore) })
    }

    fn come_again(&self) -> Error {
        // Docker's engine takes a 429 for final and tries again after a 5xx; all other clients do it the other way round.
        let agent = self.context.head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        Error::NotYet { is_for_docker: agent.is_some_and(|agent| agent.starts_with("docker/")) }
    }

    fn refusal(&self, total: Option<u64>, obstacle: Obstacle) -> Error {
        let capabilities = &self.context.env.platform.capabilities;
        let limit_bytes = capabilities.max_inline_body.max(capabilities.max_streamed_body).unwrap_or(0);
        Error::Undeliverable { platform: capabilities.profile, limit_bytes, length: self.length(total), obstacle }
    }
}
