//! What the other instances on one store counted, and whose turn it is to exchange reports with them. Each instance writes its
//! totals of the present day and hour now and then, with those clients who have used most, and reads the others' reports. That
//! is approximate and cheap.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::clients::Alias;
use super::report::UsageReport;
use super::window::{QuotaWindow, Tally, Usage};
use crate::cache::Key;
use crate::platform::{Entropy, Moment};

/// Time between two checks whether there is anything to write.
const GLANCE_EVERY: Duration = Duration::from_secs(1);

/// Our part in the exchange, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Our name among the instances.
    pub(super) name: OnceLock<Box<str>>,
    pub(super) others: Tally,
    peer_usage: Mutex<PeerUsage>,
    /// When something is due next, in milliseconds on the clock.
    pub(super) due: AtomicU64,
    busy: Arc<AtomicBool>,
    exchange: Mutex<ExchangeState>,
}

/// What the others reported of each client, added up.
#[derive(Debug, Default)]
pub(super) struct PeerUsage {
    hour: u64,
    clients: BTreeMap<Alias, Usage>,
}

/// The state of the exchange; only the holder of the turn uses it.
#[derive(Debug, Default)]
pub(super) struct ExchangeState {
    pub(super) write_at: Moment,
    pub(super) look_at: Moment,
    pub(super) has_looked: bool,
    pub(super) written: Usage,
    pub(super) day: u64,
    /// By instance: when its report was written, as the store says, and the report.
    pub(super) reports: BTreeMap<Box<str>, (u64, UsageReport)>,
    /// Reports that are listed and not read yet: the key, and when it was written.
    pub(super) unread: BTreeMap<Box<str>, (Key, u64)>,
    /// The instance whose report could not be read last time: the next turn begins behind it.
    pub(super) failed: Option<Box<str>>,
    /// How many were read since they were listed, and how many of them in this turn.
    pub(super) reads: u32,
    pub(super) reads_of_turn: u32,
    /// Whether they were listed in this turn.
    pub(super) has_listed: bool,
}

impl ExchangeState {
    /// Whether our usage has changed since the last report.
    pub(super) fn has_news(&self, used: Usage) -> bool {
        used != Usage::default() && used != self.written
    }

    /// Begins a turn. Returns whether the other reports are due to be read.
    pub(super) fn begin(&mut self, now: Moment) -> bool {
        (self.reads_of_turn, self.has_listed) = (0, false);
        now >= self.look_at
    }

    /// Takes the list of reports, for the instance of this name. Only reports that were written since they were read are read
    /// again: most instances ended hours ago.
    pub(super) fn list(&mut self, name: &str, entries: Vec<(Key, Box<str>, u64)>) {
        (self.reads, self.has_listed) = (0, true);
        for (key, other, used) in entries {
            if *other != *name && self.reports.get(&other).is_none_or(|(then, _)| *then != used) {
                self.unread.insert(other, (key, used));
            }
        }
    }

    /// What is not read yet, beginning behind the report that could not be read.
    pub(super) fn to_read(&self) -> Vec<(Box<str>, (Key, u64))> {
        let unread = self.unread.iter().map(|(other, place)| (other.clone(), place.clone()));
        let (before, behind): (Vec<_>, Vec<_>) =
            unread.partition(|(other, _)| Some(other) <= self.failed.as_ref());
        behind.into_iter().chain(before).collect()
    }

    /// Takes a report that was read. `None`: it is gone, or unreadable.
    pub(super) fn hear(&mut self, other: Box<str>, used: u64, report: Option<UsageReport>) {
        self.unread.remove(&other);
        self.reads += 1;
        self.reads_of_turn += 1;
        if let Some(report) = report {
            self.reports.insert(other, (used, report));
        }
    }

    /// All reports, added up.
    pub(super) fn sum(&self, hour: u64) -> (Usage, PeerUsage) {
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

/// The right to exchange reports, until it is dropped.
pub(super) struct ExchangeTurn {
    busy: Arc<AtomicBool>,
    is_first: bool,
    pub(super) is_last: bool,
}

impl ExchangeTurn {
    /// Whether no report has been read yet.
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
    /// Chooses a name that no other instance has.
    pub(super) fn name(&self, entropy: &dyn Entropy) {
        self.name.get_or_init(|| {
            let mut bytes = [0; 8];
            entropy.fill(&mut bytes);
            format!("{:016x}", u64::from_be_bytes(bytes)).into()
        });
    }

    /// Takes over the name of `other`, if it has one.
    pub(super) fn take_name(&self, other: &Self) {
        if let Some(name) = other.name.get() {
            self.name.get_or_init(|| name.clone());
        }
    }

    /// What the others have used, as far as they reported it.
    pub(super) fn others(&self, now: u64) -> Usage {
        self.others.usage(now)
    }

    /// What the others have reported of a client.
    pub(super) fn others_of(&self, now: u64, alias: impl FnOnce() -> Alias) -> Usage {
        let peer_usage = self.peer_usage();
        if peer_usage.clients.is_empty() {
            return Usage::default();
        }
        let usage = peer_usage.clients.get(&alias()).copied().unwrap_or_default();
        if peer_usage.hour == QuotaWindow::Hour.number(now) { usage } else { usage.of_day() }
    }

    /// Takes the turn, if something is due and nobody has it.
    pub(super) fn turn(&self, now: Moment, used: impl FnOnce() -> Usage) -> Option<ExchangeTurn> {
        if millis(now) < self.due.load(Ordering::Relaxed) {
            return None;
        }
        let turn = self.take(false)?;
        let exchange = self.exchange();
        if now < exchange.look_at && !exchange.has_news(used()) {
            // Usage changes only when a request is served, so not each refused one need check.
            self.due.store(millis(now.after(GLANCE_EVERY)), Ordering::Relaxed);
            return None;
        }
        Some(turn)
    }

    /// Takes the turn to write the last report.
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

    pub(super) fn exchange(&self) -> MutexGuard<'_, ExchangeState> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn peer_usage(&self) -> MutexGuard<'_, PeerUsage> {
        self.peer_usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}
