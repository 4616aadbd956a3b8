//! Downloads in progress, by digest and upstream: a request to one upstream does not wait for another upstream.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::spool::Spool;
use crate::digest::Digest;
use crate::platform::Moment;
use crate::sync::Event;
use crate::upstream::Negative;

/// How long ranges of a blob that nobody fetches whole are kept for the next who wants them.
const IDLE_LIFE: Duration = Duration::from_mins(10);
/// Most blobs of which only ranges are kept.
const MAX_IDLE: usize = 256;

/// A request is asking the upstream for the blob.
#[derive(Default)]
pub(super) struct Opening {
    pub(super) over: Event,
    /// What the requests that wait are told.
    pub(super) news: OnceLock<News>,
}

pub(super) enum News {
    /// The upstream could not answer this asker.
    Refused(Asker, Negative),
    /// It cannot be shared: there is no room for it, or no length.
    Passes,
}

/// The upstream, and the login with which it is asked. Requests of one asker share its failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The upstream's name.
    pub(crate) upstream: Arc<str>,
    /// The fingerprint of the login with which it is asked; all zero: no login.
    pub(crate) credential: [u8; 16],
}

/// An upstream's place in the table.
pub(super) enum Slot {
    Opening(Arc<Opening>),
    Open { spool: Arc<Spool>, used: Moment },
}

impl Slot {
    /// Since when it is unused; `None`: it is being fetched.
    fn idle_since(&self) -> Option<Moment> {
        match self {
            Self::Open { spool, used } if spool.is_at_rest() => Some(*used),
            Self::Open { .. } | Self::Opening(_) => None,
        }
    }

    fn is_dead(&self) -> bool {
        matches!(self, Self::Open { spool, .. } if spool.is_dead())
    }
}

/// A slot, with the name of its upstream.
struct UpstreamSlot {
    upstream: Arc<str>,
    slot: Slot,
}

/// For each digest a slot for each upstream from which it is being downloaded.
#[derive(Default)]
pub(super) struct FillTable(HashMap<Digest, Vec<UpstreamSlot>>);

impl FillTable {
    pub(super) fn get(&mut self, digest: &Digest, upstream: &str) -> Option<&mut Slot> {
        let named = self.0.get_mut(digest)?.iter_mut().find(|named| *named.upstream == *upstream);
        named.map(|named| &mut named.slot)
    }

    pub(super) fn put(&mut self, digest: &Digest, upstream: &Arc<str>, slot: Slot) {
        if let Some(there) = self.get(digest, upstream) {
            *there = slot;
            return;
        }
        let named = UpstreamSlot { upstream: Arc::clone(upstream), slot };
        self.0.entry(digest.clone()).or_default().push(named);
    }

    pub(super) fn remove(&mut self, digest: &Digest, upstream: &str) {
        if let Some(all) = self.0.get_mut(digest) {
            all.retain(|named| *named.upstream != *upstream);
            if all.is_empty() {
                self.0.remove(digest);
            }
        }
    }

    /// A download from another upstream that gives the blob to everybody.
    pub(super) fn elsewhere(&self, digest: &Digest, upstream: &str) -> Option<Arc<Spool>> {
        self.0.get(digest)?.iter().find_map(|named| match &named.slot {
            Slot::Open { spool, .. } if *named.upstream != *upstream && spool.is_for_all() => {
                Some(Arc::clone(spool))
            }
            Slot::Open { .. } | Slot::Opening(_) => None,
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Digest, &Arc<str>, &Slot)> {
        self.0.iter().flat_map(|(digest, all)| all.iter().map(move |named| (digest, &named.upstream, &named.slot)))
    }

    /// Drops slots that nobody has used for long, and those that are of no use.
    pub(super) fn drop_idle(&mut self, now: Moment) {
        self.0.retain(|_, all| {
            all.retain(|UpstreamSlot { slot, .. }| {
                !slot.is_dead() && slot.idle_since().is_none_or(|used| now.since(used) < IDLE_LIFE)
            });
            !all.is_empty()
        });
        let idle = self.all().filter_map(|(digest, upstream, slot)| {
            Some((slot.idle_since()?, digest.clone(), Arc::clone(upstream)))
        });
        let mut idle: Vec<_> = idle.collect();
        let surplus = (idle.len() + 1).saturating_sub(MAX_IDLE);
        idle.sort_unstable_by_key(|(used, ..)| *used);
        for (_, digest, upstream) in idle.into_iter().take(surplus) {
            self.remove(&digest, &upstream);
        }
    }
}
