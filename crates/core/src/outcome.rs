//! What was done with a request, and why: the `X-Registry-Proxy` header, a field of the log line and a metric label.

use std::fmt;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Done {
    /// Answered from what we know ourselves: the ping, a token.
    Answered,
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
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; why=\"{}\"", self.done.as_str(), self.why)
    }
}
