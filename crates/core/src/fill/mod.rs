//! Fetching a blob into the cache, once, however many want it.
//!
//! - [`spool`]: the blob while it arrives; clients read from it
//! - [`drive`]: the work that fetches, hashes and commits it, owned by nobody's request
//! - [`reader`]: a client's body, out of the spool
//! - [`spans`] `o`: which bytes are here
//!
//! One entry per digest: first somebody asks the upstream for it (*opening*), while others who come wait for what it
//! says; then the spool, until the blob is whole and in the store.

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
    /// What the upstream said, where all who wait are to hear it.
    refusal: OnceLock<Negative>,
}

/// What one who wants a blob finds.
pub(crate) enum Entry {
    /// Nobody is fetching it.
    Lead(Lead),
    /// It is arriving, or some of it is here.
    Open(Arc<Spool>),
    /// Another asked, and the upstream could not answer, twice.
    Refused(Negative),
}

impl Fills {
    /// Looks for a blob without asking for it.
    pub(crate) fn find(&self, digest: &Digest, now: Moment) -> Option<Arc<Spool>> {
        match self.table().get_mut(digest) {
            Some(Slot::Open { spool, used }) => {
                *used = now;
                Some(Arc::clone(spool))
            }
            Some(Slot::Opening(_)) | None => None,
        }
    }

    /// Takes the lead, or joins those who have it. Where the leader goes away, or the upstream fails it before the
    /// first byte, one who waits is promoted, once; then all hear of the failure.
    pub(crate) async fn enter(self: &Arc<Self>, digest: &Digest, now: Moment) -> Entry {
        let mut promotions = 0;
        loop {
            let opening = match self.table().entry(digest.clone()) {
                Occupied(mut entry) => match entry.get_mut() {
                    Slot::Open { spool, used } => {
                        *used = now;
                        return Entry::Open(Arc::clone(spool));
                    }
                    Slot::Opening(opening) => Arc::clone(opening),
                },
                Vacant(entry) => {
                    let opening = Arc::new(Opening::default());
                    entry.insert(Slot::Opening(Arc::clone(&opening)));
                    return Entry::Lead(Lead { fills: Arc::clone(self), digest: digest.clone(), opening });
                }
            };
            let listener = opening.over.listen();
            let is_under_way = matches!(
                self.table().get(digest), Some(Slot::Opening(current)) if Arc::ptr_eq(current, &opening)
            );
            if is_under_way {
                listener.await;
            }
            if let Some(refusal) = opening.refusal.get() {
                if promotions > 0 {
                    return Entry::Refused(refusal.clone());
                }
                promotions += 1;
            }
        }
    }

    /// Puts a spool where none is.
    pub(crate) fn open(&self, spool: &Arc<Spool>, now: Moment) -> Arc<Spool> {
        let mut table = self.table();
        if let Some(Slot::Open { spool, .. }) = table.get(spool.digest()) {
            return Arc::clone(spool);
        }
        if let Some(Slot::Opening(opening)) = table.get(spool.digest()) {
            // Whoever is asking for the whole finds this one when it comes back.
            opening.over.notify(usize::MAX);
        }
        Self::drop_idle(&mut table, now);
        table.insert(spool.digest().clone(), Slot::Open { spool: Arc::clone(spool), used: now });
        Arc::clone(spool)
    }

    /// Forgets a spool: it is in the store, or of no use.
    pub(crate) fn close(&self, spool: &Arc<Spool>) {
        let mut table = self.table();
        if matches!(table.get(spool.digest()), Some(Slot::Open { spool: current, .. }) if Arc::ptr_eq(current, spool))
        {
            table.remove(spool.digest());
        }
    }

    /// What is on its way, and its bytes as far as they are known.
    pub(crate) fn under_way(&self) -> Vec<(Digest, u64)> {
        let bytes = |slot: &Slot| match slot {
            Slot::Opening(_) => 0,
            Slot::Open { spool, .. } => spool.total(),
        };
        self.table().iter().map(|(digest, slot)| (digest.clone(), bytes(slot))).collect()
    }

    fn drop_idle(table: &mut HashMap<Digest, Slot>, now: Moment) {
        let is_idle = |slot: &Slot| match slot {
            Slot::Open { spool, used } if spool.phase() == Phase::Idle => Some(*used),
            Slot::Open { .. } | Slot::Opening(_) => None,
        };
        table.retain(|_, slot| is_idle(slot).is_none_or(|used| now.since(used) < IDLE_LIFE));
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
    opening: Arc<Opening>,
}

impl Lead {
    /// The upstream gave it: from now on it is read from the spool.
    pub(crate) fn open(self, spool: &Arc<Spool>, now: Moment) {
        self.fills.table().insert(self.digest.clone(), Slot::Open { spool: Arc::clone(spool), used: now });
    }

    /// The upstream could not answer: those who wait hear of it, after one of them has tried.
    pub(crate) fn fail(self, refusal: Negative) {
        let _ = self.opening.refusal.set(refusal);
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
