//! What an upstream answered, as a value.

use std::time::Duration;

use http::{Response, StatusCode};

use crate::body::Body;
use crate::error::{Error, Failure, UpstreamText};

/// What an upstream answered: a 2xx, or a 3xx that is to be passed on; or what else it was.
///
/// A [`Negative`] converts into an [`Error`] only by [`Negative::into_error`], which is told what a 404 means. So `?` can turn
/// neither an outage into a missing image nor a 429 into a 404.
pub type Reply = Result<Response<Body>, Negative>;

/// Every answer but a usable one. Cheap to clone: it may be the answer to many requests that wait.
#[derive(Debug, Clone)]
pub enum Negative {
    /// 404.
    Missing(UpstreamText),
    /// 401 or 403, with the best credential there is.
    Refused(UpstreamText),
    /// 429, now or a moment ago.
    Limited {
        /// When to come again.
        retry_after: Duration,
    },
    /// 416.
    Unsatisfiable {
        /// Length of the whole in bytes, where the upstream said it.
        total: Option<u64>,
    },
    /// Any other 4xx.
    Declined(StatusCode, UpstreamText),
    /// No answer, or none that can be used.
    Failed(Failure),
}

impl Negative {
    /// Whether the upstream could not answer, so that an earlier answer may still hold (P-87).
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Limited { .. } | Self::Failed(_))
    }

    /// Whether a cached answer may be served instead: the upstream was silent, broken or busy (P-87). An answer that this proxy
    /// cannot use is an answer all the same.
    pub fn allows_stale(&self) -> bool {
        match self {
            Self::Limited { .. } => true,
            Self::Failed(failure) => failure.is_silence(),
            Self::Missing(_) | Self::Refused(_) | Self::Unsatisfiable { .. } | Self::Declined(..) => false,
        }
    }

    /// The error to answer with. `missing` is what a 404 means here.
    pub fn into_error(self, missing: impl FnOnce(UpstreamText) -> Error) -> Error {
        match self {
            Self::Missing(text) => missing(text),
            Self::Refused(text) => Error::Refused(text),
            Self::Limited { retry_after } => Error::Limited { retry_after },
            Self::Unsatisfiable { total } => Error::RangeNotSatisfiable { total: total.unwrap_or(0) },
            Self::Declined(status, text) => Error::Declined(status, text),
            Self::Failed(Failure::ClientBody) => Error::ClientBody,
            Self::Failed(failure) => Error::Upstream(failure),
        }
    }
}
