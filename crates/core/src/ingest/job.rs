//! Work that a request hands to an invocation of its own: what to bring into the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, Described};
use crate::digest::Digest;
use crate::guard::Guard;
use crate::platform::{Clock, Ingest, Invoke, InvokeError, Moment, within};
use crate::upstream::Identity;
use crate::visit::Visit;

/// How long an invocation that was begun is taken to be at it.
const LIFE: Duration = Duration::from_mins(1);
/// How long the platform may take to begin one.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most that are remembered.
const MAX_BEGUN: usize = 1000;
/// Invocations for one manifest that are begun at once.
const AT_ONCE: usize = 8;

/// What is to be brought into the store, from where. No credential: it is asked for as ourselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    /// The upstream's name.
    pub(crate) upstream: String,
    /// The repository, as the upstream calls it.
    pub(crate) repository: String,
    /// The blob.
    pub(crate) digest: String,
    /// Its length, in bytes.
    pub(crate) total: u64,
}

/// As it travels.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    #[serde(rename = "registry-proxy/ingest")]
    job: Job,
}

impl Job {
    /// For the platform.
    pub(crate) fn to_event(&self) -> String {
        serde_json::to_string(&Event { job: self.clone() }).unwrap_or_default()
    }

    /// `None`: it is another event.
    pub(crate) fn from_event(event: &str) -> Option<Self> {
        serde_json::from_str::<Event>(event).ok().map(|event| event.job)
    }
}

/// Which invocations were begun lately.
#[derive(Default)]
pub(crate) struct Invocations {
    begun: Mutex<HashMap<String, Moment>>,
}

impl Invocations {
    /// Begins one, unless one was begun a moment ago. Whether somebody is at it.
    pub(crate) async fn begin(&self, invoker: &dyn Invoke, clock: &dyn Clock, job: &Job) -> bool {
        let now = clock.now();
        {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            begun.retain(|_, until| now < *until);
            if begun.contains_key(&job.digest) {
                return true;
            }
            if begun.len() < MAX_BEGUN {
                begun.insert(job.digest.clone(), now.after(LIFE));
            }
        }
        let said = within(clock, PATIENCE, invoker.invoke(job.to_event())).await;
        let is_begun = matches!(said, Ok(Ok(())));
        if !is_begun {
            if let Ok(Err(error)) = &said {
                let source = std::error::Error::source(error).map(tracing::field::display);
                tracing::warn!(error = source, "{error}; this request does the work itself");
            }
            self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(&job.digest);
        }
        is_begun
    }
}

/// Begins invocations, and counts what they will fetch.
pub(crate) struct Counted<'a> {
    pub(crate) invoker: &'a dyn Invoke,
    pub(crate) guard: &'a Guard,
    pub(crate) cache: Option<&'a Arc<Cache>>,
    pub(crate) digest: &'a Digest,
    pub(crate) total: u64,
}

#[async_trait]
impl Invoke for Counted<'_> {
    async fn invoke(&self, event: String) -> Result<(), InvokeError> {
        // What is on its way already has been counted, perhaps by another instance.
        let is_new = match self.cache {
            Some(cache) => cache.parked(self.digest).await.is_none(),
            None => true,
        };
        self.invoker.invoke(event).await?;
        if is_new {
            self.guard.fetched(self.total);
        }
        Ok(())
    }
}

/// A client that has a manifest will want what it names: what no answer can carry is begun at once.
pub(crate) async fn begin_for(visit: &Visit<'_>, cache: &Cache, manifest: &[u8]) {
    let limits = &visit.platform.limits;
    let abilities = cache.abilities();
    if limits.ingest != Ingest::SelfInvoke
        || !(abilities.links && abilities.uploads)
        || !matches!(visit.identity, Identity::Ours)
    {
        return;
    }
    let large = Described::of(manifest).blobs.into_iter().filter_map(|piece| {
        let size = piece.size.filter(|size| !limits.carries_well(Some(*size)))?;
        Some((piece.digest, size))
    });
    let work = large.map(|(digest, size)| -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if digest.is_computable() && cache.blob_length(&digest).await.is_none() {
                visit.invoke_ingest(&digest, size).await;
            }
        })
    });
    let work: Vec<_> = work.collect();
    let all = stream::iter(work).buffer_unordered(AT_ONCE).for_each(|()| std::future::ready(()));
    // The manifest does not wait for it.
    let _ = within(&*visit.platform.clock, PATIENCE, all).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_back_and_others_are_none() {
        let job = Job {
            upstream: "docker.io".into(),
            repository: "library/alpine".into(),
            digest: "sha256:1".into(),
            total: 7,
        };
        assert_eq!(Job::from_event(&job.to_event()), Some(job.clone()));
        for other in
            ["", "{}", "7", r#"{"version":"2.0","rawPath":"/"}"#, &job.to_event().replace("total", "size")]
        {
            assert_eq!(Job::from_event(other), None, "{other}");
        }
    }
}
