//! References for which an upstream has answered 404 lately (`cache.negative_ttl`).

use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::ClientScope;
use crate::platform::Moment;

/// How a request asks, and how the upstream was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookupMethod {
    /// HEAD. Some registries refuse it for what they give (public.ecr.aws, Harbor's proxy cache), so a 404 of it says
    /// nothing of a GET.
    Head,
    /// GET.
    Get,
}

/// Answers of 404, in memory only, by client and by kind and reference: `blobs/sha256:…`.
pub(crate) struct Absences {
    known: Cache<(ClientScope, Box<str>), KnownAbsence>,
    /// Milliseconds until the last of them is over: from then on no request need look.
    until: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct KnownAbsence {
    until: Moment,
    by: LookupMethod,
}

impl Absences {
    /// At most so many.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { known: Cache::new(capacity), until: AtomicU64::new(0) }
    }

    /// Whether any absence may still be remembered.
    pub(crate) fn may_know(&self, now: Moment) -> bool {
        now.0.as_millis() < u128::from(self.until.load(Ordering::Relaxed))
    }

    /// The upstream has answered 404, `now`.
    pub(crate) fn note(
        &self,
        claim: ClientScope,
        reference: Box<str>,
        by: LookupMethod,
        now: Moment,
        until: Moment,
    ) {
        let key = (claim, reference);
        // What a GET has found out is worth more than what a HEAD says after it.
        let by_get = |known: KnownAbsence| known.by == LookupMethod::Get && now < known.until;
        let is_weaker = by == LookupMethod::Head && self.known.get(&key).is_some_and(by_get);
        if !is_weaker {
            let millis = u64::try_from(until.0.as_millis()).unwrap_or(u64::MAX);
            self.until.fetch_max(millis.saturating_add(1), Ordering::Relaxed);
            self.known.insert(key, KnownAbsence { until, by });
        }
    }

    /// Whether a 404 that was heard before answers this request. Where pushes pass, a HEAD is never answered so: it may
    /// be a pusher's question whether an upload has arrived.
    pub(crate) fn answers(
        &self,
        claim: &ClientScope,
        reference: &str,
        asks: LookupMethod,
        takes_pushes: bool,
        now: Moment,
    ) -> bool {
        let known = self.known.get(&(claim.clone(), reference.into())).filter(|known| now < known.until);
        match (known.map(|known| known.by), asks) {
            (None, _) | (Some(LookupMethod::Head), LookupMethod::Get) => false,
            (Some(LookupMethod::Get), LookupMethod::Get) => true,
            (Some(LookupMethod::Head | LookupMethod::Get), LookupMethod::Head) => !takes_pushes,
        }
    }

    /// Forgets all of them: something was pushed or deleted.
    pub(crate) fn clear(&self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::name::RepositoryName;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn a_404_that_is_over_keeps_no_later_one_from_being_remembered() {
        let absences = Absences::new(10);
        let name = RepositoryName::parse("a/b").expect("a name");
        let claim = ClientScope::new("up.test", &name, [0; 16]);
        let is_absent = |now| absences.answers(&claim, "manifests/v1", LookupMethod::Head, false, at(now));
        absences.note(claim.clone(), "manifests/v1".into(), LookupMethod::Get, at(0), at(10));
        absences.note(claim.clone(), "manifests/v1".into(), LookupMethod::Head, at(5), at(15));
        assert!(is_absent(9) && !is_absent(12), "a GET says more, while it lasts");
        absences.note(claim.clone(), "manifests/v1".into(), LookupMethod::Head, at(12), at(22));
        assert!(is_absent(21));
    }
}
