//! A quota that is used up, in the words for its client.

use std::fmt;
use std::time::Duration;

use crate::outcome::Reason;

/// A quota that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The reason in header, log and metrics.
    pub(crate) reason: Reason,
    /// Whose quota it is: `this client has`.
    pub(crate) who: &'static str,
    /// What is counted: `requests` or `bytes`.
    pub(crate) resource: &'static str,
    /// For how long it is counted: `hour` or `day`.
    pub(crate) window: &'static str,
    /// The key of the configuration that sets it.
    pub(crate) key: &'static str,
    /// The hour of the day, in UTC, at which the next window begins.
    pub(crate) next_begins: u64,
    /// Until the next window begins.
    pub(crate) retry_after: Duration,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, resource, window, key, next_begins, retry_after, .. } = self;
        write!(
            f,
            "{who} used up the {resource} of this {window} ({key}); the next {window} begins at {next_begins:02}:00 UTC, in {} seconds",
            retry_after.as_secs()
        )
    }
}

impl std::error::Error for Exhausted {}
