//! The rest of a pull budget, as a registry reports it (U-02): for each account that asked, while the report counts.

use std::cmp::Reverse;
use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;
use quick_cache::sync::Cache;

use super::login::LoginSource;
use crate::headers;
use crate::platform::Moment;

/// The last pulls of a budget are kept for manifests that are not cached: this many, or one part in so many if that is more.
const RESERVE: u64 = 2;
const RESERVE_PART: u64 = 50;
/// How long a report without a window counts, and the longest that any counts.
const DEFAULT_WINDOW: Duration = Duration::from_mins(1);
const MAX_WINDOW: Duration = Duration::from_hours(24);

/// The account, and the address at which it has a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Payer {
    /// The place of the address in the list: another address may be another registry.
    pub address: usize,
    /// Whose credential; all zero for none.
    pub credential: [u8; 16],
}

/// What is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    limit: Option<u64>,
    pub(super) remaining: u64,
    window: Duration,
}

impl Budget {
    /// Reads `ratelimit-limit: 100;w=21600` and `ratelimit-remaining`; what cannot be read says nothing.
    pub(super) fn parse(headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(quantity);
        let [limit, remaining, _source] = headers::RATE_LIMITS;
        let (remaining, window) = text(remaining)??;
        let limit = text(limit).flatten();
        let window = window.or(limit.and_then(|(_, window)| window)).unwrap_or(DEFAULT_WINDOW);
        Some(Self { limit: limit.map(|(limit, _)| limit), remaining, window: window.min(MAX_WINDOW) })
    }

    /// Whether so little is left that it is kept.
    fn is_scarce(&self) -> bool {
        self.remaining <= RESERVE.max(self.limit.unwrap_or(0) / RESERVE_PART)
    }
}

/// `100;w=21600`: a number and its window.
fn quantity(text: &str) -> Option<(u64, Option<Duration>)> {
    let mut parts = text.split([';', ',']).map(str::trim);
    let number = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok().map(Duration::from_secs));
    Some((number, window))
}

/// What is left to an account of ours, as the registry last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AccountBudget {
    /// `None`: without a login.
    pub(crate) account: Option<LoginSource>,
    pub(crate) remaining: u64,
    pub(crate) limit: Option<u64>,
    /// For how long that counts.
    pub(crate) left: Duration,
}

/// All budgets of one upstream, each until when it counts, and whose it is: `None` without a login.
pub(super) struct Budgets(Cache<Payer, (Budget, Moment, Option<LoginSource>)>);

/// Budgets of our accounts that are listed: more than anybody has.
const MAX_LISTED: usize = 64;

impl Default for Budgets {
    fn default() -> Self {
        Self(Cache::new(1024))
    }
}

impl Budgets {
    /// The registry has said what is left.
    pub(super) fn told(&self, who: Payer, account: Option<LoginSource>, budget: Budget, now: Moment) {
        self.0.insert(who, (budget, now.after(budget.window), account));
    }

    /// Those of our own accounts, and of requests without a login.
    pub(super) fn of_ours(&self, now: Moment) -> Vec<AccountBudget> {
        let listed = self.0.iter().filter_map(|(_, (budget, until, account))| {
            let Budget { limit, remaining, .. } = budget;
            let is_ours = account != Some(LoginSource::Client) && now < until;
            is_ours.then(|| AccountBudget { account, remaining, limit, left: until.since(now) })
        });
        let mut listed: Vec<AccountBudget> = listed.take(MAX_LISTED).collect();
        listed.sort_by_key(|budget| (budget.remaining, budget.left));
        listed
    }

    /// What was said, and for how long it counts.
    fn find(&self, who: &Payer, now: Moment) -> Option<(Budget, Duration)> {
        self.0.get(who).filter(|(_, until, _)| now < *until).map(|(budget, until, _)| (budget, until.since(now)))
    }

    /// How many pulls are left; `None`: nobody has said lately.
    pub(super) fn remaining(&self, who: &Payer, now: Moment) -> Option<u64> {
        self.find(who, now).map(|(budget, _)| budget.remaining)
    }

    /// For how long hardly any are left; `None`: more are left, as far as is known.
    pub(super) fn scarce_for(&self, who: &Payer, now: Moment) -> Option<Duration> {
        self.find(who, now).filter(|(budget, _)| budget.is_scarce()).map(|(_, left)| left)
    }
}

/// The order in which accounts are asked: first those without a report, as accounts without a limit get none; then those with
/// most pulls left. Equals take turns.
pub(super) fn order(left: &[Option<u64>], turn: usize) -> Vec<usize> {
    let count = left.len().max(1);
    let mut order: Vec<usize> = (0..left.len()).map(|at| (at + turn % count) % count).collect();
    order.sort_by_key(|at| left.get(*at).copied().flatten().map(Reverse));
    order
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(limit: &'static str, remaining: &'static str) -> Option<Budget> {
        let mut headers = HeaderMap::new();
        for (name, value) in [("ratelimit-limit", limit), ("ratelimit-remaining", remaining)] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        Budget::parse(&headers)
    }

    #[test]
    fn a_budget_is_read_as_docker_hub_writes_it_and_nonsense_is_none() {
        let window = Duration::from_hours(6);
        assert_eq!(parse("100;w=21600", "98;w=21600"), Some(Budget { limit: Some(100), remaining: 98, window }));
        assert_eq!(parse("", "0; w=21600"), Some(Budget { limit: None, remaining: 0, window }));
        assert_eq!(parse("60", "7").map(|budget| budget.window), Some(DEFAULT_WINDOW));
        assert_eq!(parse("", "7;w=99999999999").map(|budget| budget.window), Some(MAX_WINDOW));
        for nonsense in ["", "many", "-1;w=60", ";w=60", "18446744073709551616"] {
            assert_eq!(parse("100;w=21600", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_reserve_is_two_pulls_or_two_in_a_hundred() {
        for (limit, remaining, expected) in [
            ("100;w=21600", "3", false),
            ("100;w=21600", "2", true),
            ("", "2", true),
            ("", "3", false),
            ("5000;w=21600", "101", false),
            ("5000;w=21600", "100", true),
            ("0", "0", true),
        ] {
            assert_eq!(parse(limit, remaining).unwrap().is_scarce(), expected, "{remaining} of {limit}");
        }
    }

    #[test]
    fn what_was_said_counts_for_its_window_and_its_account() {
        let (budgets, at) = (Budgets::default(), |seconds| Moment(Duration::from_secs(seconds)));
        let who = Payer { address: 0, credential: [1; 16] };
        budgets.told(who, None, parse("100;w=60", "1;w=60").unwrap(), at(0));
        let second = Some(Duration::from_secs(1));
        assert_eq!((budgets.remaining(&who, at(59)), budgets.scarce_for(&who, at(59))), (Some(1), second));
        assert_eq!((budgets.remaining(&who, at(60)), budgets.scarce_for(&who, at(60))), (None, None));
        assert_eq!(budgets.remaining(&Payer { credential: [2; 16], ..who }, at(0)), None);
    }

    #[test]
    fn budgets_of_clients_are_nobody_elses_business() {
        let (budgets, at) = (Budgets::default(), |seconds| Moment(Duration::from_secs(seconds)));
        for (mark, account, remaining) in [
            (1, None, "7;w=60"),
            (2, Some(LoginSource::Client), "3;w=60"),
            (3, Some(LoginSource::Entry(0)), "5;w=30"),
        ] {
            let who = Payer { address: 0, credential: [mark; 16] };
            budgets.told(who, account, parse("100;w=60", remaining).unwrap(), at(0));
        }
        let ours =
            |now| budgets.of_ours(at(now)).iter().map(|one| (one.account, one.remaining)).collect::<Vec<_>>();
        assert_eq!(ours(0), [(Some(LoginSource::Entry(0)), 5), (None, 7)]);
        assert_eq!(ours(30), [(None, 7)]);
        assert_eq!(ours(60), []);
    }

    #[test]
    fn accounts_take_turns_until_something_is_known_of_them() {
        let none = [None, None, None];
        assert_eq!([order(&none, 0), order(&none, 1), order(&none, 5)], [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
        assert_eq!(order(&[Some(5), None, Some(9)], 0), [1, 2, 0]);
        assert_eq!(order(&[Some(5), Some(5)], 1), [1, 0]);
        assert_eq!(order(&[], 7), Vec::<usize>::new());
        assert_eq!(order(&none, usize::MAX).len(), 3);
    }
}
