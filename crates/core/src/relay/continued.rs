//! Whether an answer continues a body that broke off: its headers compared with what was asked for and is known.

use std::time::Duration;

use http::Response;
use http::header::CONTENT_RANGE;

use crate::body::Body;
use crate::range::Given;

/// A body that continues.
pub(super) struct Opened {
    pub(super) body: Body,
    pub(super) skip: u64,
    pub(super) total: Option<u64>,
    /// Whether it is all of the blob.
    pub(super) is_whole: bool,
}

/// Why a try to resume failed.
pub(super) enum ResumeError {
    /// The next try may succeed.
    Later,
    /// A 429: not before this time (P-119).
    Then(Duration),
    /// The upstream refuses.
    Never,
    /// The upstream has other bytes.
    OtherLength,
}

/// What an answer to a request for the bytes from a position on gives.
pub(crate) enum Continued {
    /// Bytes from there on.
    Part(Body),
    /// All of it, from its beginning.
    Whole(Body),
    /// The blob has another length than before: other bytes.
    OtherLength,
    /// Another part, or an answer that makes no sense.
    Unusable,
}

impl Continued {
    /// `total`: length of the whole, if it is known.
    pub(crate) fn of(response: Response<Body>, position: u64, total: Option<u64>) -> Self {
        match continuation(response, position, total) {
            Ok(Opened { body, is_whole: true, .. }) => Self::Whole(body),
            Ok(Opened { body, is_whole: false, .. }) => Self::Part(body),
            Err(ResumeError::OtherLength) => Self::OtherLength,
            Err(ResumeError::Later | ResumeError::Then(_) | ResumeError::Never) => Self::Unusable,
        }
    }
}

/// The body that continues at `position`: a part that begins there, or the whole without its beginning. If the length differs
/// from the known one, the bytes are others.
pub(super) fn continuation(
    response: Response<Body>,
    position: u64,
    known: Option<u64>,
) -> Result<Opened, ResumeError> {
    let content_range = response.headers().get(CONTENT_RANGE);
    let (skip, total, is_whole) = match Given::of(response.status(), content_range, response.body().length()) {
        Given::Part { first, total, .. } if first == position => (0, total, false),
        Given::Whole { length } => (position, length, true),
        Given::Part { .. } | Given::Unusable => return Err(ResumeError::Never),
    };
    let is_other = match (total, known) {
        (Some(total), Some(known)) => total != known,
        // The blob is shorter than what was already sent of it, so it is another one.
        (Some(total), None) => total < position,
        (None, _) => false,
    };
    if is_other {
        return Err(ResumeError::OtherLength);
    }
    Ok(Opened { body: response.into_body(), skip, total, is_whole })
}
