//! What an upstream answered, as a value: so that no `?` can turn an outage into a missing image, nor a 429 into
//! a 404.

use std::time::Duration;

use http::{Response, StatusCode};
use serde::Deserialize;

use crate::body::Body;
use crate::error::Error;
use crate::outcome::Why;

/// Longest text of an upstream that is repeated to a client.
const MAX_MESSAGE_CHARS: usize = 500;

/// What an upstream answered.
pub enum Reply {
    /// 2xx, or a 3xx that is to be passed on.
    Found(Response<Body>),
    /// 404.
    Missing(UpstreamText),
    /// 401 or 403, with the best credential there is.
    Refused(UpstreamText),
    /// 429, now or a moment ago.
    Limited {
        /// When to come again.
        retry_after: Duration,
    },
    /// 416, with the length of the whole in bytes where it was said.
    Unsatisfiable {
        /// Length of the whole, in bytes.
        total: Option<u64>,
    },
    /// Any other 4xx.
    Declined(StatusCode, UpstreamText),
    /// No answer, or none that can be used.
    Failed(Failure),
}

/// Why an upstream gave no usable answer. Cheap to clone: one failure may be the answer to many who wait.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// No connection to any of its addresses.
    #[error("cannot connect")]
    Unreachable,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// All addresses, or a host that they lead to, failed a moment ago and are left alone for a while.
    #[error("it could not be reached a moment ago")]
    Resting,
    /// 5xx.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// Its connection cap is reached.
    #[error("upstream.max_connections are all in use")]
    Busy,
    /// It sent coded bytes although asked not to (P-93).
    #[error("it sent compressed content although asked not to")]
    Coded,
    /// The bytes are not those of the digest (P-85).
    #[error("what it sent does not have the digest asked for")]
    DigestMismatch,
    /// No manifest in any known form.
    #[error("what it sent is no manifest")]
    NoManifest,
    /// More than a named limit allows.
    #[error("what it sent is larger than the limit")]
    TooLarge,
    /// A redirect that is not followed: no target, too many, to http, or to a private address.
    #[error("it redirects where we do not go: {0}")]
    Redirect(&'static str),
    /// Its token server is not one the password may go to (architecture: realms).
    #[error("its token server is not trusted with the password; see upstream.realms")]
    RealmNotTrusted,
    /// Its answer makes no sense.
    #[error("its answer makes no sense: {0}")]
    Nonsense(&'static str),
}

impl Failure {
    /// Whether it could not be asked, or could not answer.
    fn is_silence(&self) -> bool {
        match self {
            Self::Unreachable | Self::TimedOut | Self::Resting | Self::Broken | Self::Busy => true,
            Self::Status(status) => status.is_server_error(),
            Self::Coded
            | Self::DigestMismatch
            | Self::NoManifest
            | Self::TooLarge
            | Self::Redirect(_)
            | Self::RealmNotTrusted
            | Self::Nonsense(_) => false,
        }
    }

    /// A few words for header, log and metrics.
    pub fn why(&self) -> Why {
        match self {
            Self::Unreachable => Why::Unreachable,
            Self::TimedOut => Why::TimedOut,
            Self::Resting => Why::Resting,
            Self::Status(_) => Why::UpstreamError,
            Self::Broken => Why::Broke,
            Self::Busy => Why::Busy,
            Self::Coded => Why::Coded,
            Self::DigestMismatch => Why::DigestMismatch,
            Self::NoManifest => Why::NoManifest,
            Self::TooLarge => Why::TooLarge,
            Self::Redirect(_) => Why::RedirectRefused,
            Self::RealmNotTrusted => Why::RealmNotTrusted,
            Self::Nonsense(_) => Why::Unusable,
        }
    }
}

/// What an upstream says in the body of an error: hostile text until it is cut to size and stripped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamText {
    code: Option<&'static str>,
    message: Option<Box<str>>,
}

/// The codes of the distribution spec; any other word of an upstream is dropped.
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

impl UpstreamText {
    /// Reads `{"errors":[{"code","message"}]}`, or a token server's `{"details"}` / `{"message"}`; anything else says
    /// nothing.
    pub fn parse(body: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Entry {
            code: Option<serde_json::Value>,
            message: Option<String>,
        }
        #[derive(Deserialize)]
        struct Said {
            #[serde(default)]
            errors: Vec<Entry>,
            message: Option<String>,
            details: Option<String>,
        }
        let Ok(said) = serde_json::from_slice::<Said>(body) else { return Self::default() };
        let first = said.errors.into_iter().next().unwrap_or_default();
        let code = first.code.as_ref().and_then(serde_json::Value::as_str);
        let message = first.message.or(said.details).or(said.message).map(|text| {
            text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect::<String>().into_boxed_str()
        });
        Self { code: CODES.into_iter().find(|known| Some(*known) == code), message }
    }

    /// Its OCI code, if it is one.
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// Its words.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

/// Every answer but a usable one. Cheap to clone: it may be the answer to many who wait.
#[derive(Debug, Clone)]
pub enum Negative {
    /// As [`Reply::Missing`].
    Missing(UpstreamText),
    /// As [`Reply::Refused`].
    Refused(UpstreamText),
    /// As [`Reply::Limited`].
    Limited {
        /// When to come again.
        retry_after: Duration,
    },
    /// As [`Reply::Unsatisfiable`].
    Unsatisfiable {
        /// Length of the whole, in bytes.
        total: Option<u64>,
    },
    /// As [`Reply::Declined`].
    Declined(StatusCode, UpstreamText),
    /// As [`Reply::Failed`].
    Failed(Failure),
}

impl Negative {
    /// Whether the upstream could not answer, so that what was known before may still hold (P-87).
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Limited { .. } | Self::Failed(_))
    }

    /// Whether what was known before may be served in its place: it was silent, broken or busy (P-87). An answer that we
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
            Self::Failed(failure) => Error::Upstream(failure),
        }
    }
}

impl Reply {
    /// The response, or what else it was.
    pub fn found(self) -> Result<Response<Body>, Negative> {
        Err(match self {
            Self::Found(response) => return Ok(response),
            Self::Missing(text) => Negative::Missing(text),
            Self::Refused(text) => Negative::Refused(text),
            Self::Limited { retry_after } => Negative::Limited { retry_after },
            Self::Unsatisfiable { total } => Negative::Unsatisfiable { total },
            Self::Declined(status, text) => Negative::Declined(status, text),
            Self::Failed(failure) => Negative::Failed(failure),
        })
    }

    /// The response, or the error to answer with where nothing is cached. `missing` is what a 404 means here.
    pub fn or_error(self, missing: impl FnOnce(UpstreamText) -> Error) -> Result<Response<Body>, Error> {
        self.found().map_err(|negative| negative.into_error(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstreams_text_is_cut_to_size_and_stripped() {
        let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"no\u0007 {}"}}]}}"#, "x".repeat(2000));
        let text = UpstreamText::parse(body.as_bytes());
        assert_eq!(text.code(), Some("DENIED"));
        assert_eq!(text.message().unwrap().len(), MAX_MESSAGE_CHARS);
        assert!(text.message().unwrap().starts_with("no x"));
    }

    #[test]
    fn what_is_not_json_says_nothing() {
        for body in [&b"<html>"[..], b"", b"[]", b"{}", br#"{"errors":[]}"#, br#"{"errors":[{"code":7}]}"#] {
            assert_eq!(UpstreamText::parse(body), UpstreamText::default());
        }
        assert_eq!(UpstreamText::parse(br#"{"errors":[{"code":"WEIRD"}]}"#).code(), None);
    }

    #[test]
    fn a_token_servers_words_are_read_too() {
        for body in [r#"{"message":"expired"}"#, r#"{"details":"expired"}"#] {
            assert_eq!(UpstreamText::parse(body.as_bytes()).message(), Some("expired"), "{body}");
        }
    }
}
