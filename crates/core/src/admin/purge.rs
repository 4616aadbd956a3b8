//! `purge`: removes the content that the command names.

use std::collections::HashSet;

use super::clear::Clearing;
use super::command::{Event, Purge, Purged, Tell};
use super::evict::{from_parents_to_parts, left_alone};
use super::inventory::{Content, Id, Packed};
use super::list::fits;
use super::{CacheAdmin, LiveServer};
use crate::cache::Key;
use crate::digest::Digest;
use crate::platform::StoreError;

impl CacheAdmin {
    pub(super) async fn purge(&self, what: &Purge, is_dry: bool, tell: Tell<'_>) -> Result<Purged, StoreError> {
        let mut survey = self.survey().await?;
        let progress = |done, total| tell(Event::Progress(done, total));
        self.read_through(&mut survey, &HashSet::new(), &progress).await?;
        let inventory = &survey.inventory;
        let mut clearing = Clearing { is_dry, ..Clearing::default() };
        match what {
            Purge::All => {
                clearing.gone = from_parents_to_parts(inventory);
                clearing.tags = survey.tags.iter().map(|tag| tag.key.clone()).collect();
                clearing.nowhere_before = u64::MAX;
            }
            Purge::Digest(text) => {
                let packed = Digest::parse(text).ok().map(|digest| Packed::new(&digest));
                let find = |content| inventory.find(content, packed.as_ref()?);
                let roots: Vec<Id> = [Content::Manifest, Content::Blob].into_iter().filter_map(find).collect();
                let kept = survey.tags.iter().filter_map(|tag| tag.target);
                clearing.gone = left_alone(inventory, &roots, true, &kept.collect());
                let is_lost = |target: Option<Id>| target.is_some_and(|target| roots.contains(&target));
                let lost = survey.tags.iter().filter(|tag| is_lost(tag.target));
                clearing.tags = lost.map(|tag| tag.key.clone()).collect();
            }
            Purge::Pattern(pattern) => {
                let (purged, kept): (Vec<_>, Vec<_>) =
                    survey.tags.iter().partition(|tag| fits(Some(pattern), &tag.key));
                let roots: Vec<Id> = purged.iter().filter_map(|tag| tag.target).collect();
                let kept = kept.iter().filter_map(|tag| tag.target);
                clearing.gone = left_alone(inventory, &roots, false, &kept.collect());
                clearing.tags = purged.iter().map(|tag| tag.key.clone()).collect();
            }
        }
        let stored: HashSet<&Key> = survey.tags.iter().map(|tag| &tag.key).collect();
        // What the store could not take, memory has alone.
        let remembered = self.remembered(what);
        let only_remembered = remembered.iter().filter(|key| !stored.contains(key)).count() as u64;
        clearing.tags.extend(remembered.iter().cloned());
        // First what was asked for: whoever is told of it may be slow, or gone.
        let cleared = self.clear(&survey, &clearing).await?;
        if !is_dry {
            self.forget(what, &remembered);
        }
        let purged = survey.tags.iter().filter(|tag| clearing.tags.contains(&tag.key));
        self.tell_images(&survey, purged, tell).await;
        Ok(Purged {
            tags: cleared.tags + only_remembered,
            manifests: cleared.manifests,
            blobs: cleared.blobs,
            links: cleared.links,
            bytes: cleared.bytes,
            dry_run: is_dry,
        })
    }

    /// Tags in memory that lead to what is thrown away.
    fn remembered(&self, what: &Purge) -> Vec<Key> {
        let Some(LiveServer { cache, .. }) = &self.live else { return Vec::new() };
        match what {
            Purge::All => cache.metadata.remembered_tags(|_, _| true),
            Purge::Pattern(pattern) => cache.metadata.remembered_tags(|key, _| fits(Some(pattern), key)),
            Purge::Digest(text) => {
                let digest = Digest::parse(text).ok();
                cache.metadata.remembered_tags(|_, pointer| digest.as_ref() == Some(&pointer.digest))
            }
        }
    }

    /// Forgets what only memory has; whatever is wanted next is asked for anew.
    fn forget(&self, what: &Purge, tags: &[Key]) {
        let Some(LiveServer { cache, .. }) = &self.live else { return };
        for key in tags {
            cache.lost(key);
        }
        match what {
            Purge::All => {
                cache.metadata.forget_records();
                cache.blobs.forget_small();
            }
            Purge::Digest(text) => {
                if let Ok(digest) = Digest::parse(text) {
                    cache.lost(&Key::manifest(&digest));
                    cache.lost(&Key::blob(&digest));
                }
            }
            Purge::Pattern(_) => {}
        }
        cache.lists().clear();
        cache.metadata.clear_absent();
    }
}
