//! Writes our report of usage into the store and reads those of the other instances. A request waits for that no longer than a
//! second; where the store fails, each instance goes by its own counts.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

use super::clients::Aliases;
use super::ledger::Ledger;
use super::peers::{ExchangeTurn, millis};
use super::report::{MAX_CLIENTS, UsageReport};
use super::window::QuotaWindow;
use crate::cache::{Cache, Key, usage_failed};
use crate::config::Quota;
use crate::platform::{Clock, within};
use crate::telemetry;

/// Shortest time between two writes.
const WRITE_EVERY: Duration = Duration::from_secs(30);
/// Shortest time between two readings of the other reports.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Time until a reading that was cut short goes on.
const GO_ON_AFTER: Duration = Duration::from_secs(5);
/// Longest time for an exchange; after it the request goes on without.
const DEADLINE: Duration = Duration::from_secs(1);
/// Most instances in a day whose reports are read.
const MAX_OTHERS: usize = 4096;
/// Reports that are read at once.
const AT_ONCE: usize = 16;

/// What an exchange works with.
pub(super) struct ReportExchange<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) aliases: &'a Aliases,
    /// The limits of one client, by which clients are compared.
    pub(super) quota: &'a Quota,
    pub(super) cache: &'a Cache,
    pub(super) clock: &'a dyn Clock,
}

impl ReportExchange<'_> {
    /// Writes and reads, as far as either is due.
    pub(super) async fn run(&self, turn: &ExchangeTurn) {
        let (peers, clock) = (&self.ledger.peers, self.clock);
        let Some(name) = peers.name.get() else { return };
        let is_look_due = peers.exchange().begin(clock.now());
        let work = async {
            self.write(turn, name).await;
            if !turn.is_last {
                self.look(name).await;
            }
        };
        let is_late = within(clock, DEADLINE, work).await.is_err();
        let now = clock.unix_seconds();
        let mut exchange = peers.exchange();
        if exchange.day == QuotaWindow::Day.number(now) {
            let (total, peer_usage) = exchange.sum(QuotaWindow::Hour.number(now));
            peers.others.set(total, now);
            *peers.peer_usage() = peer_usage;
        }
        // Even after a failure the store is not asked again at once.
        if clock.now() >= exchange.look_at {
            exchange.look_at = clock.now().after(LOOK_EVERY);
        }
        let has_got_on = exchange.reads_of_turn > 0 || exchange.has_listed;
        if has_got_on && !exchange.unread.is_empty() {
            exchange.look_at = clock.now().after(GO_ON_AFTER);
        } else if is_look_due {
            exchange.unread.clear();
        }
        if is_late && !has_got_on {
            telemetry::store_failed("usage", "cache timed out");
            tracing::warn!("usage could not be shared through the store within a second; continuing without it");
        }
        exchange.has_looked = true;
        peers.due.store(millis(exchange.write_at.min(exchange.look_at)), Ordering::Relaxed);
    }

    async fn write(&self, turn: &ExchangeTurn, name: &str) {
        let (ledger, clock) = (self.ledger, self.clock);
        let now = clock.unix_seconds();
        let (day, usage) = (QuotaWindow::Day.number(now), ledger.total.usage(now));
        {
            let mut exchange = ledger.peers.exchange();
            // Without news the write stays due: the next request is news.
            if !exchange.has_news(usage) || (clock.now() < exchange.write_at && !turn.is_last) {
                return;
            }
            exchange.write_at = clock.now().after(WRITE_EVERY);
        }
        let clients = ledger.clients.foremost(self.quota, MAX_CLIENTS, now).into_iter();
        let clients = clients.map(|(client, usage)| (self.aliases.of(client, day), usage)).collect();
        let report = UsageReport { hour: QuotaWindow::Hour.number(now), usage, clients };
        if self.cache.write_usage(&Key::usage(day, name), report.to_record()).await {
            ledger.peers.exchange().written = usage;
        }
    }

    async fn look(&self, name: &str) {
        let (peers, cache, clock) = (&self.ledger.peers, self.cache, self.clock);
        let day = QuotaWindow::Day.number(clock.unix_seconds());
        let goes_on = {
            let mut exchange = peers.exchange();
            if clock.now() < exchange.look_at {
                return;
            }
            exchange.look_at = clock.now().after(LOOK_EVERY);
            if exchange.day != day {
                exchange.day = day;
                exchange.reports.clear();
                exchange.unread.clear();
            }
            !exchange.unread.is_empty()
        };
        if !goes_on {
            let Some(entries) = cache.usage_of(day, MAX_OTHERS).await else { return };
            peers.exchange().list(name, entries);
        }
        let unread = peers.exchange().to_read();
        // A report that could not be read stays unread and ends this reading.
        let failure = &OnceLock::new();
        let reads = unread.into_iter().map(|(other, (key, used))| -> BoxFuture<'_, ()> {
            Box::pin(async move {
                if failure.get().is_some() {
                    return;
                }
                match cache.read_usage(&key).await {
                    Ok(record) => {
                        let report = record.and_then(|record| UsageReport::from_record(&record));
                        peers.exchange().hear(other, used, report);
                    }
                    Err(error) => {
                        peers.exchange().failed = Some(other);
                        let _ = failure.set(error);
                    }
                }
            })
        });
        let reads: Vec<_> = reads.collect();
        stream::iter(reads).buffer_unordered(AT_ONCE).for_each(|()| std::future::ready(())).await;
        if let Some(error) = failure.get() {
            usage_failed(error);
        }
        // The more instances there are, the more seldom each reads, so that the number of reads grows with the number of instances
        // and not with its square.
        let mut exchange = peers.exchange();
        exchange.look_at = clock.now().after(LOOK_EVERY.max(Duration::from_secs(1) * exchange.reads));
    }
}
