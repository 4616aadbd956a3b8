//! Where a held tag points: pure. A tag that moved goes on pointing to the digest it had until the new one has been seen to
//! stand for the time of its rule, by our own clock.
//!
//! - a newer digest restarts the time; a tag that moves back was never away
//! - after `hold_max` the newest digest that is old enough is taken, so that tags which move all the time age too
//! - two processes that write at once agree: [`HoldRecord::merge`] decides without regard to who wrote last

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::config::{HoldNew, HoldRule};
use crate::digest::Digest;

/// Most moves that a record keeps. Of a tag that moves more often within `hold`, those closest together are merged.
const MAX_MOVES: usize = 32;

/// A digest that a tag moved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sighting {
    pub(crate) digest: Digest,
    /// When it was first seen there, in seconds since 1970.
    pub(crate) seen: u64,
}

/// What is known of a held tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HoldRecord {
    /// Grows with each decision: that of the higher generation counts.
    pub(crate) generation: u64,
    /// Where clients are led; `None`: nowhere yet.
    pub(crate) served: Option<Digest>,
    /// When the upstream was first seen to point elsewhere, in seconds since 1970; of use only with `moves`.
    pub(crate) moved: u64,
    /// Where the upstream has pointed since then, in order. Empty: where clients are led.
    pub(crate) moves: Vec<Sighting>,
    /// The upstream has deleted the tag since the last move.
    pub(crate) is_gone: bool,
    /// What was pushed through this proxy: clients get it as soon as it is seen.
    pub(crate) pushed: Option<Digest>,
    /// Where an operator pinned the tag.
    pub(crate) pinned: Option<Digest>,
}

/// What an upstream says of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagSeen<'a> {
    /// It points there.
    At(&'a Digest),
    /// There is no such tag.
    Gone,
}

/// What has changed with a look at the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HoldChange {
    /// Nothing.
    None,
    /// The tag was seen for the first time.
    First,
    /// It moved from one digest to another. Clients do not get that yet.
    Moved {
        /// Where it pointed before; `None`: it is new, and not served.
        from: Option<Digest>,
        /// Where it points now.
        to: Digest,
    },
    /// It moved back to what clients get.
    Back,
    /// Clients get another digest from now on.
    Taken {
        /// What they got before.
        from: Option<Digest>,
        /// What they get now.
        to: Digest,
    },
    /// The upstream deleted it.
    Gone,
}

/// What clients get for a held tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    /// What the upstream has.
    Current(&'a Digest),
    /// What it had, as the upstream has moved on.
    Held {
        /// What clients get.
        served: &'a Digest,
        /// When the upstream moved, in seconds since 1970.
        moved: u64,
    },
    /// What an operator pinned.
    Pinned(&'a Digest),
    /// Nothing: the tag is new.
    New(&'a Sighting),
    /// Nothing is known of it.
    Unknown,
}

impl HoldRecord {
    /// Of a tag that points there and is not held so far.
    pub(crate) fn at(digest: Digest) -> Self {
        Self { served: Some(digest), ..Self::default() }
    }

    /// What clients get.
    pub(crate) fn standing(&self) -> Standing<'_> {
        match (&self.pinned, &self.served, self.moves.last()) {
            (Some(pinned), ..) => Standing::Pinned(pinned),
            (None, Some(served), None) => Standing::Current(served),
            (None, Some(served), Some(_)) => Standing::Held { served, moved: self.moved },
            (None, None, Some(newest)) => Standing::New(newest),
            (None, None, None) => Standing::Unknown,
        }
    }

    /// Whether clients must not have this digest yet, as far as this tag is concerned.
    pub(crate) fn holds(&self, digest: &Digest, rule: HoldRule, now: u64) -> bool {
        let is_wanted = [&self.served, &self.pinned, &self.pushed].into_iter().flatten().any(|one| one == digest);
        let mut moves = self.moves.iter().filter(|one| one.digest == *digest).peekable();
        !is_wanted && moves.peek().is_some() && moves.all(|one| !is_old(one, rule, now))
    }

    /// When clients get what the upstream has now, if it stays there, in seconds since 1970. The proxy must see it then.
    pub(crate) fn until(&self, rule: HoldRule) -> Option<u64> {
        Some(self.moves.last()?.seen.saturating_add(rule.span.0.as_secs()))
    }

    /// The record after a look at the upstream, and what has changed.
    pub(crate) fn observe(mut self, seen: TagSeen<'_>, rule: HoldRule, now: u64) -> (Self, HoldChange) {
        // A time to come is a clock gone wrong: it must not hold a tag for ever.
        for one in std::mem::take(&mut self.moves) {
            add(&mut self.moves, Sighting { seen: one.seen.min(now), ..one });
        }
        self.moved = self.moved.min(now);
        let digest = match seen {
            TagSeen::Gone if self.is_gone => return (self, HoldChange::None),
            TagSeen::Gone => return (Self { is_gone: true, ..self.decided() }, HoldChange::Gone),
            TagSeen::At(digest) => digest,
        };
        if self.served.as_ref() == Some(digest) {
            return match (self.moves.is_empty(), self.is_gone) {
                (true, false) => (self, HoldChange::None),
                (true, true) | (false, _) => (self.lead_to(digest), HoldChange::Back),
            };
        }
        let is_new = self.served.is_none() && self.moves.is_empty();
        if is_new && rule.new == HoldNew::Serve {
            return (self.lead_to(digest), HoldChange::First);
        }
        if self.pushed.as_ref() == Some(digest) {
            return self.take_now(digest);
        }
        let last = self.moves.last().map(|last| &last.digest);
        let mut change = HoldChange::None;
        if last != Some(digest) || self.is_gone {
            change = HoldChange::Moved { from: last.or(self.served.as_ref()).cloned(), to: digest.clone() };
            if self.is_gone {
                self = Self { is_gone: false, ..self.decided() };
            }
            if self.moves.is_empty() {
                self.moved = now;
            }
            add(&mut self.moves, Sighting { digest: digest.clone(), seen: now });
            thin(&mut self.moves);
        }
        match self.due(rule, now) {
            Some(at) => self.take(at),
            None => (self, change),
        }
    }

    /// The record after an operator let the newest digest through; `None`: nothing is held.
    pub(crate) fn release(self) -> Option<(Self, HoldChange)> {
        let newest = self.moves.last()?.digest.clone();
        Some(self.take_now(&newest))
    }

    /// The record after an operator pinned the tag to a digest, or unpinned it.
    pub(crate) fn pin(self, pinned: Option<Digest>) -> Self {
        Self { pinned, ..self.decided() }
    }

    /// The record after a digest was pushed to this tag through the proxy.
    pub(crate) fn push(self, pushed: Digest) -> Self {
        Self { pushed: Some(pushed), ..self.decided() }
    }

    /// The record without a move whose manifest is not to be had any more.
    pub(crate) fn without(self, digest: &Digest) -> Self {
        let moves = self.moves.iter().filter(|one| one.digest != *digest).cloned().collect();
        Self { moves, ..self.decided() }
    }

    /// What two processes know together: the later decision, and for one of the same generation what both have seen. It does
    /// not matter which of them wrote last.
    pub(crate) fn merge(&self, other: &Self) -> Self {
        match self.generation.cmp(&other.generation) {
            Ordering::Greater => return self.clone(),
            Ordering::Less => return other.clone(),
            Ordering::Equal => {}
        }
        let mut moves: Vec<Sighting> = self.moves.iter().chain(&other.moves).cloned().collect();
        moves.sort_by(|a, b| (a.seen, a.digest.as_str()).cmp(&(b.seen, b.digest.as_str())));
        moves.dedup_by(|later, earlier| later.digest == earlier.digest || later.seen == earlier.seen);
        thin(&mut moves);
        let since = match (self.moved, other.moved) {
            (0, since) | (since, 0) => since,
            (one, two) => one.min(two),
        };
        Self {
            generation: self.generation,
            served: lesser(self.served.as_ref(), other.served.as_ref()),
            moved: since,
            moves,
            is_gone: self.is_gone || other.is_gone,
            pushed: lesser(self.pushed.as_ref(), other.pushed.as_ref()),
            pinned: lesser(self.pinned.as_ref(), other.pinned.as_ref()),
        }
    }

    /// As a record.
    pub(crate) fn to_record(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From a record; `None`: it cannot be read, and counts as absent.
    pub(crate) fn from_record(bytes: &[u8]) -> Option<Self> {
        let mut record: Self = serde_json::from_slice(bytes).ok()?;
        thin(&mut record.moves);
        Some(record)
    }

    /// Which move clients get now, if any.
    fn due(&self, rule: HoldRule, now: u64) -> Option<usize> {
        let newest = self.moves.len().checked_sub(1)?;
        let is_over = now.saturating_sub(self.moved) >= rule.max.0.as_secs();
        let old = self.moves.iter().rposition(|one| is_old(one, rule, now))?;
        (old == newest || is_over).then_some(old)
    }

    /// Clients get this move from now on. What came after it is still held.
    fn take(mut self, at: usize) -> (Self, HoldChange) {
        let mut later = self.moves.split_off(at.saturating_add(1).min(self.moves.len()));
        let Some(taken) = self.moves.pop() else { return (self, HoldChange::None) };
        if later.last().is_some_and(|last| last.digest == taken.digest) {
            // The upstream has come back to it.
            later.clear();
        }
        let moved = later.first().map_or(0, |next| next.seen);
        let (led, change) = self.take_now(&taken.digest);
        (Self { moves: later, moved, ..led }, change)
    }

    /// Clients get this from now on, and nothing is held.
    fn take_now(mut self, digest: &Digest) -> (Self, HoldChange) {
        let change = HoldChange::Taken { from: self.served.take(), to: digest.clone() };
        (self.lead_to(digest), change)
    }

    fn lead_to(self, digest: &Digest) -> Self {
        Self {
            served: Some(digest.clone()),
            moved: 0,
            moves: Vec::new(),
            is_gone: false,
            pushed: self.pushed.clone().filter(|pushed| pushed != digest),
            ..self.decided()
        }
    }

    /// Something was decided: what other processes know of before counts no more.
    fn decided(self) -> Self {
        Self { generation: self.generation.saturating_add(1), ..self }
    }
}

/// Whether it has stood for long enough.
fn is_old(one: &Sighting, rule: HoldRule, now: u64) -> bool {
    now.saturating_sub(one.seen) >= rule.span.0.as_secs()
}

/// Adds the latest move. What it replaced within a second never stood, and what it follows itself had been away.
fn add(moves: &mut Vec<Sighting>, one: Sighting) {
    while moves.last().is_some_and(|last| last.seen >= one.seen || last.digest == one.digest) {
        moves.pop();
    }
    moves.push(one);
}

fn lesser(one: Option<&Digest>, two: Option<&Digest>) -> Option<Digest> {
    match (one, two) {
        (Some(one), Some(two)) if two.as_str() < one.as_str() => Some(two.clone()),
        (Some(one), _) => Some(one.clone()),
        (None, two) => two.cloned(),
    }
}

/// Keeps as many as a record may have. The newest stays, and of the others those that are farthest apart.
fn thin(moves: &mut Vec<Sighting>) {
    while moves.len() > MAX_MOVES {
        let gap = |at: &usize| match (moves.get(at.saturating_sub(1)), moves.get(*at)) {
            (Some(before), Some(one)) => one.seen.saturating_sub(before.seen),
            _ => u64::MAX,
        };
        let Some(at) = (1..moves.len() - 1).min_by_key(gap) else { return };
        moves.remove(at);
        // Of a digest that now follows itself the later sighting stays: it had been away in between.
        let is_double = match (moves.get(at - 1), moves.get(at)) {
            (Some(before), Some(after)) => before.digest == after.digest,
            _ => false,
        };
        if is_double {
            moves.remove(at - 1);
        }
    }
}

#[cfg(test)]
mod tests;
