//! What an answer gives to somebody who has some of a body already: its head held against what was asked and known.

use std::time::Duration;

use http::Response;
use http::header::CONTENT_RANGE;

use crate::body::Body;
use crate::range::Given;

/// A body found again.
pub(super) struct Opened {
    pub(super) body: Body,
    pub(super) skip: u64,
    pub(super) total: Option<u64>,
    /// Whether it is all of the blob.
    pub(super) is_whole: bool,
}

/// Why a try to go on failed.
pub(super) enum ResumeError {
    /// Perhaps the next one works.
    Later,
    /// The upstream says when: a 429 is not answered by hurrying (P-119).
    Then(Duration),
    /// The upstream says no.
    Never,
    /// The upstream speaks of other bytes.
    OtherLength,
}

/// What an answer gives to somebody who asked for bytes from a certain position on.
pub(crate) enum Continued {
    /// Bytes from there on.
    Part(Body),
    /// All of it, from its beginning.
    Whole(Body),
    /// It is of another length than was said before: other bytes.
    OtherLength,
    /// Another part, or nothing that makes sense.
    Unusable,
}

impl Continued {
    /// `total`: length of the whole, where it was said before.
    pub(crate) fn of(response: Response<Body>, position: u64, total: Option<u64>) -> Self {
        match continuation(response, position, total) {
            Ok(Opened { body, is_whole: true, .. }) => Self::Whole(body),
            Ok(Opened { body, is_whole: false, .. }) => Self::Part(body),
            Err(ResumeError::OtherLength) => Self::OtherLength,
            Err(ResumeError::Later | ResumeError::Then(_) | ResumeError::Never) => Self::Unusable,
        }
    }
}

/// What of an answer continues at `position`: a part that begins there, or the whole, of which the beginning is dropped.
/// Where that is not of the length known before, they are other bytes.
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
        // A shorter blob than what has been sent of it is another one.
        (Some(total), None) => total < position,
        (None, _) => false,
    };
    if is_other {
        return Err(ResumeError::OtherLength);
    }
    Ok(Opened { body: response.into_body(), skip, total, is_whole })
}
