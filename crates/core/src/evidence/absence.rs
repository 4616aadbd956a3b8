//! What an upstream has just said that it does not have (`cache.negative_ttl`).

use quick_cache::sync::Cache;

use super::Claim;
use crate::platform::Moment;

/// How a request asks, and how the upstream was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// HEAD. Some registries refuse it for what they give (public.ecr.aws, Harbor's proxy cache), so a 404 of it says
    /// nothing of a GET.
    Head,
    /// GET.
    Get,
}

/// Answers of 404, in memory only, by client and by kind and reference: `blobs/sha256:…`.
pub(crate) struct Absences(Cache<(Claim, Box<str>), Absence>);

#[derive(Debug, Clone, Copy)]
struct Absence {
    until: Moment,
    by: Asked,
}

impl Absences {
    /// At most so many.
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// The upstream has answered 404.
    pub(crate) fn note(&self, claim: Claim, reference: Box<str>, by: Asked, until: Moment) {
        let key = (claim, reference);
        // What a GET has found out is worth more than what a HEAD says after it.
        let is_weaker = by == Asked::Head && self.0.get(&key).is_some_and(|known| known.by == Asked::Get);
        if !is_weaker {
            self.0.insert(key, Absence { until, by });
        }
    }

    /// Whether a 404 that was heard before answers this request. Where pushes pass, a HEAD is never answered so: it may
    /// be a pusher's question whether an upload has arrived.
    pub(crate) fn answers(
        &self,
        claim: &Claim,
        reference: &str,
        asks: Asked,
        takes_pushes: bool,
        now: Moment,
    ) -> bool {
        let known = self.0.get(&(claim.clone(), reference.into())).filter(|known| now < known.until);
        match (known.map(|known| known.by), asks) {
            (None, _) | (Some(Asked::Head), Asked::Get) => false,
            (Some(Asked::Get), Asked::Get) => true,
            (Some(Asked::Head | Asked::Get), Asked::Head) => !takes_pushes,
        }
    }

    /// Something was pushed or deleted: none of it is sure any more.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}
