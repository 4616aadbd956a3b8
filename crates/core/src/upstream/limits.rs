//! For whom a 429 counts, and until when (P-119). Docker Hub limits the pulls of an account or an address, so a 429 of its
//! counts for all repositories. Any other 429 counts for its repository only, until a second repository gets one too: then
//! it counts for the whole account.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use quick_cache::sync::Cache;

use super::budget::Budget;
use super::memory::millis;
use crate::catalogue;
use crate::name::RepositoryName;
use crate::platform::{Moment, RequestPurpose};

/// A 429, or a 503 with `Retry-After`, is waited out if it is over within this time.
pub(super) const SHORT_WAIT: Duration = Duration::from_secs(3);
/// Most limits of repositories, and of accounts, that are remembered of one upstream.
const MAX_LIMITS: usize = 1024;

/// Who is limited, at which address, for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Limited {
    /// The place of the address in the list.
    pub(super) address: usize,
    /// Whose credential; all zero for none.
    pub(super) credential: [u8; 16],
    /// Docker Hub limits manifests and not blobs.
    pub(super) purpose: RequestPurpose,
}

/// What a 429 counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RateLimitScope {
    /// The account, or the address where there is none.
    Account,
    /// The repository that was asked for.
    Repository,
}

impl RateLimitScope {
    /// Decides by the host and its headers. Docker Hub counts pulls by account (U-02), and so does any registry that reports
    /// a used-up budget in its headers.
    pub(super) fn of(host: &str, purpose: RequestPurpose, headers: &HeaderMap) -> Self {
        let is_spent = Budget::parse(headers).is_some_and(|budget| budget.remaining == 0);
        match purpose {
            RequestPurpose::Api if is_spent || catalogue::is_docker_hub(host) => Self::Account,
            RequestPurpose::Api | RequestPurpose::Blob => Self::Repository,
        }
    }
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Now.
    Now,
    /// Soon: a request that can wait so long does (P-119).
    Soon(Duration),
    /// Not before this time is over.
    Later(Duration),
}

impl Leave {
    fn after(left: Option<Duration>) -> Self {
        match left {
            None => Self::Now,
            Some(left) if left <= SHORT_WAIT => Self::Soon(left),
            Some(left) => Self::Later(left),
        }
    }
}

/// Remembers 429s until they are over.
pub(super) struct RateLimits {
    accounts: Cache<Limited, Moment>,
    repositories: Cache<(Limited, RepositoryName), Moment>,
    /// For each account, the repository that was limited last, and until when.
    last: Cache<Limited, (RepositoryName, Moment)>,
    /// When all limits are over, in milliseconds on the clock. Usually nobody is limited, and then no lookup key is built.
    latest: AtomicU64,
}

impl Default for RateLimits {
    fn default() -> Self {
        let (accounts, repositories, last) =
            (Cache::new(MAX_LIMITS), Cache::new(MAX_LIMITS), Cache::new(MAX_LIMITS));
        Self { accounts, repositories, last, latest: AtomicU64::new(0) }
    }
}

impl RateLimits {
    /// Whether nobody was ever limited: then no clock is read either.
    pub(super) fn has_been_none(&self) -> bool {
        self.latest.load(Ordering::Acquire) == 0
    }

    /// Whether a request for this repository may be sent.
    pub(super) fn leave(&self, who: Limited, name: &RepositoryName, now: Moment) -> Leave {
        Leave::after(self.remaining(who, name, now))
    }

    /// How long to wait; `None`: there is no limit.
    pub(super) fn remaining(&self, who: Limited, name: &RepositoryName, now: Moment) -> Option<Duration> {
        if millis(now) >= self.latest.load(Ordering::Acquire) {
            return None;
        }
        let until =
            self.accounts.get(&who).into_iter().chain(self.repositories.get(&(who, name.clone()))).max()?;
        (until > now).then(|| until.since(now))
    }

    /// How long until all limits are over; `None`: there is none.
    pub(super) fn over_in(&self, now: Moment) -> Option<Duration> {
        let left = self.latest.load(Ordering::Acquire).saturating_sub(millis(now));
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// A 429 came.
    pub(super) fn limited(
        &self,
        who: Limited,
        name: &RepositoryName,
        scope: RateLimitScope,
        now: Moment,
        retry_after: Duration,
    ) {
        let until = now.after(retry_after);
        let is_second = match scope {
            RateLimitScope::Account => true,
            RateLimitScope::Repository => {
                let before = self.last.get(&who);
                self.last.insert(who, (name.clone(), until));
                before.is_some_and(|(other, until)| other != *name && now < until)
            }
        };
        if is_second {
            self.accounts.insert(who, until);
        } else {
            self.repositories.insert((who, name.clone()), until);
        }
        self.latest.fetch_max(millis(until), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const WHO: Limited = Limited { address: 0, credential: [1; 16], purpose: RequestPurpose::Api };

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    /// How many seconds are left for these repositories.
    fn left<const N: usize>(limits: &RateLimits, now: u64, names: [&str; N]) -> [u64; N] {
        names.map(|text| limits.remaining(WHO, &name(text), at(now)).map_or(0, |left| left.as_secs()))
    }

    #[test]
    fn a_limit_of_an_account_counts_for_its_repositories_until_it_is_over() {
        let limits = RateLimits::default();
        limits.limited(WHO, &name("a/b"), RateLimitScope::Account, at(0), Duration::from_secs(30));
        assert_eq!(left(&limits, 10, ["a/b", "c/d"]), [20, 20]);
        for other in [
            Limited { credential: [2; 16], ..WHO },
            Limited { purpose: RequestPurpose::Blob, ..WHO },
            Limited { address: 1, ..WHO },
        ] {
            assert_eq!(limits.remaining(other, &name("a/b"), at(1)), None, "{other:?}");
        }
        assert_eq!(left(&limits, 30, ["a/b", "c/d"]), [0, 0]);
    }

    #[test]
    fn another_limit_counts_for_its_repository_until_a_second_one_hears_it_too() {
        let limits = RateLimits::default();
        let hear = |text, now, seconds| {
            limits.limited(WHO, &name(text), RateLimitScope::Repository, at(now), Duration::from_secs(seconds));
        };
        hear("a/b", 0, 30);
        hear("a/b", 1, 30);
        assert_eq!(left(&limits, 1, ["a/b", "c/d", "e/f"]), [30, 0, 0], "the same one again says nothing new");
        hear("c/d", 40, 10);
        assert_eq!(left(&limits, 40, ["a/b", "c/d", "e/f"]), [0, 10, 0], "the first is over");
        hear("e/f", 45, 20);
        assert_eq!(left(&limits, 45, ["a/b", "c/d", "e/f"]), [20, 20, 20]);
        assert_eq!(left(&limits, 65, ["a/b", "c/d", "e/f"]), [0, 0, 0]);
    }

    #[test]
    fn docker_hub_and_who_speaks_of_a_budget_limit_accounts() {
        let spent = |remaining: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("ratelimit-remaining"),
                HeaderValue::from_static(remaining),
            )])
        };
        for (host, purpose, headers, expected) in [
            ("registry-1.docker.io", RequestPurpose::Api, HeaderMap::new(), RateLimitScope::Account),
            ("registry-1.docker.io", RequestPurpose::Blob, HeaderMap::new(), RateLimitScope::Repository),
            ("ghcr.io", RequestPurpose::Api, HeaderMap::new(), RateLimitScope::Repository),
            ("mirror.example", RequestPurpose::Api, spent("0;w=21600"), RateLimitScope::Account),
            ("mirror.example", RequestPurpose::Api, spent("7;w=21600"), RateLimitScope::Repository),
            ("mirror.example", RequestPurpose::Api, spent("none"), RateLimitScope::Repository),
        ] {
            assert_eq!(RateLimitScope::of(host, purpose, &headers), expected, "{host} {purpose:?} {headers:?}");
        }
    }

    #[test]
    fn what_is_over_soon_is_waited_for() {
        let seconds = Duration::from_secs;
        for (left, expected) in [
            (None, Leave::Now),
            (Some(seconds(1)), Leave::Soon(seconds(1))),
            (Some(seconds(3)), Leave::Soon(seconds(3))),
            (Some(seconds(4)), Leave::Later(seconds(4))),
        ] {
            assert_eq!(Leave::after(left), expected);
        }
    }
}
