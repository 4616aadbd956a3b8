//! An event of our own: an invocation that brings one blob into the store, as far as the time that the platform gives it
//! suffices, and then begins the next invocation.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};

use super::Proxy;
use crate::digest::Digest;
use crate::ingest::{BlobIngest, Job, Slice, can_be_sliced};
use crate::name::RepositoryName;
use crate::platform::RequestPurpose;
use crate::relay::Source;
use crate::upstream::{Actions, Ask, Identity};

/// The part of an invocation's time that is kept for putting the parts together and for storing the checkpoint: this long,
/// or half of the time.
const RESERVE: Duration = Duration::from_secs(20);

/// Why an event had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// It is not an event of this proxy.
    #[error("not an event of this proxy")]
    Foreign,
    /// It names an upstream, a repository or a digest that is not served here.
    #[error("the event names an upstream, a repository or a digest that this proxy does not serve")]
    Unserved,
    /// There is no store that takes a blob part by part.
    #[error("there is no store that takes uploads in parts: cache.store")]
    NoStore,
    /// The quota of all clients together is used up.
    #[error("nothing more is fetched for now: quota.total")]
    Exhausted,
    /// The upstream or the store failed; requests for the blob go on where this stopped.
    #[error("the blob could not be uploaded to the store")]
    Failed,
}

impl Proxy {
    /// Works on the blob that an event names, for at most `limit`.
    pub async fn event(&self, event: &str, limit: Duration) -> Result<(), EventError> {
        let job = Job::from_event(event).ok_or(EventError::Foreign)?;
        let upstream = self.upstreams.iter().find(|upstream| upstream.name() == job.upstream);
        let upstream = upstream.ok_or(EventError::Unserved)?;
        let name = RepositoryName::parse(&job.repository).map_err(|_| EventError::Unserved)?;
        let digest = Digest::parse(&job.digest).map_err(|_| EventError::Unserved)?;
        if !upstream.permits(&name) || !can_be_sliced(&digest) {
            return Err(EventError::Unserved);
        }
        self.env.quotas.keep_up().await;
        if !self.env.quotas.may_fetch(0) {
            return Err(EventError::Exhausted);
        }
        let cache = self
            .env
            .cache
            .as_ref()
            .filter(|cache| cache.backend.capabilities().uploads)
            .ok_or(EventError::NoStore)?;
        let clock = &self.env.platform.clock;
        let ask = Ask {
            method: Method::GET,
            name,
            endpoint: format!("blobs/{digest}"),
            query: None,
            headers: HeaderMap::new(),
            identity: Identity::Ours,
            actions: Actions::Pull,
            mount_from: None,
            purpose: RequestPurpose::Blob,
            is_continuation: false,
        };
        let source = Source {
            upstream: Arc::clone(upstream),
            ask,
            clock: Arc::clone(clock),
            idle: self.env.settings.timeouts.idle.0,
            down: self.env.settings.timeouts.down.0,
            storage: None,
            total: None,
        };
        let provenance = upstream.provenance(&source.ask.identity, &source.ask.name, cache.metadata.generation());
        let ingest = BlobIngest {
            cache: Arc::clone(cache),
            clock: Arc::clone(clock),
            source,
            provenance,
            digest,
            total: job.total,
        };
        let reserve = RESERVE.min(limit / 2);
        let work = ingest.slice(clock.now().after(limit.saturating_sub(reserve))).await;
        self.env.quotas.fetched(work.got);
        if work.slice == Slice::Parked {
            self.go_on_with(&job, work.is_farther).await;
        }
        self.env.quotas.exchange_if_due().await;
        cache.backend.flush(reserve).await;
        if work.slice == Slice::Failed { Err(EventError::Failed) } else { Ok(()) }
    }

    /// Begins the next invocation, unless this one got no farther than the one before: then no other would either.
    async fn go_on_with(&self, job: &Job, is_farther: bool) {
        let Some(invoker) = &self.env.platform.invoker else { return };
        if !is_farther {
            tracing::warn!(
                digest = job.digest,
                "an invocation uploaded nothing to the store: is its timeout too short?"
            );
        } else if let Err(error) = invoker.invoke(job.to_event()).await {
            let source = std::error::Error::source(&error).map(tracing::field::display);
            tracing::warn!(error = source, "{error}; the next request for the blob continues the upload");
        }
    }
}
