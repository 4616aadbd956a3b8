//! Work that a request hands to a separate invocation: one blob to bring into the store.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::platform::{Clock, Invoke, Moment, within};
use crate::quota::Quotas;

/// How long an invocation that was begun counts as running.
const LIFE: Duration = Duration::from_mins(1);
/// How long the platform may take to begin one.
pub(crate) const INVOKE_TIME: Duration = Duration::from_secs(3);
/// Most invocations that are remembered.
const MAX_BEGUN: usize = 1000;

/// The blob to bring into the store, and where it comes from. It contains no credential: the invocation uses our own login.
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

/// The event's JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IngestEvent {
    #[serde(rename = "registry-proxy/ingest")]
    job: Job,
}

impl Job {
    /// The event for the platform.
    pub(crate) fn to_event(&self) -> String {
        serde_json::to_string(&IngestEvent { job: self.clone() }).unwrap_or_default()
    }

    /// `None`: it is another event.
    pub(crate) fn from_event(event: &str) -> Option<Self> {
        serde_json::from_str::<IngestEvent>(event).ok().map(|event| event.job)
    }
}

/// The invocations that were begun lately.
#[derive(Default)]
pub(crate) struct Invocations {
    begun: Mutex<HashMap<String, StartedJob>>,
}

struct StartedJob {
    until: Moment,
    /// The length of its blob in bytes, as a manifest says.
    promised: u64,
}

impl Invocations {
    /// Begins an invocation, unless one for this blob was begun lately. Returns whether one is running.
    pub(crate) async fn begin(&self, invoker: &dyn Invoke, clock: &dyn Clock, quotas: &Quotas, job: &Job) -> bool {
        if let Some(is_begun) = self.take(clock.now(), quotas, job) {
            return is_begun;
        }
        let said = within(clock, INVOKE_TIME, invoker.invoke(job.to_event())).await;
        let is_begun = matches!(said, Ok(Ok(())));
        if !is_begun {
            if let Ok(Err(error)) = &said {
                let source = std::error::Error::source(error).map(tracing::field::display);
                tracing::warn!(error = source, "{error}; this request does the work itself");
            }
            self.begun().remove(&job.digest);
        }
        is_begun
    }

    /// `None`: the caller is to begin the invocation. Otherwise whether one is running. An invocation counts the bytes that
    /// it fetches; until then the length that a manifest names only keeps further invocations from being begun.
    fn take(&self, now: Moment, quotas: &Quotas, job: &Job) -> Option<bool> {
        let mut begun = self.begun();
        begun.retain(|_, begun| now < begun.until);
        if begun.contains_key(&job.digest) {
            return Some(true);
        }
        let promised = begun.values().fold(0, |all: u64, begun| all.saturating_add(begun.promised));
        if begun.len() >= MAX_BEGUN || !quotas.may_fetch(promised) {
            return Some(false);
        }
        begun.insert(job.digest.clone(), StartedJob { until: now.after(LIFE), promised: job.total });
        None
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<String, StartedJob>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
