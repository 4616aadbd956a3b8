//! What a receiver's answer means for an event: pure.

use std::time::Duration;

use http::StatusCode;

/// How long an attempt may take, as Standard Webhooks advises.
pub(super) const ATTEMPT: Duration = Duration::from_secs(15);
/// The pause after the first failed attempt; each further one is twice as long, up to the longest.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How long an event is tried. Those behind it wait meanwhile.
pub(super) const DEADLINE: Duration = Duration::from_mins(10);

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver has it.
    Taken,
    /// It may take it later.
    Later,
    /// It does not take this event, however often it is sent.
    Never,
}

impl Verdict {
    /// By the status of the answer. A redirect is not followed: the event would go where nobody has configured it to go.
    pub(super) fn of(status: StatusCode) -> Self {
        if status.is_success() {
            return Self::Taken;
        }
        let is_passing = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            );
        if is_passing { Self::Later } else { Self::Never }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_given_up() {
        for (status, verdict) in [
            (200, Verdict::Taken),
            (202, Verdict::Taken),
            (204, Verdict::Taken),
            (301, Verdict::Never),
            (307, Verdict::Never),
            (400, Verdict::Never),
            (401, Verdict::Never),
            (404, Verdict::Never),
            (408, Verdict::Later),
            (410, Verdict::Never),
            (413, Verdict::Never),
            (425, Verdict::Later),
            (429, Verdict::Later),
            (500, Verdict::Later),
            (503, Verdict::Later),
        ] {
            assert_eq!(Verdict::of(StatusCode::from_u16(status).unwrap()), verdict, "{status}");
        }
    }
}
