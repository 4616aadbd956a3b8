//! Fetching a blob into the cache, once, however many want it, or ranges of it.
//!
//! - [`spool`]: the blob while it arrives; clients read from it
//! - [`drive`]: the task that fetches, hashes and commits it, and belongs to no request; [`parts`] `o`: how many
//!   connections it opens
//! - [`intake`]: what one connection brings: written and hashed while the next bytes are read
//! - [`hashing`]: the hash, fed with pieces in order; [`backlog`]: with those that came out of order
//! - [`range_capture`]: the task that fetches the ranges that clients ask for
//! - [`claims`] `o`: which connection fetches which bytes; [`claimed`]: a claim, until it is dropped
//! - [`reader`]: a client's body, read from the spool
//! - [`spans`] `o`: which bytes are present
//! - [`table`]: downloads in progress, by digest and upstream
//!
//! One entry per digest and upstream: first one request asks the upstream for it (*opening*), while others wait for the
//! answer; then the spool, until the blob is complete and in the store.

mod backlog;
mod claimed;
mod claims;
mod drive;
mod hashing;
mod intake;
#[cfg(test)]
#[cfg(feature = "shuttle")]
mod interleavings;
mod parts;
mod range_capture;
mod reader;
mod spans;
mod spool;
mod table;

use std::sync::{Arc, PoisonError};

pub(crate) use self::claimed::Claim;
pub(crate) use self::claims::RangePatience;
pub(crate) use self::drive::{Drive, FillRun, Main};
pub(crate) use self::parts::Parts;
pub(crate) use self::reader::{SpoolPiece, SpoolReader};
pub(crate) use self::spool::{Phase, Spool};
pub(crate) use self::table::Asker;
use self::table::{FillTable, News, Opening, Slot};
use crate::digest::Digest;
use crate::platform::Moment;
use crate::sync::{Mutex, MutexGuard};
use crate::upstream::Negative;

/// Downloads in progress, by digest and upstream.
#[derive(Default)]
pub(crate) struct Fills {
    table: Mutex<FillTable>,
}

/// A download that is running.
pub(crate) struct RunningFill {
    pub(crate) digest: Digest,
    pub(crate) upstream: Arc<str>,
    pub(crate) arrived_bytes: u64,
    pub(crate) total_bytes: u64,
}

/// The role of a request that needs a blob.
pub(crate) enum FillEntry {
    /// Nobody is fetching it: this request leads.
    Lead(FillLead),
    /// It is being downloaded, or some of it is present.
    Open(Arc<Spool>),
    /// The upstream could not answer the same asker's request, twice.
    Refused(Negative),
    /// Another is reading it as it passes: it cannot be shared.
    Pass,
}

impl Fills {
    /// The download of a blob from this upstream, if there is one.
    pub(crate) fn find(&self, digest: &Digest, upstream: &str, now: Moment) -> Option<Arc<Spool>> {
        match self.table().get(digest, upstream) {
            Some(Slot::Open { spool, used }) if !spool.is_dead() => {
                *used = now;
                Some(Arc::clone(spool))
            }
            Some(Slot::Open { .. } | Slot::Opening(_)) | None => None,
        }
    }

    /// The running download from another upstream that gives it to everybody.
    pub(crate) fn find_elsewhere(&self, digest: &Digest, upstream: &str) -> Option<Arc<Spool>> {
        self.table().elsewhere(digest, upstream)
    }

    /// Takes the lead, or joins the leader. If the leader goes away, or the upstream fails it before the first byte,
    /// one waiting request is promoted, once; then all of the same asker get the failure.
    pub(crate) async fn enter(self: &Arc<Self>, digest: &Digest, asker: &Asker, now: Moment) -> FillEntry {
        let mut promotions = 0;
        loop {
            let opening = match self.open_or_lead(digest, asker, now) {
                Ok(opening) => opening,
                Err(entry) => return entry,
            };
            let listener = opening.over.listen();
            let is_under_way = matches!(
                self.table().get(digest, &asker.upstream),
                Some(Slot::Opening(current)) if Arc::ptr_eq(current, &opening)
            );
            if is_under_way {
                listener.await;
            }
            match opening.news.get() {
                Some(News::Passes) => return FillEntry::Pass,
                Some(News::Refused(by, negative)) if by == asker => {
                    if promotions > 0 {
                        return FillEntry::Refused(negative.clone());
                    }
                    promotions += 1;
                }
                Some(News::Refused(..)) | None => {}
            }
        }
    }

    fn open_or_lead(
        self: &Arc<Self>,
        digest: &Digest,
        asker: &Asker,
        now: Moment,
    ) -> Result<Arc<Opening>, FillEntry> {
        let mut table = self.table();
        match table.get(digest, &asker.upstream) {
            Some(Slot::Open { spool, used }) if !spool.is_dead() => {
                *used = now;
                Err(FillEntry::Open(Arc::clone(spool)))
            }
            Some(Slot::Opening(opening)) => Ok(Arc::clone(opening)),
            Some(Slot::Open { .. }) | None => {
                let opening = Arc::<Opening>::default();
                table.put(digest, &asker.upstream, Slot::Opening(Arc::clone(&opening)));
                let (fills, digest, asker) = (Arc::clone(self), digest.clone(), asker.clone());
                Err(FillEntry::Lead(FillLead { fills, digest, asker, opening }))
            }
        }
    }

    /// Puts a spool for ranges where its upstream has none, and returns the one that is there now. One that has only
    /// ranges, and another length, is replaced: nobody knows which is right.
    pub(crate) fn open(&self, spool: &Arc<Spool>, now: Moment) -> Arc<Spool> {
        let mut table = self.table();
        match table.get(spool.digest(), spool.origin()) {
            Some(Slot::Open { spool: other, .. })
                if !other.is_dead() && (other.total() == spool.total() || other.phase() == Phase::Running) =>
            {
                return Arc::clone(other);
            }
            // Whoever is asking for the whole finds this one when it comes back.
            Some(Slot::Opening(opening)) => {
                opening.over.notify(usize::MAX);
            }
            Some(Slot::Open { .. }) | None => {}
        }
        put(&mut table, spool, now);
        Arc::clone(spool)
    }

    /// Puts a spool in the place of one that turned out to be wrong.
    pub(crate) fn replace(&self, spool: &Arc<Spool>, now: Moment) {
        put(&mut self.table(), spool, now);
    }

    /// Forgets a spool: it is in the store, or of no use.
    pub(crate) fn close(&self, spool: &Arc<Spool>) {
        let mut table = self.table();
        if matches!(
            table.get(spool.digest(), spool.origin()),
            Some(Slot::Open { spool: current, .. }) if Arc::ptr_eq(current, spool)
        ) {
            table.remove(spool.digest(), spool.origin());
        }
    }

    /// Drops downloads that nobody has used for long.
    pub(crate) fn let_go(&self, now: Moment) {
        self.table().drop_idle(now);
    }

    /// Drops ranges that nobody reads or adds to, the longest unused first. `wanted` says how many of their bytes must
    /// go; returns how many do.
    pub(crate) fn make_room(&self, wanted: impl FnOnce(u64) -> u64) -> u64 {
        let mut table = self.table();
        // Nobody but the table has it, and nobody gets it while the table is held.
        let is_unread = |spool: &Arc<Spool>| spool.phase() == Phase::Idle && Arc::strong_count(spool) == 1;
        let unread = table.all().filter_map(|(digest, upstream, slot)| match slot {
            Slot::Open { spool, used } if is_unread(spool) => {
                Some((*used, spool.present(), digest.clone(), Arc::clone(upstream)))
            }
            Slot::Open { .. } | Slot::Opening(_) => None,
        });
        let mut unread: Vec<(Moment, u64, Digest, Arc<str>)> = unread.collect();
        unread.sort_unstable_by_key(|(used, ..)| *used);
        let wanted = wanted(unread.iter().map(|(_, bytes, ..)| bytes).sum());
        let mut freed = 0;
        for (_, bytes, digest, upstream) in unread {
            if freed >= wanted {
                break;
            }
            table.remove(&digest, &upstream);
            freed += bytes;
        }
        freed
    }

    /// Digests of all downloads in progress, with the bytes that each takes, as far as known.
    pub(crate) fn under_way(&self) -> Vec<(Digest, u64)> {
        let bytes = |slot: &Slot| match slot {
            Slot::Opening(_) => 0,
            Slot::Open { spool, .. } if spool.phase() == Phase::Idle => spool.present(),
            Slot::Open { spool, .. } => spool.total(),
        };
        self.table().all().map(|(digest, _, slot)| (digest.clone(), bytes(slot))).collect()
    }

    /// Up to `most` downloads that are running from these upstreams, in the order of their digests, and how many more there are.
    pub(crate) fn running(&self, is_meant: impl Fn(&str) -> bool, most: usize) -> (Vec<RunningFill>, usize) {
        let running = |(_, _, slot): (&Digest, &Arc<str>, &Slot)| match slot {
            Slot::Open { spool, .. } if spool.phase() == Phase::Running && is_meant(spool.origin()) => {
                Some(RunningFill {
                    digest: spool.digest().clone(),
                    upstream: Arc::clone(spool.origin()),
                    arrived_bytes: spool.present(),
                    total_bytes: spool.total(),
                })
            }
            Slot::Open { .. } | Slot::Opening(_) => None,
        };
        let mut all: Vec<RunningFill> = self.table().all().filter_map(running).collect();
        all.sort_by(|one, other| one.digest.as_str().cmp(other.digest.as_str()));
        let rest = all.len().saturating_sub(most);
        all.truncate(most);
        (all, rest)
    }

    fn table(&self) -> MutexGuard<'_, FillTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(table: &mut FillTable, spool: &Arc<Spool>, now: Moment) {
    table.drop_idle(now);
    let slot = Slot::Open { spool: Arc::clone(spool), used: now };
    table.put(spool.digest(), spool.origin(), slot);
}

/// Held by the one who asks the upstream for a blob that nobody else is fetching. Dropped without a word, it promotes
/// one of those who wait.
pub(crate) struct FillLead {
    fills: Arc<Fills>,
    digest: Digest,
    asker: Asker,
    opening: Arc<Opening>,
}

impl FillLead {
    /// The upstream gave it: from now on it is read from this spool, or from one that a range opened meanwhile.
    pub(crate) fn open(self, spool: &Arc<Spool>, now: Moment) -> Arc<Spool> {
        let mut table = self.fills.table();
        if let Some(Slot::Open { spool: other, used }) = table.get(&self.digest, &self.asker.upstream)
            && !other.is_dead()
            && other.total() == spool.total()
        {
            *used = now;
            return Arc::clone(other);
        }
        put(&mut table, spool, now);
        Arc::clone(spool)
    }

    /// The upstream could not answer: those who wait hear of it, after one of them has tried.
    pub(crate) fn fail(self, refusal: Negative) {
        let _ = self.opening.news.set(News::Refused(self.asker.clone(), refusal));
    }

    /// It cannot be shared: those who wait need not wait for each other.
    pub(crate) fn pass(self) {
        let _ = self.opening.news.set(News::Passes);
    }
}

impl Drop for FillLead {
    fn drop(&mut self) {
        let mut table = self.fills.table();
        let upstream = &self.asker.upstream;
        let is_ours = matches!(
            table.get(&self.digest, upstream), Some(Slot::Opening(current)) if Arc::ptr_eq(current, &self.opening)
        );
        if is_ours {
            table.remove(&self.digest, upstream);
        }
        drop(table);
        self.opening.over.notify(usize::MAX);
    }
}
