//! What an upstream answered, as a value.

use std::fmt;
use std::time::Duration;

use http::{Response, StatusCode};

use super::said::UpstreamText;
use crate::body::Body;
use crate::error::Error;
use crate::outcome::Reason;
use crate::platform::Unconnected;

/// When it is worth while to come again after a failure that may be over by then.
const SOON: Duration = Duration::from_secs(1);

/// What an upstream answered: a 2xx, or a 3xx that is to be passed on; or what else it was.
///
/// A [`Negative`] converts into an [`Error`] only by [`Negative::into_error`], which is told what a 404 means. So `?` can turn
/// neither an outage into a missing image nor a 429 into a 404.
pub type Reply = Result<Response<Body>, Negative>;

/// Why an upstream gave no usable answer, in words for whoever pulls: without any address, which may be an internal one.
/// Cheap to clone: one failure may be the answer to many who wait.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection to any of its addresses.
    #[error("{0}")]
    Unreachable(Unconnected),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// All addresses, or a host that they lead to, failed a moment ago and are left alone for a while. With what they
    /// failed by.
    #[error("{trouble} a moment ago; it is not asked again for some seconds")]
    Resting {
        /// By what they failed.
        trouble: Trouble,
        /// For how long they are still left alone.
        left: Duration,
    },
    /// 5xx.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// Its connection cap is reached.
    #[error("all connections that this proxy may have to it are in use (upstream.max_connections)")]
    Busy,
    /// It sent coded bytes although asked not to, which are not decoded (P-93).
    #[error("it sent compressed content although asked not to")]
    Coded,
    /// The bytes are not those of the digest (P-85).
    #[error("its content does not match the requested digest")]
    DigestMismatch,
    /// No manifest in any known form.
    #[error("its response is not a manifest")]
    NoManifest,
    /// More than a named limit allows.
    #[error("its response is larger than the limit")]
    TooLarge,
    /// A redirect that is not followed: no target, too many, to http, or to a private address.
    #[error("its redirect is not followed: {0}")]
    Redirect(&'static str),
    /// Its token server is not one the password may go to (architecture: realms).
    #[error("its token server is not trusted with the password; see upstream.realms")]
    RealmNotTrusted,
    /// Its answer makes no sense.
    #[error("its response is invalid: {0}")]
    Nonsense(&'static str),
    /// Not its failure: what the client was sending to it broke off, or stood still.
    #[error("the request's body broke off")]
    ClientBody,
}

/// What an address failed by, so that it is left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trouble {
    /// It gave no answer in time.
    #[default]
    Silence,
    /// There was no connection to it.
    Unconnected(Unconnected),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("no answer in time"),
            Self::Unconnected(why) => why.fmt(f),
        }
    }
}

impl Failure {
    /// Whether it could not be asked, or could not answer.
    fn is_silence(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut | Self::Resting { .. } | Self::Broken | Self::Busy => true,
            Self::Status(status) => status.is_server_error(),
            Self::Coded
            | Self::DigestMismatch
            | Self::NoManifest
            | Self::TooLarge
            | Self::Redirect(_)
            | Self::RealmNotTrusted
            | Self::Nonsense(_)
            | Self::ClientBody => false,
        }
    }

    /// When to come again, where that may help: it could not be asked or could not answer.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Resting { left, .. } => Some(*left),
            failure => failure.is_silence().then_some(SOON),
        }
    }

    /// A few words for header, log and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) => Reason::Unreachable,
            Self::TimedOut => Reason::TimedOut,
            Self::Resting { .. } => Reason::Resting,
            Self::Status(_) => Reason::UpstreamError,
            Self::Broken => Reason::Broke,
            Self::Busy => Reason::Busy,
            Self::Coded => Reason::Coded,
            Self::DigestMismatch => Reason::DigestMismatch,
            Self::NoManifest => Reason::NoManifest,
            Self::TooLarge => Reason::TooLarge,
            Self::Redirect(_) => Reason::RedirectRefused,
            Self::RealmNotTrusted => Reason::RealmNotTrusted,
            Self::Nonsense(_) => Reason::Unusable,
            Self::ClientBody => Reason::RequestBroke,
        }
    }
}

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
