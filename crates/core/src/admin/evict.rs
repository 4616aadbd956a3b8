//! Which content is evicted: pure.
//!
//! The least recently used goes first, and an image in use stays complete: what a manifest references counts as used at
//! least as late as the manifest, and goes after it. So evicted content is always the beginning of one order, in which
//! each item stands after whatever references it.

use std::collections::HashSet;

use super::inventory::{IN_USE, Id, Inventory, Item};

/// The limits that an eviction has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EvictionTargets {
    /// What all of it may take; where it takes more, what is longest unused goes until a tenth of it is free.
    pub(crate) max_bytes: u64,
    /// Bytes on their way into the store, or waiting to be: they count, and cannot go.
    pub(crate) arriving: u64,
    /// What somebody needed and did not get; 0: nobody.
    pub(crate) wanted: u64,
    /// What the store says it can still take.
    pub(crate) free: Option<u64>,
    /// What was last used before this goes, however much room there is.
    pub(crate) unused_since: u64,
}

impl EvictionTargets {
    /// How many of these bytes must go, of all that are stored.
    pub(crate) fn excess(&self, bytes: u64) -> u64 {
        let all = bytes.saturating_add(self.arriving);
        let over = if all > self.max_bytes { all - (self.max_bytes - self.max_bytes / 10) } else { 0 };
        let lacking = match self.free {
            // Not for what would not fit anyway.
            Some(free) if self.wanted > 0 && self.wanted <= free.saturating_add(bytes) => {
                self.wanted.max(bytes / 10).saturating_sub(free)
            }
            Some(_) | None => 0,
        };
        over.max(lacking).min(bytes)
    }
}

/// What goes so that so many bytes do, in order: nothing before what leads to it.
pub(crate) fn choose(inventory: &Inventory, targets: &EvictionTargets, mut missing: u64) -> Vec<Id> {
    let mut gone = Vec::new();
    for (used, id) in order(inventory) {
        if used == IN_USE || (missing == 0 && used >= targets.unused_since) {
            break;
        }
        missing = missing.saturating_sub(inventory.item(id).map_or(0, Item::taken));
        gone.push(id);
    }
    gone
}

/// Everything by when it counts as used, and manifests before what they name.
fn order(inventory: &Inventory) -> Vec<(u64, Id)> {
    let ranked = from_parents_to_parts(inventory);
    let mut used: Vec<u64> = inventory.items().map(|item| item.used).collect();
    let at = |used: &[u64], id: Id| used.get(id as usize).copied().unwrap_or(0);
    // While a part is in use, so is what leads to it.
    for id in ranked.iter().rev() {
        if inventory.parts(*id).any(|part| at(&used, part) == IN_USE)
            && let Some(own) = used.get_mut(*id as usize)
        {
            *own = IN_USE;
        }
    }
    for id in &ranked {
        let from = at(&used, *id);
        for part in inventory.parts(*id) {
            if let Some(own) = used.get_mut(part as usize) {
                *own = (*own).max(from);
            }
        }
    }
    let mut order: Vec<(u64, Id)> = ranked.into_iter().map(|id| (at(&used, id), id)).collect();
    // Stable: among those used at the same time, parents stay first.
    order.sort_by_key(|(used, _)| *used);
    order
}

/// All items, each behind everything that names it. Digests make rings impossible; what claims to be one stands last.
pub(crate) fn from_parents_to_parts(inventory: &Inventory) -> Vec<Id> {
    let mut unseen = inventory.parents();
    let is_free = |unseen: &[u32], id: Id| unseen.get(id as usize) == Some(&0);
    let mut ranked: Vec<Id> = Vec::with_capacity(inventory.len());
    ranked.extend(inventory.ids().filter(|id| is_free(&unseen, *id)));
    let mut next = 0;
    while let Some(id) = ranked.get(next).copied() {
        next += 1;
        for part in inventory.parts(id) {
            if let Some(count) = unseen.get_mut(part as usize) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    ranked.push(part);
                }
            }
        }
    }
    ranked.extend(inventory.ids().filter(|id| unseen.get(*id as usize).is_some_and(|count| *count > 0)));
    ranked
}

/// What is of no use without `roots`: what they consist of, unless something else that stays names it or a tag (`kept`)
/// leads to it. The same holds for the roots themselves, unless `is_forced`: then they go whatever leads to them.
pub(crate) fn left_alone(inventory: &Inventory, roots: &[Id], is_forced: bool, kept: &HashSet<Id>) -> Vec<Id> {
    let mut left: HashSet<Id> = roots.iter().copied().collect();
    let mut named = inventory.parents();
    let mut gone = Vec::new();
    for id in from_parents_to_parts(inventory) {
        let is_needed = kept.contains(&id) || named.get(id as usize).is_some_and(|count| *count > 0);
        let goes_anyway = is_forced && roots.contains(&id);
        if !left.contains(&id) || (is_needed && !goes_anyway) {
            continue;
        }
        gone.push(id);
        for part in inventory.parts(id) {
            left.insert(part);
            if let Some(count) = named.get_mut(part as usize) {
                *count = count.saturating_sub(1);
            }
        }
    }
    gone
}

#[cfg(test)]
mod tests;
