//! Which limit is reached, and what its client is told: pure.

use std::time::Duration;

use super::window::{QuotaWindow, Resource, Usage};
use crate::config::Quota;
use crate::error::Exhausted;
use crate::outcome::Reason;

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuotaScope {
    Client,
    Total,
}

/// The limits that are set, those with the longer window first.
fn limits(quota: &Quota) -> impl Iterator<Item = (Resource, QuotaWindow, u64)> {
    let limits = [
        (Resource::Requests, QuotaWindow::Day, quota.requests_per_day),
        (Resource::Bytes, QuotaWindow::Day, quota.bytes_per_day.map(|bytes| bytes.0)),
        (Resource::Requests, QuotaWindow::Hour, quota.requests_per_hour),
        (Resource::Bytes, QuotaWindow::Hour, quota.bytes_per_hour.map(|bytes| bytes.0)),
    ];
    limits.into_iter().filter_map(|(what, window, limit)| Some((what, window, limit?)))
}

/// The reached limit with the longest window: the client must not come back before that one ends.
pub(super) fn reached(scope: QuotaScope, quota: &Quota, used: Usage, now: u64) -> Option<Exhausted> {
    let (what, window, _) = limits(quota).find(|(what, window, limit)| used.get(*what, *window) >= *limit)?;
    Some(exhausted(scope, what, window, now))
}

/// The largest used share of any limit, by which clients are compared.
pub(super) fn share(quota: &Quota, used: Usage) -> u128 {
    let shares = limits(quota)
        .map(|(what, window, limit)| (u128::from(used.get(what, window)) << 64) / u128::from(limit.max(1)));
    shares.max().unwrap_or(0)
}

/// The error for a limit that is reached at `now`, in seconds since 1970.
fn exhausted(scope: QuotaScope, resource: Resource, window: QuotaWindow, now: u64) -> Exhausted {
    let end = window.end(now);
    Exhausted {
        reason: match scope {
            QuotaScope::Client => Reason::ClientLimit,
            QuotaScope::Total => Reason::TotalLimit,
        },
        who: match scope {
            QuotaScope::Client => "this client has",
            QuotaScope::Total => "all clients together have",
        },
        resource: match resource {
            Resource::Requests => "requests",
            Resource::Bytes => "bytes",
        },
        window: match window {
            QuotaWindow::Hour => "hour",
            QuotaWindow::Day => "day",
        },
        key: key(scope, resource, window),
        next_begins: QuotaWindow::Hour.number(end) % 24,
        retry_after: Duration::from_secs(end.saturating_sub(now)),
    }
}

/// The key of the configuration that sets a limit.
fn key(scope: QuotaScope, resource: Resource, window: QuotaWindow) -> &'static str {
    match (scope, resource, window) {
        (QuotaScope::Client, Resource::Requests, QuotaWindow::Hour) => "quota.client.requests_per_hour",
        (QuotaScope::Client, Resource::Requests, QuotaWindow::Day) => "quota.client.requests_per_day",
        (QuotaScope::Client, Resource::Bytes, QuotaWindow::Hour) => "quota.client.bytes_per_hour",
        (QuotaScope::Client, Resource::Bytes, QuotaWindow::Day) => "quota.client.bytes_per_day",
        (QuotaScope::Total, Resource::Requests, QuotaWindow::Hour) => "quota.total.requests_per_hour",
        (QuotaScope::Total, Resource::Requests, QuotaWindow::Day) => "quota.total.requests_per_day",
        (QuotaScope::Total, Resource::Bytes, QuotaWindow::Hour) => "quota.total.bytes_per_hour",
        (QuotaScope::Total, Resource::Bytes, QuotaWindow::Day) => "quota.total.bytes_per_day",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bytes;

    #[test]
    fn a_limit_holds_from_what_it_says_and_the_latest_to_end_is_named() {
        let quota = Quota { requests_per_hour: Some(3), bytes_per_day: Some(Bytes(100)), ..Quota::default() };
        let of = |requests: u64, bytes: u64| {
            let used = Usage { requests: [requests; 2], bytes: [bytes; 2] };
            reached(QuotaScope::Client, &quota, used, 1_700_049_630).map(|exhausted| exhausted.to_string())
        };
        assert_eq!(of(2, 99), None);
        assert_eq!(
            of(3, 0).unwrap(),
            "this client has used up the requests of this hour (quota.client.requests_per_hour); the next hour begins at 13:00 UTC, in 3570 seconds"
        );
        let day = "this client has used up the bytes of this day (quota.client.bytes_per_day); the next day begins at 00:00 UTC, in 43170 seconds";
        assert_eq!(of(3, 100).unwrap(), day);
        assert_eq!(of(0, 101).unwrap(), day);
        assert_eq!(
            reached(QuotaScope::Total, &Quota::default(), Usage { requests: [9; 2], bytes: [9; 2] }, 0),
            None
        );
    }
}
