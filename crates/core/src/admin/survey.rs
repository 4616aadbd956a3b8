//! Surveys a store: lists it first, and reads its manifests only where something must be evicted. Each manifest is read
//! once, however many reference it.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _};

use super::CacheAdmin;
use super::inventory::{ChildCounts, Content, IN_USE, Id, Inventory, Item, ListedItems, Packed};
use crate::cache::Children;
use crate::cache::{
    HoldRecord, KeptImage, KeptReference, Key, Kind, Pointer, Standing, StoredManifest, kept_tags,
};
use crate::digest::Digest;
use crate::platform::{CONTENT, RECORDS};
use crate::platform::{Entry, StoreError};

/// Records read at once: an object store answers each after a while.
const READ_AT_ONCE: usize = 16;
/// More keys than these that fail one after the other are a sign that the store fails, and not they.
const MAX_FAILED: usize = 16;

/// Told how much of a long work is done: so many of so many.
pub(crate) type OnProgress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// The content of a store.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) inventory: Inventory,
    pub(crate) tags: Vec<SurveyedTag>,
    pub(crate) links: u64,
    pub(crate) leases: Vec<SurveyedLease>,
    /// What is known of uploads in parts, and when it was written.
    pub(crate) ingests: Vec<(Key, u64)>,
    /// What was used, and on which day.
    pub(crate) usage: Vec<(u64, Key)>,
    /// Records of held tags.
    pub(crate) holds: Vec<Key>,
    /// Bytes of records that lead to nothing that is here.
    pub(crate) loose_bytes: u64,
    /// Those of them that are of use only with a digest, each with when it was written.
    pub(crate) nowhere: Vec<(u64, u32)>,
}

/// A tag, and the manifest that it points to.
pub(crate) struct SurveyedTag {
    pub(crate) key: Key,
    /// When it was written or used.
    pub(crate) used: u64,
    /// Bytes that its record takes.
    pub(crate) size: u64,
    /// What it says; `None`: nothing that can be read, or nobody has looked.
    pub(crate) pointer: Option<(Packed, u64)>,
    /// The manifest, if that is here.
    pub(crate) target: Option<Id>,
}

pub(crate) struct SurveyedLease {
    pub(crate) digest: Digest,
    pub(crate) key: Key,
    pub(crate) used: u64,
}

/// Keys that fail one by one, in a work that goes through many: they are passed over, unless it is the store that fails.
#[derive(Default)]
pub(crate) struct Failed(usize);

impl Failed {
    /// What the store said of one of them; `None`: it is passed over.
    pub(crate) fn pass_over<T>(
        &mut self,
        key: &Key,
        done: Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match done {
            Ok(done) => {
                self.0 = 0;
                Ok(Some(done))
            }
            Err(error @ (StoreError::Failed(_) | StoreError::Denied(_) | StoreError::ReadDenied(_)))
                if self.0 < MAX_FAILED =>
            {
                self.0 += 1;
                let source = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(%key, error = source, "{error}; this key is skipped");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Survey {
    /// Bytes of all that is in the store.
    pub(crate) fn taken(&self) -> u64 {
        self.inventory.taken().saturating_add(self.loose_bytes)
    }

    /// Bytes of records alone.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.taken().saturating_sub(self.inventory.bytes())
    }

    /// Bytes of records that are about what is not here, and were written before that.
    pub(crate) fn nowhere_before(&self, moment: u64) -> u64 {
        let old = self.nowhere.iter().filter(|(used, _)| *used < moment);
        old.fold(0, |sum: u64, (_, bytes)| sum.saturating_add(u64::from(*bytes)))
    }

    /// What these images consist of must stay.
    pub(crate) fn keep(&mut self, kept: &[KeptImage]) {
        let tags = kept_tags(kept, self.tags.iter().map(|tag| &tag.key));
        let targets = tags.into_iter().filter_map(|place| self.tags.get(place)?.target);
        let digests = kept.iter().filter_map(|image| match &image.reference {
            KeptReference::Digest(digest) => self.inventory.find(Content::Manifest, &Packed::new(digest)),
            KeptReference::Tag(_) | KeptReference::Newest { .. } => None,
        });
        let ids: Vec<Id> = targets.chain(digests).collect();
        for id in ids {
            self.inventory.used(id, IN_USE);
        }
    }

    /// A record of a store.
    fn record(&mut self, entry: Entry, used: u64) {
        let size = entry.taken;
        match entry.key.kind() {
            Some(Kind::Link { digest, .. }) => {
                self.links += 1;
                if self.leads(&digest, size, used) {
                    return;
                }
            }
            // They go with the content that they are about.
            Some(Kind::Origins(digest)) => {
                if self.leads(&digest, size, used) {
                    return;
                }
            }
            Some(Kind::Tag { .. }) => {
                self.tags.push(SurveyedTag { key: entry.key, used, size, pointer: None, target: None });
            }
            Some(Kind::Lease { digest, .. }) => self.leases.push(SurveyedLease { digest, key: entry.key, used }),
            Some(Kind::Ingest(_)) => self.ingests.push((entry.key, used)),
            Some(Kind::Hold { .. }) => self.holds.push(entry.key),
            Some(Kind::HeldDigest { .. }) => {}
            Some(Kind::Usage { day, .. }) => self.usage.push((day, entry.key)),
            // They are listed by prefixes of their own.
            Some(Kind::Blob(_) | Kind::Manifest(_)) | None => return,
        }
        self.loose_bytes = self.loose_bytes.saturating_add(size);
    }

    /// A record is of use only with this digest; whether that is here.
    fn leads(&mut self, digest: &Digest, bytes: u64, used: u64) -> bool {
        let digest = Packed::new(digest);
        let here = [Content::Blob, Content::Manifest].map(|content| self.inventory.find(content, &digest));
        let here = here.into_iter().flatten().next();
        if let Some(id) = here {
            self.inventory.leads(id, bytes);
        } else {
            self.nowhere.push((used, u32::try_from(bytes).unwrap_or(u32::MAX)));
        }
        here.is_some()
    }

    /// Takes down what a manifest names, as far as it is here. The manifests among that.
    fn describe(&mut self, id: Id, children: &Children) -> Vec<Id> {
        let count = |digests: &[Digest]| u32::try_from(digests.len()).unwrap_or(u32::MAX);
        let named = ChildCounts { manifests: count(&children.manifests), blobs: count(&children.blobs) };
        self.inventory.describe(id, named);
        let find = |content, digests: &[Digest]| -> Vec<Id> {
            digests.iter().filter_map(|digest| self.inventory.find(content, &Packed::new(digest))).collect()
        };
        let manifests = find(Content::Manifest, &children.manifests);
        let blobs = find(Content::Blob, &children.blobs);
        for part in manifests.iter().chain(&blobs) {
            self.inventory.names(id, *part);
        }
        manifests
    }
}

/// What came of reading some manifests.
#[derive(Default)]
struct ReadManifests {
    /// Those of them that name something that is arriving.
    held: Vec<Id>,
    /// The manifests that they name, as far as they are here.
    below: Vec<Id>,
}

impl CacheAdmin {
    /// What is listed, without reading any of it.
    pub(crate) async fn survey(&self) -> Result<Survey, StoreError> {
        let now = self.clock.unix_seconds();
        let mut items = ListedItems::default();
        for prefix in CONTENT {
            let mut list = self.store.list(prefix);
            while let Some(entry) = self.in_time(async { Ok(list.next().await) }).await? {
                let entry = entry?;
                let (content, digest) = match entry.key.kind() {
                    Some(Kind::Blob(digest)) => (Content::Blob, digest),
                    Some(Kind::Manifest(digest)) => (Content::Manifest, digest),
                    Some(_) | None => continue,
                };
                // A time to come is a clock gone wrong, and makes nothing immortal.
                let used = entry.used.min(now);
                let digest = Packed::new(&digest);
                items.push(Item { content, digest, size: entry.size, used, record_bytes: 0 });
            }
        }
        let mut survey = Survey { inventory: Inventory::new(items), ..Survey::default() };
        for prefix in RECORDS {
            let mut list = self.store.list(prefix);
            while let Some(entry) = self.in_time(async { Ok(list.next().await) }).await? {
                let entry = entry?;
                let used = entry.used.min(now);
                survey.record(entry, used);
            }
        }
        Ok(survey)
    }

    /// Reads tags and manifests: what leads to what, and what must stay for what is `arriving`.
    pub(crate) async fn read_through(
        &self,
        survey: &mut Survey,
        arriving: &HashSet<Packed>,
        progress: OnProgress<'_>,
    ) -> Result<(), StoreError> {
        self.read_tags(survey).await?;
        self.read_holds(survey).await?;
        for tag in &survey.tags {
            if let Some(target) = tag.target {
                survey.inventory.leads(target, tag.size);
                survey.loose_bytes = survey.loose_bytes.saturating_sub(tag.size);
            }
        }
        let manifests: Vec<Id> = survey.inventory.of(Content::Manifest).map(|(id, _)| id).collect();
        let ReadManifests { mut held, .. } = self.read_manifests(survey, &manifests, arriving, progress).await?;
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

    /// Reads the manifests that tags lead to, and those that they name.
    pub(crate) async fn read_below_tags(
        &self,
        survey: &mut Survey,
        progress: OnProgress<'_>,
    ) -> Result<(), StoreError> {
        let targets: HashSet<Id> = survey.tags.iter().filter_map(|tag| tag.target).collect();
        let mut next: Vec<Id> = targets.into_iter().collect();
        let mut seen: HashSet<Id> = next.iter().copied().collect();
        while !next.is_empty() {
            let read = self.read_manifests(survey, &next, &HashSet::new(), progress).await?;
            next = read.below.into_iter().filter(|id| seen.insert(*id)).collect();
        }
        survey.inventory.seal();
        Ok(())
    }

    /// Reads these.
    async fn read_manifests(
        &self,
        survey: &mut Survey,
        ids: &[Id],
        arriving: &HashSet<Packed>,
        progress: OnProgress<'_>,
    ) -> Result<ReadManifests, StoreError> {
        let digest = |id: &Id| Some((*id, survey.inventory.item(*id)?.digest.to_digest()?));
        let manifests: Vec<(Id, Digest)> = ids.iter().filter_map(digest).collect();
        let (total, mut done) = (manifests.len() as u64, 0);
        let (mut found, mut failed) = (ReadManifests::default(), Failed::default());
        let reads = manifests.into_iter().map(|(id, digest)| async move {
            let key = Key::manifest(&digest);
            let read = self.read(&key).await;
            (id, digest, key, read)
        });
        let mut reads = stream::iter(reads).buffer_unordered(READ_AT_ONCE);
        while let Some((id, digest, key, read)) = reads.next().await {
            done += 1;
            progress(done, total);
            let record = failed.pass_over(&key, read)?.flatten();
            let manifest = record.and_then(|record| StoredManifest::from_record(&digest, &record));
            let Some(children) = manifest.map(|manifest| manifest.children()) else { continue };
            found.below.extend(survey.describe(id, &children));
            if !arriving.is_empty() && children.iter().any(|child| arriving.contains(&Packed::new(child))) {
                found.held.push(id);
            }
        }
        Ok(found)
    }

    /// Where tags lead.
    pub(crate) async fn read_tags(&self, survey: &mut Survey) -> Result<(), StoreError> {
        let now = self.clock.unix_seconds();
        let keys: Vec<Key> = survey.tags.iter().map(|tag| tag.key.clone()).collect();
        let reads = keys.into_iter().enumerate().map(|(at, key)| async move { (at, self.read(&key).await) });
        let mut reads = stream::iter(reads).buffer_unordered(READ_AT_ONCE);
        let mut failed = Failed::default();
        while let Some((at, read)) = reads.next().await {
            let Some(tag) = survey.tags.get_mut(at) else { continue };
            let record = failed.pass_over(&tag.key, read)?.flatten();
            let Some(pointer) = record.and_then(|record| Pointer::from_record(&record)) else { continue };
            let (digest, confirmed) = (Packed::new(&pointer.digest), pointer.confirmed.min(now));
            tag.target = survey.inventory.find(Content::Manifest, &digest);
            if let Some(target) = tag.target {
                survey.inventory.used(target, tag.used.max(confirmed));
            }
            tag.pointer = Some((digest, confirmed));
        }
        Ok(())
    }

    /// What held and pinned tags lead clients to stays: the upstream may not have it any more.
    async fn read_holds(&self, survey: &mut Survey) -> Result<(), StoreError> {
        let keys = survey.holds.clone();
        let reads = keys.into_iter().map(|key| async move {
            let read = self.read(&key).await;
            (key, read)
        });
        let mut reads = stream::iter(reads).buffer_unordered(READ_AT_ONCE);
        let mut failed = Failed::default();
        while let Some((key, read)) = reads.next().await {
            let record = failed.pass_over(&key, read)?.flatten();
            let Some(record) = record.and_then(|record| HoldRecord::from_record(&record)) else { continue };
            let needed = match record.standing() {
                Standing::Held { served, .. } => served,
                Standing::Pinned(pinned) => pinned,
                Standing::Current(_) | Standing::New(_) | Standing::Unknown => continue,
            };
            if let Some(id) = survey.inventory.find(Content::Manifest, &Packed::new(needed)) {
                survey.inventory.used(id, IN_USE);
            }
        }
        Ok(())
    }
}
