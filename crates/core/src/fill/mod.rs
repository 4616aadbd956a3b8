//! Fetching a blob into the cache, once, however many want it.
//!
//! - [`spool`]: the blob while it arrives; clients read from it
//! - [`drive`]: the work that fetches, hashes and commits it, owned by nobody's request
//! - [`claims`] `o`: who fetches which bytes
//! - [`reader`]: a client's body, out of the spool
//! - [`spans`] `o`: which bytes are here
//!
//! One entry per digest: first somebody asks the upstream for it (*opening*), while others who come wait for what it
//! says; then the spool, until the blob is whole and in the store.

mod claims;
mod drive;
#[cfg(test)]
#[cfg(feature = "shuttle")]
mod interleavings;
mod keep;
mod reader;
mod spans;
mod spool;

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

pub(crate) use self::drive::{Drive, Parts};
pub(crate) use self::keep::Keep;
pub(crate) use self::reader::Reader;
pub(crate) use self::spool::{Phase, Spool};
use crate::digest::Digest;
use crate::platform::Moment;
use crate::sync::{Event, Mutex, MutexGuard};
use crate::upstream::Negative;

/// How long ranges of a blob that nobody fetches whole are kept for the next who wants them.
const IDLE_LIFE: Duration = Duration::from_mins(10);
/// Most blobs of which only ranges are kept.
const MAX_IDLE: usize = 256;

/// Blobs that are arriving, by digest.
#[derive(Default)]
pub(crate) struct Fills {
    table: Mutex<HashMap<Digest, Slot>>,
}

enum Slot {
    Opening(Arc<Opening>),
    Open { spool: Arc<Spool>, used: Moment },
}

/// Somebody asks the upstream for it.
#[derive(Default)]
struct Opening {
    over: Event,
    /// What all who wait are to hear.
    news: OnceLock<News>,
}

enum News {
    /// This upstream could not answer, to one who asked as this one.
    Refused(Asker, Negative),
    /// It cannot be shared: there is no room for it, or no length.
    Passes,
}

/// Who wants a blob. Digests are the same everywhere; failures are not, nor is what nobody has verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The upstream's name.
    pub(crate) upstream: Arc<str>,
    /// The fingerprint of the login with which it is asked; all zero for nobody's.
    pub(crate) credential: [u8; 16],
}

/// What one who wants a blob finds.
pub(crate) enum Entry {
    /// Nobody is fetching it.
    Lead(Lead),
    /// It is arriving, or some of it is here.
    Open(Arc<Spool>),
    /// Another asked as this one would, and the upstream could not answer, twice.
    Refused(Negative),
    /// Another is reading it as it passes: it cannot be shared.
    Pass,
}

impl Fills {
    /// Looks for a blob without asking for it: what is of use to clients of this upstream.
    pub(crate) fn find(&self, digest: &Digest, upstream: &str, now: Moment) -> Option<Arc<Spool>> {
        match self.table().get_mut(digest) {
            Some(Slot::Open { spool, used }) if spool.serves(upstream) => {
                *used = now;
                Some(Arc::clone(spool))
            }
            Some(Slot::Open { .. } | Slot::Opening(_)) | None => None,
        }
    }

    /// Takes the lead, or joins those who have it. Where the leader goes away, or the upstream fails it before the
    /// first byte, one who waits is promoted, once; then all who asked the same hear of the failure.
    pub(crate) async fn enter(self: &Arc<Self>, digest: &Digest, asker: &Asker, now: Moment) -> Entry {
        let mut promotions = 0;
        loop {
            let opening = match self.table().entry(digest.clone()) {
                Occupied(mut entry) => match entry.get_mut() {
                    Slot::Open { spool, used } if spool.serves(&asker.upstream) => {
                        *used = now;
                        return Entry::Open(Arc::clone(spool));
                    }
                    Slot::Opening(opening) => Arc::clone(opening),
                    dead @ Slot::Open { .. } => {
                        let lead = Lead::new(self, digest, asker);
                        *dead = Slot::Opening(Arc::clone(&lead.opening));
                        return Entry::Lead(lead);
                    }
                },
                Vacant(entry) => {
                    let lead = Lead::new(self, digest, asker);
                    entry.insert(Slot::Opening(Arc::clone(&lead.opening)));
                    return Entry::Lead(lead);
                }
            };
            let listener = opening.over.listen();
            let is_under_way = matches!(
                self.table().get(digest), Some(Slot::Opening(current)) if Arc::ptr_eq(current, &opening)
            );
            if is_under_way {
                listener.await;
            }
            match opening.news.get() {
                Some(News::Passes) => return Entry::Pass,
                Some(News::Refused(by, negative)) if by == asker => {
                    if promotions > 0 {
                        return Entry::Refused(negative.clone());
                    }
                    promotions += 1;
                }
                Some(News::Refused(..)) | None => {}
            }
        }
    }

    /// Puts a spool for ranges where there is none of its upstream, and gives the one that is there now; `None`: another
    /// upstream's blob is arriving there.
    pub(crate) fn open(&self, spool: &Arc<Spool>, now: Moment) -> Option<Arc<Spool>> {
        let mut table = self.table();
        match table.get(spool.digest()) {
            Some(Slot::Open { spool: other, .. }) if other.serves(spool.origin()) => {
                return (other.origin() == spool.origin()).then(|| Arc::clone(other));
            }
            // Whoever is asking for the whole finds this one when it comes back.
            Some(Slot::Opening(opening)) => {
                opening.over.notify(usize::MAX);
            }
            Some(Slot::Open { .. }) | None => {}
        }
        Self::drop_idle(&mut table, now);
        table.insert(spool.digest().clone(), Slot::Open { spool: Arc::clone(spool), used: now });
        Some(Arc::clone(spool))
    }

    /// Forgets a spool: it is in the store, or of no use.
    pub(crate) fn close(&self, spool: &Arc<Spool>) {
        let mut table = self.table();
        if matches!(table.get(spool.digest()), Some(Slot::Open { spool: current, .. }) if Arc::ptr_eq(current, spool))
        {
            table.remove(spool.digest());
        }
    }

    /// Lets go what nobody has wanted for long.
    pub(crate) fn let_go(&self, now: Moment) {
        Self::drop_idle(&mut self.table(), now);
    }

    /// Lets go ranges that nobody reads or adds to, the longest unused first. `wanted` says how many bytes must go, of so
    /// many; how many do.
    pub(crate) fn make_room(&self, wanted: impl FnOnce(u64) -> u64) -> u64 {
        let mut table = self.table();
        // Nobody but the table has it, and nobody gets it while the table is held.
        let is_unread = |spool: &Arc<Spool>| spool.phase() == Phase::Idle && Arc::strong_count(spool) == 1;
        let unread = table.iter().filter_map(|(digest, slot)| match slot {
            Slot::Open { spool, used } if is_unread(spool) => Some((*used, spool.present(), digest.clone())),
            Slot::Open { .. } | Slot::Opening(_) => None,
        });
        let mut unread: Vec<(Moment, u64, Digest)> = unread.collect();
        unread.sort_unstable_by_key(|(used, ..)| *used);
        let wanted = wanted(unread.iter().map(|(_, bytes, _)| bytes).sum());
        let mut freed = 0;
        for (_, bytes, digest) in unread {
            if freed >= wanted {
                break;
            }
            table.remove(&digest);
            freed += bytes;
        }
        freed
    }

    /// What is on its way, and the bytes that it takes, as far as they are known.
    pub(crate) fn under_way(&self) -> Vec<(Digest, u64)> {
        let bytes = |slot: &Slot| match slot {
            Slot::Opening(_) => 0,
            Slot::Open { spool, .. } if spool.phase() == Phase::Idle => spool.present(),
            Slot::Open { spool, .. } => spool.total(),
        };
        self.table().iter().map(|(digest, slot)| (digest.clone(), bytes(slot))).collect()
    }

    fn drop_idle(table: &mut HashMap<Digest, Slot>, now: Moment) {
        let is_idle = |slot: &Slot| match slot {
            Slot::Open { spool, used } if spool.phase() == Phase::Idle => Some(*used),
            Slot::Open { .. } | Slot::Opening(_) => None,
        };
        let is_dead = |slot: &Slot| matches!(slot, Slot::Open { spool, .. } if spool.is_dead());
        table.retain(|_, slot| !is_dead(slot) && is_idle(slot).is_none_or(|used| now.since(used) < IDLE_LIFE));
        while table.values().filter(|slot| is_idle(slot).is_some()).count() >= MAX_IDLE {
            let oldest = table
                .iter()
                .filter_map(|(digest, slot)| Some((is_idle(slot)?, digest.clone())))
                .min_by_key(|(used, _)| *used);
            let Some((_, digest)) = oldest else { return };
            table.remove(&digest);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Digest, Slot>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the one who asks the upstream for a blob that nobody else is fetching. Dropped without a word, it promotes
/// one of those who wait.
pub(crate) struct Lead {
    fills: Arc<Fills>,
    digest: Digest,
    asker: Asker,
    opening: Arc<Opening>,
}

impl Lead {
    fn new(fills: &Arc<Fills>, digest: &Digest, asker: &Asker) -> Self {
        let (fills, opening) = (Arc::clone(fills), Arc::default());
        Self { fills, digest: digest.clone(), asker: asker.clone(), opening }
    }

    /// The upstream gave it: from now on it is read from this spool, or from one that a range opened meanwhile.
    pub(crate) fn open(self, spool: &Arc<Spool>, now: Moment) -> Arc<Spool> {
        let mut table = self.fills.table();
        if let Some(Slot::Open { spool: other, used }) = table.get_mut(&self.digest)
            && other.serves(spool.origin())
            && other.total() == spool.total()
        {
            *used = now;
            return Arc::clone(other);
        }
        Fills::drop_idle(&mut table, now);
        table.insert(self.digest.clone(), Slot::Open { spool: Arc::clone(spool), used: now });
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

impl Drop for Lead {
    fn drop(&mut self) {
        let mut table = self.fills.table();
        if matches!(table.get(&self.digest), Some(Slot::Opening(current)) if Arc::ptr_eq(current, &self.opening)) {
            table.remove(&self.digest);
        }
        drop(table);
        self.opening.over.notify(usize::MAX);
    }
}
