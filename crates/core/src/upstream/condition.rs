//! What is known of an upstream just now, for people: whether its addresses rest after failures, how quickly it answers, and
//! what is left of the budgets of our own accounts. It names no address and no account.

use std::time::Duration;

use super::Upstream;
use super::budget::AccountBudget;
use crate::error::Trouble;

/// What is known of an upstream just now.
pub(crate) struct UpstreamCondition {
    /// Of each address in order: why it is not asked, and for how long; `None`: it is asked.
    pub(crate) addresses: Vec<Option<(Trouble, Duration)>>,
    /// How long its responses take to begin, lately.
    pub(crate) latency: Option<Duration>,
    /// Until all of its 429s are over.
    pub(crate) limited: Option<Duration>,
    pub(crate) budgets: Vec<AccountBudget>,
}

impl Upstream {
    /// What is known of it just now.
    pub(crate) fn condition(&self) -> UpstreamCondition {
        let now = self.platform.clock.now();
        let resting = |address: &super::Address| {
            let health = &address.health;
            health.is_resting(now).then(|| (health.trouble(), health.left(now)))
        };
        UpstreamCondition {
            addresses: self.addresses.iter().map(resting).collect(),
            latency: self.learned.latency.average(),
            limited: self.learned.rate_limits.over_in(now),
            budgets: self.learned.budgets.of_ours(now),
        }
    }
}
