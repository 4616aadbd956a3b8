//! The response of an error. It names an upstream as the configuration does, and never by its address.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response};
use serde_json::{Value, json};

use super::{Error, ReportedError};
use crate::body::Body;

impl Error {
    /// The errors that the upstream reported.
    fn reported(&self) -> &[ReportedError] {
        match self {
            Self::Refused(text) | Self::NotFound(text) | Self::Declined(_, text) => text.errors(),
            _ => &[],
        }
    }

    /// The message with the upstream's configured name, unless that is empty.
    fn message(&self, upstream: &str) -> String {
        const NAMELESS: &str = "the registry";
        let message = self.to_string();
        match self {
            Self::Upstream(_)
            | Self::NotStale { .. }
            | Self::LoginUnknown { .. }
            | Self::Limited { .. }
            | Self::DeadlinePassed
            | Self::Refused(_)
            | Self::Declined(..)
                if !upstream.is_empty() =>
            {
                message.replacen(NAMELESS, &format!("{NAMELESS} {upstream}"), 1)
            }
            _ => message,
        }
    }

    /// The response's `errors`: those that the upstream reported, or our own message.
    fn errors(&self, code: &str, upstream: &str) -> Vec<Value> {
        let message = self.message(upstream);
        if self.reported().is_empty() {
            return vec![ReportedError::default().to_json(code, &message)];
        }
        let errors = self.reported().iter().map(|error| match self {
            // The upstream's 401 is our 403: a client cannot log in here to an upstream's account (P-23).
            Self::Refused(_) => {
                let own = error.code.as_deref().filter(|code| *code != "UNAUTHORIZED").map(Into::into);
                let words = error.message.as_ref().map(|words| format!("{message}: {words}").into());
                ReportedError { code: own, message: words, detail: error.detail.clone() }.to_json(code, &message)
            }
            _ => error.to_json(code, &message),
        });
        errors.collect()
    }

    /// The response: JSON as the distribution spec has it, never empty, never cached (P-21, P-26). `upstream` is the upstream's
    /// configured name, or empty.
    pub fn to_response(&self, upstream: &str) -> Response<Body> {
        let (status, code, _) = self.meaning();
        let body = Bytes::from(json!({ "errors": self.errors(code, upstream) }).to_string());
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.add_headers(headers);
        response
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::NotStale { error, .. } => error.add_headers(headers),
            Self::TokenRefused { challenge: Some(challenge), .. } | Self::Unauthorized(challenge) => {
                headers.insert(WWW_AUTHENTICATE, challenge.to_header());
            }
            Self::Limited { retry_after }
            | Self::LoginUnknown { retry_after, .. }
            | Self::TooManyLogins { retry_after } => retry_after_seconds(headers, *retry_after),
            Self::Upstream(failure) => {
                if let Some(retry_after) = failure.retry_after() {
                    retry_after_seconds(headers, retry_after);
                }
            }
            // Not capped: a client that comes back earlier costs money and is refused again (P-120).
            Self::Exhausted(exhausted) => {
                headers.insert(RETRY_AFTER, exhausted.retry_after.as_secs().into());
            }
            Self::Closed => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("3600"));
            }
            Self::Overloaded | Self::NotYet { .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::RangeNotSatisfiable { total } => {
                headers.extend(
                    HeaderValue::try_from(format!("bytes */{total}")).ok().map(|value| (CONTENT_RANGE, value)),
                );
            }
            Self::PushDisabled | Self::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            _ => {}
        }
    }
}

/// Writes whole seconds, 1 to 60: clients can read these and will wait for them (P-120).
fn retry_after_seconds(headers: &mut HeaderMap, retry_after: Duration) {
    let seconds = retry_after.as_secs_f64().ceil().clamp(1.0, 60.0);
    let text = HeaderValue::try_from(format!("{seconds:.0}"));
    headers.insert(RETRY_AFTER, text.unwrap_or(HeaderValue::from_static("1")));
}
