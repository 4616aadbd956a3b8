//! Removes content, with the records that reference it.

use std::collections::HashSet;

use futures_util::StreamExt as _;

use super::CacheAdmin;
use super::inventory::{Content, Id, Inventory, Item, Packed};
use super::survey::{Failed, Survey, SurveyedTag};
use crate::cache::{Key, Kind};
use crate::digest::Digest;
use crate::platform::OF_A_DIGEST;
use crate::platform::StoreError;
use crate::telemetry::EntryCounts;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cleared {
    pub(crate) blobs: u64,
    pub(crate) manifests: u64,
    pub(crate) tags: u64,
    pub(crate) links: u64,
    /// Of blobs and manifests.
    pub(crate) bytes: u64,
    /// Of tags and links.
    pub(crate) record_bytes: u64,
    /// Blobs and manifests that could not be.
    pub(crate) stuck: Vec<Packed>,
}

impl Cleared {
    /// Bytes of all of it.
    pub(crate) fn taken(&self) -> u64 {
        self.bytes.saturating_add(self.record_bytes)
    }

    /// How many blobs, manifests and tags.
    pub(crate) fn entries(&self) -> EntryCounts {
        EntryCounts { blobs: self.blobs, manifests: self.manifests, tags: self.tags }
    }
}

/// What is to be removed.
#[derive(Default)]
pub(crate) struct Clearing {
    /// Blobs and manifests, in order.
    pub(crate) gone: Vec<Id>,
    /// Tags besides those that lead to them.
    pub(crate) tags: HashSet<Key>,
    /// Tags and links that lead nowhere and were written before this. Younger ones may be about to lead somewhere.
    pub(crate) nowhere_before: u64,
    /// Nothing is removed, only counted.
    pub(crate) is_dry: bool,
}

/// What stays and what goes of an inventory.
struct Removals<'a> {
    inventory: &'a Inventory,
    is_gone: Vec<bool>,
    clearing: &'a Clearing,
}

impl CacheAdmin {
    /// Removes it, and whatever leads to it.
    pub(crate) async fn clear(&self, survey: &Survey, clearing: &Clearing) -> Result<Cleared, StoreError> {
        let removals = Removals::new(&survey.inventory, clearing);
        let mut cleared = Cleared::default();
        let mut failed = Failed::default();
        for item in clearing.gone.iter().filter_map(|id| survey.inventory.item(*id)) {
            let Some(key) = key_of(item) else { continue };
            if !self.take_away(&key, clearing, &mut failed).await? {
                cleared.stuck.push(item.digest.clone());
                continue;
            }
            match item.content {
                Content::Blob => cleared.blobs += 1,
                Content::Manifest => cleared.manifests += 1,
            }
            cleared.bytes = cleared.bytes.saturating_add(item.size);
        }
        for tag in survey.tags.iter().filter(|tag| removals.takes_tag(tag)) {
            if self.take_away(&tag.key, clearing, &mut failed).await? {
                cleared.tags += 1;
                cleared.record_bytes = cleared.record_bytes.saturating_add(tag.size);
            }
        }
        // They are many and each is of use only with what it leads to, so they are not held in memory: they are listed
        // once more.
        for prefix in OF_A_DIGEST {
            let mut list = self.store.list(prefix);
            while let Some(entry) = self.in_time(async { Ok(list.next().await) }).await? {
                let entry = entry?;
                let kind = entry.key.kind();
                let Some(Kind::Link { digest, .. } | Kind::Origins(digest)) = &kind else { continue };
                if removals.takes_record_of(digest, entry.used)
                    && self.take_away(&entry.key, clearing, &mut failed).await?
                {
                    cleared.links += u64::from(matches!(kind, Some(Kind::Link { .. })));
                    cleared.record_bytes = cleared.record_bytes.saturating_add(entry.taken);
                }
            }
        }
        Ok(cleared)
    }

    /// Removes it, unless only what would go is asked for; whether it is gone, or would be. What cannot be removed keeps
    /// nothing else from going.
    async fn take_away(&self, key: &Key, clearing: &Clearing, failed: &mut Failed) -> Result<bool, StoreError> {
        if clearing.is_dry {
            return Ok(true);
        }
        Ok(failed.pass_over(key, self.remove(key).await)?.is_some())
    }
}

impl<'a> Removals<'a> {
    fn new(inventory: &'a Inventory, clearing: &'a Clearing) -> Self {
        let mut is_gone = vec![false; inventory.len()];
        for id in &clearing.gone {
            if let Some(is_gone) = is_gone.get_mut(*id as usize) {
                *is_gone = true;
            }
        }
        Self { inventory, is_gone, clearing }
    }

    fn takes(&self, id: Id) -> bool {
        self.is_gone.get(id as usize) == Some(&true)
    }

    fn takes_tag(&self, tag: &SurveyedTag) -> bool {
        let leads_nowhere = match tag.target {
            Some(target) => self.takes(target),
            None => tag.used < self.clearing.nowhere_before,
        };
        leads_nowhere || self.clearing.tags.contains(&tag.key)
    }

    fn takes_record_of(&self, digest: &Digest, used: u64) -> bool {
        let digest = Packed::new(digest);
        let here = [Content::Blob, Content::Manifest].map(|content| self.inventory.find(content, &digest));
        let mut here = here.into_iter().flatten().peekable();
        if here.peek().is_none() { used < self.clearing.nowhere_before } else { here.all(|id| self.takes(id)) }
    }
}

/// Where it lies.
pub(crate) fn key_of(item: &Item) -> Option<Key> {
    let digest = item.digest.to_digest()?;
    Some(match item.content {
        Content::Blob => Key::blob(&digest),
        Content::Manifest => Key::manifest(&digest),
    })
}
