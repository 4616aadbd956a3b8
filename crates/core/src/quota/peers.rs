//! What instances on one store tell each other: each writes its own totals of the present day and hour now and then,
//! with those clients who have used most, and reads the others'. Approximate and cheap: on the way of a request, never
//! for longer than a second, and where the store fails, each goes by what it knows itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

use super::Quotas;
use super::clients::Alias;
use super::report::{MAX_CLIENTS, UsageReport};
use super::window::{QuotaWindow, Tally, Usage};
use crate::cache::{Cache, Key, usage_failed};
use crate::platform::{Clock, Entropy, Moment, within};
use crate::telemetry;

/// Between two writes, at least.
const WRITE_EVERY: Duration = Duration::from_secs(30);
/// Between two looks at the others, at least.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// The same where a look has not come to its end.
const GO_ON_AFTER: Duration = Duration::from_secs(5);
/// Between two looks at whether there is anything to write.
const GLANCE_EVERY: Duration = Duration::from_secs(1);
/// All of it, before a request goes on without.
const DEADLINE: Duration = Duration::from_secs(1);
/// More instances than these in a day are not heard.
const MAX_OTHERS: usize = 4096;
/// Notes that are read at once.
const AT_ONCE: usize = 16;

/// One instance's part in it.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Who we are to the others.
    name: OnceLock<Box<str>>,
    others: Tally,
    peer_usage: Mutex<PeerUsage>,
    /// When something is due next, in milliseconds on the clock.
    due: AtomicU64,
    busy: Arc<AtomicBool>,
    exchange: Mutex<ExchangeState>,
}

/// What the others have told of clients, added up in one hour.
#[derive(Debug, Default)]
struct PeerUsage {
    hour: u64,
    clients: BTreeMap<Alias, Usage>,
}

/// What only whoever has the turn looks at.
#[derive(Debug, Default)]
struct ExchangeState {
    write_at: Moment,
    look_at: Moment,
    has_looked: bool,
    written: Usage,
    day: u64,
    /// By name: when it was written, as the store says, and what it says.
    reports: BTreeMap<Box<str>, (u64, UsageReport)>,
    /// What was listed and is not read yet: where it is, and when it was written.
    unread: BTreeMap<Box<str>, (Key, u64)>,
    /// Whose could not be read the last time: it keeps nobody from the others.
    failed: Option<Box<str>>,
    /// How many were read since they were listed, and how many of them in this turn.
    reads: u32,
    reads_of_turn: u32,
    /// Whether they were listed in this turn.
    has_listed: bool,
}

impl ExchangeState {
    /// Whether the others do not know yet what we have used.
    fn has_news(&self, used: Usage) -> bool {
        used != Usage::default() && used != self.written
    }

    /// A turn begins; whether it is to look at the others.
    fn begin(&mut self, now: Moment) -> bool {
        (self.reads_of_turn, self.has_listed) = (0, false);
        now >= self.look_at
    }

    /// What there is to read, for whoever has this name: only what was written since it was read. Most are instances
    /// that ended hours ago.
    fn list(&mut self, name: &str, entries: Vec<(Key, Box<str>, u64)>) {
        (self.reads, self.has_listed) = (0, true);
        for (key, other, used) in entries {
            if *other != *name && self.reports.get(&other).is_none_or(|(then, _)| *then != used) {
                self.unread.insert(other, (key, used));
            }
        }
    }

    /// What is not read yet: first what comes behind the one that could not be read.
    fn to_read(&self) -> Vec<(Box<str>, (Key, u64))> {
        let unread = self.unread.iter().map(|(other, place)| (other.clone(), place.clone()));
        let (before, behind): (Vec<_>, Vec<_>) =
            unread.partition(|(other, _)| Some(other) <= self.failed.as_ref());
        behind.into_iter().chain(before).collect()
    }

    /// One was read; `None`: it is gone, or makes no sense.
    fn hear(&mut self, other: Box<str>, used: u64, note: Option<UsageReport>) {
        self.unread.remove(&other);
        self.reads += 1;
        self.reads_of_turn += 1;
        if let Some(report) = note {
            self.reports.insert(other, (used, report));
        }
    }

    /// All that was heard, added up.
    fn sum(&self, hour: u64) -> (Usage, PeerUsage) {
        let (mut total, mut peer_usage) = (Usage::default(), PeerUsage { hour, clients: BTreeMap::new() });
        for (_, report) in self.reports.values() {
            let report = report.clone().at(hour);
            total = total.plus(report.usage);
            for (alias, usage) in report.clients {
                let sum = peer_usage.clients.entry(alias).or_default();
                *sum = sum.plus(usage);
            }
        }
        (total, peer_usage)
    }
}

/// The right to exchange, until it is dropped.
pub(super) struct ExchangeTurn {
    busy: Arc<AtomicBool>,
    is_first: bool,
    is_last: bool,
}

impl ExchangeTurn {
    /// Whether nothing is known of the others yet.
    pub(super) fn is_first(&self) -> bool {
        self.is_first
    }
}

impl Drop for ExchangeTurn {
    fn drop(&mut self) {
        self.busy.store(false, Ordering::Release);
    }
}

impl Peers {
    /// Takes a name that no other instance has.
    pub(super) fn name(&self, entropy: &dyn Entropy) {
        self.name.get_or_init(|| {
            let mut bytes = [0; 8];
            entropy.fill(&mut bytes);
            format!("{:016x}", u64::from_be_bytes(bytes)).into()
        });
    }

    /// Takes another's name, where it has none.
    pub(super) fn take_name(&self, other: &Self) {
        if let Some(name) = other.name.get() {
            self.name.get_or_init(|| name.clone());
        }
    }

    /// What the others have used, as far as is known.
    pub(super) fn others(&self, now: u64) -> Usage {
        self.others.usage(now)
    }

    /// What the others have told of a client, as far as is known.
    pub(super) fn others_of(&self, now: u64, alias: impl FnOnce() -> Alias) -> Usage {
        let peer_usage = self.peer_usage();
        if peer_usage.clients.is_empty() {
            return Usage::default();
        }
        let usage = peer_usage.clients.get(&alias()).copied().unwrap_or_default();
        if peer_usage.hour == QuotaWindow::Hour.number(now) { usage } else { usage.of_day() }
    }

    /// The turn, if something is due and nobody has it.
    pub(super) fn turn(&self, now: Moment, used: impl FnOnce() -> Usage) -> Option<ExchangeTurn> {
        if millis(now) < self.due.load(Ordering::Relaxed) {
            return None;
        }
        let turn = self.take(false)?;
        let exchange = self.exchange();
        if now < exchange.look_at && !exchange.has_news(used()) {
            // Until somebody is served again; and those who are refused meanwhile do not all look here.
            self.due.store(millis(now.after(GLANCE_EVERY)), Ordering::Relaxed);
            return None;
        }
        Some(turn)
    }

    /// The turn to write what is left to be written.
    pub(super) fn last_turn(&self) -> Option<ExchangeTurn> {
        self.take(true)
    }

    fn take(&self, is_last: bool) -> Option<ExchangeTurn> {
        if self.busy.swap(true, Ordering::Acquire) {
            return None;
        }
        let is_first = !self.exchange().has_looked;
        Some(ExchangeTurn { busy: Arc::clone(&self.busy), is_first, is_last })
    }

    fn exchange(&self) -> MutexGuard<'_, ExchangeState> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer_usage(&self) -> MutexGuard<'_, PeerUsage> {
        self.peer_usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes and looks, as far as either is due.
pub(super) async fn exchange(turn: &ExchangeTurn, cache: &Cache, quotas: &Quotas) {
    let (peers, clock) = (&quotas.ledger.peers, &*quotas.clock);
    let Some(name) = peers.name.get() else { return };
    let is_look_due = peers.exchange().begin(clock.now());
    let work = async {
        write(turn, name, cache, quotas).await;
        if !turn.is_last {
            look(name, cache, peers, clock).await;
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
    // However it went: the store is not asked again at once.
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

async fn write(turn: &ExchangeTurn, name: &str, cache: &Cache, quotas: &Quotas) {
    let (ledger, clock) = (&quotas.ledger, &*quotas.clock);
    let now = clock.unix_seconds();
    let (day, usage) = (QuotaWindow::Day.number(now), ledger.total.usage(now));
    {
        let mut exchange = ledger.peers.exchange();
        // Where nothing is new it stays due: the next request is news.
        if !exchange.has_news(usage) || (clock.now() < exchange.write_at && !turn.is_last) {
            return;
        }
        exchange.write_at = clock.now().after(WRITE_EVERY);
    }
    let clients = ledger.clients.foremost(&quotas.config.client, MAX_CLIENTS, now).into_iter();
    let clients = clients.map(|(client, usage)| (quotas.aliases.of(client, day), usage)).collect();
    let report = UsageReport { hour: QuotaWindow::Hour.number(now), usage, clients };
    if cache.write_usage(&Key::usage(day, name), report.to_record()).await {
        ledger.peers.exchange().written = usage;
    }
}

async fn look(name: &str, cache: &Cache, peers: &Peers, clock: &dyn Clock) {
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
    // What could not be read stays unread, and ends this look: no more is begun.
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
    // The more there are, the more seldom each looks: what all of them ask grows with their number, not its square.
    let mut exchange = peers.exchange();
    exchange.look_at = clock.now().after(LOOK_EVERY.max(Duration::from_secs(1) * exchange.reads));
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}
