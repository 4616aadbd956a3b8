//! What a handler returns.

use http::{HeaderValue, Response};

use crate::body::Body;
use crate::outcome::{Action, Outcome, Reason};

/// A response, and what was done to get it.
pub(crate) struct HandlerResponse {
    /// The client gets this.
    pub(crate) response: Response<Body>,
    /// Header, log and metrics say this.
    pub(crate) outcome: Outcome,
}

/// In a response's extensions: the value of `X-Registry-Proxy` of a held tag, which names the time.
#[derive(Debug, Clone)]
pub(crate) struct HeldHeader(pub(crate) HeaderValue);

impl HandlerResponse {
    /// A response with its outcome.
    pub(crate) fn new(response: Response<Body>, action: Action, reason: Reason) -> Self {
        Self { response, outcome: Outcome::new(action, reason) }
    }

    /// An upstream's response to a request that is never answered from the cache.
    pub(crate) fn relayed(response: Response<Body>) -> Self {
        Self::new(response, Action::Relayed, Reason::NeverKept)
    }
}
