//! `release`, `pin` and `unpin`: an operator decides where a held tag points.

use futures_util::StreamExt as _;

use super::command::{Event, Tell};
use super::list::{fits, name_of};
use super::{CacheAdmin, LiveServer};
use crate::cache::{HOLDS, HoldChange, HoldLookup, HoldRecord, Key, Kind};
use crate::digest::Digest;
use crate::name::RepositoryName;
use crate::platform::{Precondition, StoreError};

impl CacheAdmin {
    /// Lets through what held tags have moved to; how many tags that were.
    pub(super) async fn release(&self, pattern: &str, tell: Tell<'_>) -> Result<u64, StoreError> {
        let mut keys = Vec::new();
        let mut list = self.store.list(HOLDS);
        while let Some(entry) = self.in_time(async { Ok(list.next().await) }).await? {
            let entry = entry?;
            if fits(Some(pattern), &entry.key) {
                keys.push(entry.key);
            }
        }
        let mut count = 0;
        for key in keys {
            let Some((record, HoldChange::Taken { from, to })) = self.hold(&key).await?.release() else {
                continue;
            };
            self.lead(&key, record).await?;
            let name = name_of(&key).unwrap_or_default();
            tell(Event::Tag { name, from: from.map(|from| from.to_string()), to: Some(to.to_string()) });
            count += 1;
        }
        Ok(count)
    }

    /// Pins a tag to a digest, or unpins it; how many tags that changes.
    pub(super) async fn pin(
        &self,
        image: &str,
        pinned: Option<Digest>,
        tell: Tell<'_>,
    ) -> Result<u64, StoreError> {
        let Some(key) = Key::hold_named(image) else { return Ok(0) };
        let record = self.hold(&key).await?;
        if record.pinned == pinned {
            return Ok(0);
        }
        let from = record.pinned.clone().or_else(|| record.served.clone()).map(|from| from.to_string());
        let to = pinned.clone().or_else(|| record.served.clone()).map(|to| to.to_string());
        self.lead(&key, record.pin(pinned)).await?;
        tell(Event::Tag { name: image.to_owned(), from, to });
        Ok(1)
    }

    /// What is known of a held tag.
    async fn hold(&self, key: &Key) -> Result<HoldRecord, StoreError> {
        if let Some(LiveServer { cache, .. }) = &self.live {
            return match cache.metadata.holds.hold(key).await {
                HoldLookup::Known { record, .. } => Ok(record),
                HoldLookup::Absent => Ok(HoldRecord::default()),
                HoldLookup::Unreadable => Err(StoreError::failed("its records could not be read")),
            };
        }
        let record = self.read(key).await?;
        Ok(record.and_then(|record| HoldRecord::from_record(&record)).unwrap_or_default())
    }

    /// Writes where a tag leads from now on. The next request asks its registry.
    async fn lead(&self, key: &Key, record: HoldRecord) -> Result<(), StoreError> {
        let written = self.store.write(key, record.to_record().into(), Precondition::Always);
        self.in_time(written).await?;
        if let Some(LiveServer { cache, .. }) = &self.live {
            cache.metadata.holds.keep_hold(key, &record, true);
        }
        let Some(Kind::Hold { upstream, repository, tag }) = key.kind() else { return Ok(()) };
        let Ok(repository) = RepositoryName::parse(&repository) else { return Ok(()) };
        let pointer = Key::tag(&upstream, &repository, &tag);
        match &self.live {
            Some(LiveServer { cache, .. }) => cache.metadata.forget(&pointer).await,
            None => self.remove(&pointer).await?,
        }
        Ok(())
    }
}
