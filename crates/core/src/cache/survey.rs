//! Looking through a store: first what is listed, and only where something must go what leads to what, as that means
//! reading every manifest.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _};

use super::house::House;
use super::inventory::{Content, IN_USE, Id, Inventory, Item, Packed};
use super::{EVERYTHING, Key, Kind, Pointer, StoredManifest};
use crate::digest::Digest;
use crate::platform::StoreError;

/// Records read at once: an object store answers each after a while.
const READ_AT_ONCE: usize = 16;

/// Told how much of a long work is done: so many of so many.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// What is in a store.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) inventory: Inventory,
    pub(crate) tags: Vec<Tag>,
    pub(crate) links: u64,
    pub(crate) leases: Vec<Lease>,
    /// What is known of uploads in parts, and when it was written.
    pub(crate) ingests: Vec<(Key, u64)>,
    /// What was used, and on which day.
    pub(crate) usage: Vec<(u64, Key)>,
}

/// A tag, and where it leads.
pub(crate) struct Tag {
    pub(crate) key: Key,
    /// When it was written or used.
    pub(crate) used: u64,
    /// What it says; `None`: nothing that can be read, or nobody has looked.
    pub(crate) pointer: Option<(Packed, u64)>,
    /// The manifest, if that is here.
    pub(crate) target: Option<Id>,
}

pub(crate) struct Lease {
    pub(crate) digest: Digest,
    pub(crate) key: Key,
    pub(crate) used: u64,
}

impl House {
    /// What is listed, without reading any of it.
    pub(crate) async fn survey(&self) -> Result<Survey, StoreError> {
        let now = self.clock.unix_seconds();
        let mut survey = Survey::default();
        let mut items = Vec::new();
        let mut list = self.store.list(EVERYTHING);
        while let Some(entry) = self.in_time(async { Ok(list.next().await) }).await? {
            let entry = entry?;
            // A time to come is a clock gone wrong, and makes nothing immortal.
            let used = entry.used.min(now);
            let item = |content, digest: &Digest| {
                let digest = Packed::new(digest);
                Item { content, digest, size: entry.size, used }
            };
            match entry.key.kind() {
                Some(Kind::Blob(digest)) => items.push(item(Content::Blob, &digest)),
                Some(Kind::Manifest(digest)) => items.push(item(Content::Manifest, &digest)),
                Some(Kind::Tag { .. }) => {
                    survey.tags.push(Tag { key: entry.key, used, pointer: None, target: None });
                }
                Some(Kind::Link { .. }) => survey.links += 1,
                Some(Kind::Lease { digest, .. }) => survey.leases.push(Lease { digest, key: entry.key, used }),
                Some(Kind::Ingest(_)) => survey.ingests.push((entry.key, used)),
                Some(Kind::Usage { day, .. }) => survey.usage.push((day, entry.key)),
                // Origins go with the content that they are about.
                Some(Kind::Origins(_)) | None => {}
            }
        }
        survey.inventory = Inventory::new(items);
        Ok(survey)
    }

    /// Reads tags and manifests: what leads to what, and what must stay for what is `arriving`.
    pub(crate) async fn read_through(
        &self,
        survey: &mut Survey,
        arriving: &HashSet<Packed>,
        progress: Progress<'_>,
    ) -> Result<(), StoreError> {
        self.read_tags(survey).await?;
        let inventory = &survey.inventory;
        let manifests: Vec<(Id, Digest)> = inventory
            .of(Content::Manifest)
            .filter_map(|(id, manifest)| Some((id, manifest.digest.to_digest()?)))
            .collect();
        let (total, mut done) = (manifests.len() as u64, 0);
        let (mut named, mut held) = (Vec::new(), Vec::new());
        let reads = manifests.into_iter().map(|(id, digest)| async move {
            (id, self.read(&Key::manifest(&digest)).await.map(|record| (digest, record)))
        });
        let mut reads = stream::iter(reads).buffer_unordered(READ_AT_ONCE);
        while let Some((id, read)) = reads.next().await {
            let (digest, record) = read?;
            done += 1;
            progress(done, total);
            let manifest = record.and_then(|record| StoredManifest::from_record(&digest, &record));
            let Some(children) = manifest.map(|manifest| manifest.children()) else { continue };
            let manifests = children.manifests.iter().map(|digest| (Content::Manifest, digest));
            for (content, digest) in manifests.chain(children.blobs.iter().map(|digest| (Content::Blob, digest))) {
                let packed = Packed::new(digest);
                named.extend(inventory.find(content, &packed).map(|part| (id, part)));
                if arriving.contains(&packed) {
                    held.push(id);
                }
            }
        }
        drop(reads);
        for (manifest, part) in named {
            survey.inventory.names(manifest, part);
        }
        for packed in arriving {
            held.extend(
                [Content::Blob, Content::Manifest].iter().filter_map(|c| survey.inventory.find(*c, packed)),
            );
        }
        for id in held {
            survey.inventory.used(id, IN_USE);
        }
        survey.inventory.seal();
        Ok(())
    }

    /// Where tags lead.
    pub(crate) async fn read_tags(&self, survey: &mut Survey) -> Result<(), StoreError> {
        let now = self.clock.unix_seconds();
        let keys: Vec<Key> = survey.tags.iter().map(|tag| tag.key.clone()).collect();
        let reads = keys.into_iter().enumerate().map(|(at, key)| async move { (at, self.read(&key).await) });
        let mut reads = stream::iter(reads).buffer_unordered(READ_AT_ONCE);
        while let Some((at, record)) = reads.next().await {
            let Some(tag) = survey.tags.get_mut(at) else { continue };
            let Some(pointer) = record?.and_then(|record| Pointer::from_record(&record)) else { continue };
            let (digest, confirmed) = (Packed::new(&pointer.digest), pointer.confirmed.min(now));
            tag.target = survey.inventory.find(Content::Manifest, &digest);
            if let Some(target) = tag.target {
                survey.inventory.used(target, tag.used.max(confirmed));
            }
            tag.pointer = Some((digest, confirmed));
        }
        Ok(())
    }
}
