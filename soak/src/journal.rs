//! What the clients have seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::timetable::{Instance, Keeps};

/// More are counted and not kept.
const TROUBLES: usize = 20_000;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Tag,
    Manifest,
    Config,
    Layer,
}

/// What went wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// Bytes of another digest.
    Digest,
    /// A tag that never pointed to this digest, or no digest.
    Tag,
    /// A tag that has pointed elsewhere for too long.
    OutdatedTag,
    /// Another status than 200.
    Status(u16),
    /// No connection, or one that ended before the answer began.
    NoAnswer,
    /// The body ended too early.
    Cut,
    /// It was not over within the clients' time.
    Late,
}

/// A request that failed.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) instance: Instance,
    pub(crate) asked: Asked,
    /// Repository, and tag or digest.
    pub(crate) name: String,
    pub(crate) wrong: Wrong,
    pub(crate) detail: String,
    /// When the request began and ended, since the beginning of the run.
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    /// When this store had delivered the same before; of a tag, the whole image.
    pub(crate) delivered: Option<Delivered>,
}

/// When something was delivered, whole and right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

/// What was counted since the last reading.
#[derive(Default)]
pub(crate) struct Reading {
    /// Until an answer's head, in microseconds; for each instance.
    pub(crate) heads: [Vec<u32>; 3],
}

pub(crate) struct Journal {
    begun: Instant,
    entries: Mutex<Entries>,
}

/// Everything, when the run is over.
#[derive(Default)]
pub(crate) struct Entries {
    reading: Reading,
    pub(crate) heads: [Vec<u32>; 3],
    pub(crate) requests: u64,
    pub(crate) pulls: u64,
    /// Pulls that did not begin because every client was busy.
    pub(crate) skipped: u64,
    pub(crate) bytes: u64,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) troubles_not_kept: u64,
    /// The last whole pull of a tag, by the digest it pointed to; and what was delivered.
    delivered: HashMap<(Keeps, Arc<str>), (Arc<str>, Delivered)>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), entries: Mutex::default() }
    }

    /// Since the beginning of the run.
    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// An answer's head came after so long.
    pub(crate) fn head(&self, instance: Instance, after: Duration) {
        let micros = u32::try_from(after.as_micros()).unwrap_or(u32::MAX);
        let mut entries = self.entries();
        entries.reading.heads[instance.index()].push(micros);
    }

    pub(crate) fn request(&self) {
        self.entries().requests += 1;
    }

    pub(crate) fn pulled(&self) {
        self.entries().pulls += 1;
    }

    pub(crate) fn skipped(&self) {
        self.entries().skipped += 1;
    }

    /// What was asked for was delivered: of `name` in this state.
    pub(crate) fn delivered(&self, keeps: Keeps, name: &Arc<str>, state: &Arc<str>, bytes: u64) {
        let now = self.now();
        let mut entries = self.entries();
        entries.bytes += bytes;
        let fresh = Delivered { first: now, last: now };
        let (known, times) =
            entries.delivered.entry((keeps, Arc::clone(name))).or_insert_with(|| (Arc::clone(state), fresh));
        if known == state {
            times.last = now;
        } else {
            (*known, *times) = (Arc::clone(state), fresh);
        }
    }

    /// A tag points to this now: what was pulled of another state counts no longer.
    pub(crate) fn tag_seen(&self, keeps: Keeps, name: &Arc<str>, digest: &str) {
        let mut entries = self.entries();
        let key = (keeps, Arc::clone(name));
        if entries.delivered.get(&key).is_some_and(|(known, _)| **known != *digest) {
            entries.delivered.remove(&key);
        }
    }

    /// Something went wrong; `key` is what it would have been delivered as.
    pub(crate) fn trouble(&self, key: &Arc<str>, mut trouble: Trouble) {
        let mut entries = self.entries();
        let delivered = entries.delivered.get(&(trouble.instance.keeps(), Arc::clone(key)));
        trouble.delivered = delivered.map(|(_, times)| *times);
        if entries.troubles.len() < TROUBLES {
            entries.troubles.push(trouble);
        } else {
            entries.troubles_not_kept += 1;
        }
    }

    /// How many troubles there were, and requests.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let entries = self.entries();
        (entries.troubles.len(), entries.requests)
    }

    pub(crate) fn read(&self) -> Reading {
        let mut entries = self.entries();
        let reading = std::mem::take(&mut entries.reading);
        for (all, new) in entries.heads.iter_mut().zip(&reading.heads) {
            all.extend_from_slice(new);
        }
        reading
    }

    /// What there is at the end.
    pub(crate) fn take(&self) -> Entries {
        std::mem::take(&mut *self.entries())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value below which so many thousandths of the values lie. Sorts them.
pub(crate) fn quantile(values: &mut [u32], thousandths: usize) -> Option<u32> {
    values.sort_unstable();
    let last = values.len().checked_sub(1)?;
    values.get(last * thousandths / 1000).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_hundred_and_one_values() {
        let mut values: Vec<u32> = (0..=100).rev().collect();
        assert_eq!(
            [0, 500, 990, 1000].map(|at| quantile(&mut values, at)),
            [Some(0), Some(50), Some(99), Some(100)]
        );
        assert_eq!(quantile(&mut [], 500), None);
    }

    #[test]
    fn what_was_pulled_of_a_tag_that_moved_does_not_count() {
        let journal = Journal::new();
        let [tag, old, new] = ["tag", "old", "new"].map(Arc::<str>::from);
        journal.delivered(Keeps::Bucket, &tag, &old, 1);
        journal.tag_seen(Keeps::Bucket, &tag, &old);
        assert_eq!(journal.entries().delivered.len(), 1);
        journal.tag_seen(Keeps::Directory, &tag, &new);
        assert_eq!(journal.entries().delivered.len(), 1);
        journal.tag_seen(Keeps::Bucket, &tag, &new);
        assert!(journal.entries().delivered.is_empty());
    }
}
