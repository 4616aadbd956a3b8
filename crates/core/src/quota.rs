//! Quotas cap what each client, and all clients together, may have in an hour and in a day (`[quota]`).
//!
//! A request is counted when it is admitted, bytes as they leave. A response in progress is never cut: the next request is
//! refused. Counting takes one short lock for each request to find the client, a second one where other instances may have
//! reported that client, and none for bytes.
//!
//! - [`limit`] `o`: which limit is reached, and what its client is told
//! - [`window`] `o`: hours, days, and counts that end with them
//! - [`clients`]: one tally for each client
//! - [`ledger`]: everything that is counted
//! - [`peers`]: what other instances counted, and when to exchange reports with them
//! - [`exchange`]: writes our report and reads theirs
//! - [`report`] `o`: the report's format

mod clients;
mod exchange;
mod ledger;
mod limit;
mod peers;
pub(crate) mod report;
mod window;

use std::net::IpAddr;
use std::sync::Arc;

use self::clients::Aliases;
use self::exchange::ReportExchange;
use self::ledger::Ledger;
use self::limit::{QuotaScope, reached};
use self::window::{QuotaWindow, Resource, Tally, Usage};
use crate::cache::Cache;
use crate::client::Client;
use crate::config::{QuotaConfig, QuotaMode};
use crate::error::{Error, Exhausted};
use crate::platform::{Clock, Platform, Tasks};
use crate::secret::Secret;
use crate::telemetry;

/// The limits, and what is counted against them.
#[derive(Clone)]
pub(crate) struct Quotas {
    config: QuotaConfig,
    ledger: Arc<Ledger>,
    aliases: Aliases,
    /// The cache, where several instances share its store and a limit is set.
    shared: Option<Arc<Cache>>,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    outlives_response: bool,
}

impl Quotas {
    pub(crate) fn new(
        config: &QuotaConfig,
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

    /// These limits with the ledger of the previous configuration; reports go through `cache`.
    pub(crate) fn after(&self, previous: &Self, cache: Option<&Arc<Cache>>) -> Self {
        previous.ledger.peers.take_name(&self.ledger.peers);
        let shared = cache.filter(|_| self.shared.is_some()).map(Arc::clone);
        Self { ledger: Arc::clone(&previous.ledger), shared, ..self.clone() }
    }

    /// Refuses every request while `quota.mode` is `closed`. Asked before all else, since it costs next to nothing.
    pub(crate) fn is_closed(&self) -> Result<(), Error> {
        match self.config.mode {
            QuotaMode::Closed => {
                telemetry::quota_refused("quota.mode");
                Err(Error::Closed)
            }
            QuotaMode::On | QuotaMode::Off => Ok(()),
        }
    }

    /// Counts a request for content, or refuses it. `None`: nothing is counted.
    pub(crate) async fn admit(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Option<QuotaPass>, Error> {
        if !self.counts() {
            return Ok(None);
        }
        self.keep_up().await;
        let now = self.clock.unix_seconds();
        // The total comes first: a request that is refused for it takes no place in the table of clients.
        if let Some(exhausted) = self.total_reached(now, 0) {
            return Err(self.refuse(exhausted));
        }
        let tally =
            self.config.client.is_some().then(|| self.ledger.clients.tally(client, self.config.max_clients, now));
        if let Some(tally) = &tally {
            let alias = |client: IpAddr| self.aliases.of(Client::from(client), QuotaWindow::Day.number(now));
            let elsewhere = client.map(|client| self.ledger.peers.others_of(now, || alias(client)));
            let used = tally.usage(now).plus(elsewhere.unwrap_or_default());
            if let Some(exhausted) = reached(QuotaScope::Client, &self.config.client, used, now) {
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
        reached(QuotaScope::Total, &self.config.total, total, now)
    }

    /// Whether more may be fetched into the store than the client itself takes. `on_their_way` bytes are being fetched
    /// already.
    pub(crate) fn may_fetch(&self, on_their_way: u64) -> bool {
        !self.counts() || self.total_reached(self.clock.unix_seconds(), on_their_way).is_none()
    }

    /// Counts bytes that were fetched into the store for later requests.
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
        telemetry::quota_refused(exhausted.key);
        Error::Exhausted(exhausted)
    }

    /// Exchanges reports with the other instances if that is due. An instance that has just started waits for theirs; later
    /// the exchange runs beside the request, where the platform allows it.
    pub(crate) async fn keep_up(self: &Arc<Self>) {
        let Some(cache) = &self.shared else { return };
        let Some(turn) = self.turn() else { return };
        let is_first = turn.is_first();
        let (cache, quotas) = (Arc::clone(cache), Arc::clone(self));
        let work = Box::pin(async move { quotas.exchange(&cache).run(&turn).await });
        if is_first || !self.outlives_response {
            work.await;
        } else {
            self.tasks.spawn(work);
        }
    }

    /// Exchanges reports after a response, if that is due.
    pub(crate) async fn exchange_if_due(&self) {
        let Some(cache) = &self.shared else { return };
        if let Some(turn) = self.turn() {
            self.exchange(cache).run(&turn).await;
        }
    }

    fn exchange<'a>(&'a self, cache: &'a Cache) -> ReportExchange<'a> {
        let Self { ledger, aliases, config, clock, .. } = self;
        ReportExchange { ledger, aliases, quota: &config.client, cache, clock: &**clock }
    }

    fn turn(&self) -> Option<peers::ExchangeTurn> {
        let used = || self.ledger.total.usage(self.clock.unix_seconds());
        self.ledger.peers.turn(self.clock.now(), used)
    }

    /// Writes our last report before the process ends.
    pub(crate) async fn close(&self) {
        let Some(cache) = &self.shared else { return };
        if let Some(turn) = self.ledger.peers.last_turn() {
            self.exchange(cache).run(&turn).await;
        }
    }
}

/// An admitted request, whose response bytes are counted.
pub(crate) struct QuotaPass {
    quotas: Arc<Quotas>,
    client: Option<Arc<Tally>>,
}

impl QuotaPass {
    /// Counts bytes that were sent.
    pub(crate) fn sent(&self, bytes: u64) {
        let now = self.quotas.clock.unix_seconds();
        self.quotas.ledger.total.add(Resource::Bytes, bytes, now);
        if let Some(client) = &self.client {
            client.add(Resource::Bytes, bytes, now);
        }
    }
}

/// An extension of a response that sends the client to our store: the bytes that the store will send. They are counted as
/// sent, since the store does not report them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linked(pub(crate) u64);
