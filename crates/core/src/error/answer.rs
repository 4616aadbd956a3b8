//! An error as a client gets it. Of where an upstream is, the client is told the configured name and nothing else.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response};
use serde_json::{Value, json};

use super::Error;
use crate::body::Body;
use crate::upstream::SaidError;

impl Error {
    /// What the upstream itself said.
    fn said(&self) -> &[SaidError] {
        match self {
            Self::Refused(text) | Self::NotFound(text) | Self::Declined(_, text) => text.errors(),
            _ => &[],
        }
    }

    /// The message, with the name by which the configuration calls the upstream; none is known where it is empty.
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

    /// What stands in the answer's `errors`: all that the upstream said, or our own words.
    fn errors(&self, code: &str, upstream: &str) -> Vec<Value> {
        let message = self.message(upstream);
        if self.said().is_empty() {
            return vec![SaidError::default().to_json(code, &message)];
        }
        let said = self.said().iter().map(|said| match self {
            // Its 401 is our 403: there is nobody to log in to here (P-23).
            Self::Refused(_) => {
                let own = said.code.as_deref().filter(|code| *code != "UNAUTHORIZED").map(Into::into);
                let words = said.message.as_ref().map(|words| format!("{message}: {words}").into());
                SaidError { code: own, message: words, detail: said.detail.clone() }.to_json(code, &message)
            }
            _ => said.to_json(code, &message),
        });
        said.collect()
    }

    /// The answer: JSON in the shape of the distribution spec, never empty, never stored (P-21, P-26). `upstream` is the
    /// name by which the configuration calls it, or empty.
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
            Self::Unauthorized(challenge) => {
                headers.insert(WWW_AUTHENTICATE, challenge.to_header());
            }
            Self::Limited { retry_after }
            | Self::LoginUnknown { retry_after, .. }
            | Self::TooManyLogins { retry_after } => come_after(headers, *retry_after),
            Self::Upstream(failure) => {
                if let Some(retry_after) = failure.retry_after() {
                    come_after(headers, retry_after);
                }
            }
            // The truth, however long: who comes back earlier costs, and gets nothing (P-120).
            Self::Exhausted(exhausted) => {
                headers.insert(RETRY_AFTER, exhausted.retry_after().as_secs().into());
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

/// Whole seconds, 1 to 60: what clients can read and will wait for (P-120).
fn come_after(headers: &mut HeaderMap, retry_after: Duration) {
    let seconds = retry_after.as_secs_f64().ceil().clamp(1.0, 60.0);
    let text = HeaderValue::try_from(format!("{seconds:.0}"));
    headers.insert(RETRY_AFTER, text.unwrap_or(HeaderValue::from_static("1")));
}
