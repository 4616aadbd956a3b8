//! The guard for the bill: what each client, and all of them together, may have in an hour and in a day.
//!
//! A request counts when it has been admitted, bytes as they leave. What is under way is never cut: the next request is
//! refused. Counting takes a short lock a request, to find the client, another where other instances may have told of
//! it, and none for bytes.

mod clients;
mod peers;
pub(crate) mod report;
mod window;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::clients::{Aliases, ClientTable};
use self::peers::Peers;
use self::window::{QuotaWindow, Resource, Tally, Usage};
use crate::cache::Cache;
use crate::client::Client;
use crate::config::{self, Quota, QuotaMode};
use crate::error::Error;
use crate::outcome::Reason;
use crate::platform::{Clock, Platform, Tasks};
use crate::secret::Secret;
use crate::telemetry;

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitScope {
    Client,
    Total,
}

/// A limit that has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    scope: LimitScope,
    what: Resource,
    window: QuotaWindow,
    /// In seconds since 1970.
    now: u64,
}

impl Exhausted {
    /// Until the next hour, or day.
    pub fn retry_after(&self) -> Duration {
        Duration::from_secs(self.window.end(self.now).saturating_sub(self.now))
    }

    /// For header, log and metrics.
    pub fn reason(&self) -> Reason {
        match self.scope {
            LimitScope::Client => Reason::ClientLimit,
            LimitScope::Total => Reason::TotalLimit,
        }
    }

    /// The key of the configuration that sets it.
    fn key(&self) -> &'static str {
        match (self.scope, self.what, self.window) {
            (LimitScope::Client, Resource::Requests, QuotaWindow::Hour) => "guard.client.requests_per_hour",
            (LimitScope::Client, Resource::Requests, QuotaWindow::Day) => "guard.client.requests_per_day",
            (LimitScope::Client, Resource::Bytes, QuotaWindow::Hour) => "guard.client.bytes_per_hour",
            (LimitScope::Client, Resource::Bytes, QuotaWindow::Day) => "guard.client.bytes_per_day",
            (LimitScope::Total, Resource::Requests, QuotaWindow::Hour) => "guard.total.requests_per_hour",
            (LimitScope::Total, Resource::Requests, QuotaWindow::Day) => "guard.total.requests_per_day",
            (LimitScope::Total, Resource::Bytes, QuotaWindow::Hour) => "guard.total.bytes_per_hour",
            (LimitScope::Total, Resource::Bytes, QuotaWindow::Day) => "guard.total.bytes_per_day",
        }
    }
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whose = match self.scope {
            LimitScope::Client => "this client has",
            LimitScope::Total => "all clients together have",
        };
        let (what, window) = (
            match self.what {
                Resource::Requests => "requests",
                Resource::Bytes => "bytes",
            },
            match self.window {
                QuotaWindow::Hour => "hour",
                QuotaWindow::Day => "day",
            },
        );
        let hour = QuotaWindow::Hour.number(self.window.end(self.now)) % 24;
        write!(
            f,
            "{whose} used up the {what} of this {window} ({}); the next {window} begins at {hour:02}:00 UTC, in {} seconds",
            self.key(),
            self.retry_after().as_secs()
        )
    }
}

impl std::error::Error for Exhausted {}

/// The limits that there are, those that begin anew latest first.
fn limits(quota: &Quota) -> impl Iterator<Item = (Resource, QuotaWindow, u64)> {
    let limits = [
        (Resource::Requests, QuotaWindow::Day, quota.requests_per_day),
        (Resource::Bytes, QuotaWindow::Day, quota.bytes_per_day.map(|bytes| bytes.0)),
        (Resource::Requests, QuotaWindow::Hour, quota.requests_per_hour),
        (Resource::Bytes, QuotaWindow::Hour, quota.bytes_per_hour.map(|bytes| bytes.0)),
    ];
    limits.into_iter().filter_map(|(what, window, limit)| Some((what, window, limit?)))
}

/// The first limit that is reached, of those that begin anew latest: nobody comes back too early.
fn reached(scope: LimitScope, quota: &Quota, used: Usage, now: u64) -> Option<Exhausted> {
    let (what, window, _) = limits(quota).find(|(what, window, limit)| used.get(*what, *window) >= *limit)?;
    Some(Exhausted { scope, what, window, now })
}

/// How much of a limit is used, of the one of which most is: to compare clients by.
fn share(quota: &Quota, used: Usage) -> u128 {
    let shares = limits(quota)
        .map(|(what, window, limit)| (u128::from(used.get(what, window)) << 64) / u128::from(limit.max(1)));
    shares.max().unwrap_or(0)
}

/// What was counted: the same for every configuration that a process has one after the other.
#[derive(Debug, Default)]
struct Ledger {
    clients: ClientTable,
    total: Tally,
    peers: Peers,
}

/// The limits, and what was counted towards them.
#[derive(Clone)]
pub(crate) struct Quotas {
    config: config::QuotaConfig,
    ledger: Arc<Ledger>,
    aliases: Aliases,
    /// The store that all instances share, where there is something to tell each other.
    shared: Option<Arc<Cache>>,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    outlives_response: bool,
}

impl Quotas {
    pub(crate) fn new(
        config: &config::QuotaConfig,
        signing_key: Option<&Secret>,
        cache: Option<&Arc<Cache>>,
        platform: &Platform,
    ) -> Self {
        let ledger = Arc::new(Ledger::default());
        let counts = config.mode == QuotaMode::On && config.limits();
        let shared = cache.filter(|cache| counts && cache.is_shared()).map(Arc::clone);
        if shared.is_some() {
            ledger.peers.name(&*platform.entropy);
        }
        Self {
            config: config.clone(),
            ledger,
            aliases: Aliases::new(signing_key),
            shared,
            clock: Arc::clone(&platform.clock),
            tasks: Arc::clone(&platform.tasks),
            outlives_response: platform.capabilities.outlives_response,
        }
    }

    /// These limits, and what another one has counted, told through this cache.
    pub(crate) fn after(&self, previous: &Self, cache: Option<&Arc<Cache>>) -> Self {
        previous.ledger.peers.take_name(&self.ledger.peers);
        let shared = cache.filter(|_| self.shared.is_some()).map(Arc::clone);
        Self { ledger: Arc::clone(&previous.ledger), shared, ..self.clone() }
    }

    /// Whether anybody gets anything: asked before all else, so that it costs next to nothing.
    pub(crate) fn is_closed(&self) -> Result<(), Error> {
        match self.config.mode {
            QuotaMode::Closed => {
                telemetry::guard_refused("guard.mode");
                Err(Error::Closed)
            }
            QuotaMode::On | QuotaMode::Off => Ok(()),
        }
    }

    /// Counts a request for content that may be served otherwise, or refuses it. `None`: nothing is counted.
    pub(crate) async fn admit(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Option<QuotaPass>, Error> {
        if !self.counts() {
            return Ok(None);
        }
        self.keep_up().await;
        let now = self.clock.unix_seconds();
        // First the total: who is refused for it takes no place among the clients.
        if let Some(exhausted) = self.total_reached(now, 0) {
            return Err(self.refuse(exhausted));
        }
        let tally =
            self.config.client.is_some().then(|| self.ledger.clients.tally(client, self.config.max_clients, now));
        if let Some(tally) = &tally {
            let alias = |client: IpAddr| self.aliases.of(Client::from(client), QuotaWindow::Day.number(now));
            let elsewhere = client.map(|client| self.ledger.peers.others_of(now, || alias(client)));
            let used = tally.usage(now).plus(elsewhere.unwrap_or_default());
            if let Some(exhausted) = reached(LimitScope::Client, &self.config.client, used, now) {
                return Err(self.refuse(exhausted));
            }
            tally.add(Resource::Requests, 1, now);
        }
        self.ledger.total.add(Resource::Requests, 1, now);
        Ok(Some(QuotaPass { quotas: Arc::clone(self), client: tally }))
    }

    fn total_reached(&self, now: u64, on_their_way: u64) -> Option<Exhausted> {
        let soon = Usage { bytes: [on_their_way; 2], ..Usage::default() };
        let total = self.ledger.total.usage(now).plus(self.ledger.peers.others(now)).plus(soon);
        reached(LimitScope::Total, &self.config.total, total, now)
    }

    /// Whether more may be fetched into the store than the request itself takes away, with so many bytes on their way
    /// there.
    pub(crate) fn may_fetch(&self, on_their_way: u64) -> bool {
        !self.counts() || self.total_reached(self.clock.unix_seconds(), on_their_way).is_none()
    }

    /// So many bytes were fetched into the store for whoever will want them.
    pub(crate) fn fetched(&self, bytes: u64) {
        if self.counts() {
            self.ledger.total.add(Resource::Bytes, bytes, self.clock.unix_seconds());
        }
    }

    /// Whether anything is counted.
    fn counts(&self) -> bool {
        self.config.mode == QuotaMode::On && self.config.limits()
    }

    #[expect(clippy::unused_self, reason = "reads as what it is at the call")]
    fn refuse(&self, exhausted: Exhausted) -> Error {
        telemetry::guard_refused(exhausted.key());
        Error::Exhausted(exhausted)
    }

    /// Tells other instances, and hears from them, where it is time to. An instance that has just begun waits for
    /// what the others have used; later that goes on beside the request, where the platform lets it.
    pub(crate) async fn keep_up(self: &Arc<Self>) {
        let Some(cache) = &self.shared else { return };
        let Some(turn) = self.turn() else { return };
        let is_first = turn.is_first();
        let (cache, quotas) = (Arc::clone(cache), Arc::clone(self));
        let work = Box::pin(async move { peers::exchange(&turn, &cache, &quotas).await });
        if is_first || !self.outlives_response {
            work.await;
        } else {
            self.tasks.spawn(work);
        }
    }

    /// The same behind a request, where it is due: nobody waits for it.
    pub(crate) async fn settle(&self) {
        let Some(cache) = &self.shared else { return };
        if let Some(turn) = self.turn() {
            peers::exchange(&turn, cache, self).await;
        }
    }

    fn turn(&self) -> Option<peers::ExchangeTurn> {
        let used = || self.ledger.total.usage(self.clock.unix_seconds());
        self.ledger.peers.turn(self.clock.now(), used)
    }

    /// Tells other instances what they do not know yet, before the process ends.
    pub(crate) async fn close(&self) {
        let Some(cache) = &self.shared else { return };
        if let Some(turn) = self.ledger.peers.last_turn() {
            peers::exchange(&turn, cache, self).await;
        }
    }
}

/// An admitted request, towards which the bytes of its answer count.
pub(crate) struct QuotaPass {
    quotas: Arc<Quotas>,
    client: Option<Arc<Tally>>,
}

impl QuotaPass {
    /// So many bytes have left.
    pub(crate) fn sent(&self, bytes: u64) {
        let now = self.quotas.clock.unix_seconds();
        self.quotas.ledger.total.add(Resource::Bytes, bytes, now);
        if let Some(client) = &self.client {
            client.add(Resource::Bytes, bytes, now);
        }
    }
}

/// On an answer that sends the client to a store of ours: the bytes that the store will send in our place. They count
/// as if they were taken, since nobody tells us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linked(pub(crate) u64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bytes;

    #[test]
    fn a_limit_holds_from_what_it_says_and_the_latest_to_end_is_named() {
        let quota = Quota { requests_per_hour: Some(3), bytes_per_day: Some(Bytes(100)), ..Quota::default() };
        let of = |requests: u64, bytes: u64| {
            let used = Usage { requests: [requests; 2], bytes: [bytes; 2] };
            reached(LimitScope::Client, &quota, used, 1_700_049_630).map(|exhausted| exhausted.to_string())
        };
        assert_eq!(of(2, 99), None);
        assert_eq!(
            of(3, 0).unwrap(),
            "this client has used up the requests of this hour (guard.client.requests_per_hour); the next hour begins at 13:00 UTC, in 3570 seconds"
        );
        let day = "this client has used up the bytes of this day (guard.client.bytes_per_day); the next day begins at 00:00 UTC, in 43170 seconds";
        assert_eq!(of(3, 100).unwrap(), day);
        assert_eq!(of(0, 101).unwrap(), day);
        assert_eq!(
            reached(LimitScope::Total, &Quota::default(), Usage { requests: [9; 2], bytes: [9; 2] }, 0),
            None
        );
    }
}
