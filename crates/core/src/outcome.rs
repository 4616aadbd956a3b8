//! What was done with a request, and why: the `X-Registry-Proxy` header, a field of the log line and a metric label.

use std::fmt;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Done {
    /// Answered from what we know ourselves: the ping, a token.
    Answered,
    /// From the cache, without asking the upstream.
    Hit,
    /// From a fill that another request began.
    Joined,
    /// Fetched from the upstream, and kept.
    Filled,
    /// From the cache, after the upstream has confirmed it.
    Revalidated,
    /// From the cache, although it is due, since the upstream cannot be asked.
    Stale,
    /// Passed on from the upstream.
    Relayed,
    /// The client was sent elsewhere.
    Redirected,
    /// Declined by a rule or by the upstream's own decision.
    Refused,
    /// The upstream could not answer.
    Failed,
}

impl Done {
    /// The word for it, in the header, the log and the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Hit => "hit",
            Self::Joined => "joined",
            Self::Filled => "filled",
            Self::Revalidated => "revalidated",
            Self::Stale => "stale",
            Self::Relayed => "relayed",
            Self::Redirected => "redirected",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What was done, and the reason in a few words: a closed set of texts, so it can be a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// What was done.
    pub done: Done,
    /// Why.
    pub why: &'static str,
}

impl Outcome {
    /// An outcome with its reason.
    pub const fn new(done: Done, why: &'static str) -> Self {
        Self { done, why }
    }

    /// Passed on from the upstream, since nothing is kept.
    pub const fn relayed() -> Self {
        Self::new(Done::Relayed, "no store")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; why=\"{}\"", self.done.as_str(), self.why)
    }
}
