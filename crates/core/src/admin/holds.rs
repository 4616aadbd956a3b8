//! `held`: which tags clients get otherwise than their registries have them. `release`, `pin` and `unpin`: an operator decides
//! where a held tag points.

use futures_util::{StreamExt as _, stream};

use super::command::{Event, HeldState, HoldEntry, Tell};
use super::list::{fits, name_of};
use super::{CacheAdmin, LiveServer};
use crate::cache::{HOLDS, HoldChange, HoldLookup, HoldRecord, Key, Kind, Standing};
use crate::digest::Digest;
use crate::name::RepositoryName;
use crate::notification::{EventKind, Notification};
use crate::platform::{Precondition, StoreError};

/// Records that are read at once.
const READ_AT_ONCE: usize = 16;

impl CacheAdmin {
    /// Tells of each tag that fits and that clients get otherwise than its registry has it, in the order of names; how many
    /// those are.
    pub(super) async fn held(&self, pattern: Option<&str>, tell: Tell<'_>) -> Result<u64, StoreError> {
        let mut keys = self.hold_keys(pattern).await?;
        keys.sort();
        let now = self.clock.unix_seconds();
        let read = |key: Key| async move { (self.hold(&key).await, key) };
        let mut records = stream::iter(keys).map(read).buffered(READ_AT_ONCE);
        let mut count = 0;
        while let Some((record, key)) = records.next().await {
            if let Some(tag) = held_tag(&key, &record?, now) {
                tell(Event::Held(tag));
                count += 1;
            }
        }
        Ok(count)
    }

    /// The keys of the records of held tags that fit.
    async fn hold_keys(&self, pattern: Option<&str>) -> Result<Vec<Key>, StoreError> {
        let mut keys = Vec::new();
        let mut list = self.store.list(HOLDS);
        while let Some(entry) = self.in_time(async { Ok(list.next().await) }).await? {
            let entry = entry?;
            if fits(pattern, &entry.key) {
                keys.push(entry.key);
            }
        }
        Ok(keys)
    }

    /// Lets through what held tags have moved to; how many tags that were.
    pub(super) async fn release(&self, pattern: &str, tell: Tell<'_>) -> Result<u64, StoreError> {
        let mut count = 0;
        for key in self.hold_keys(Some(pattern)).await? {
            let Some((record, HoldChange::Taken { from, to })) = self.hold(&key).await?.release() else {
                continue;
            };
            self.lead(&key, record).await?;
            self.say_released(&key, from.as_ref(), &to);
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

    /// Tells those who want to hear of it, where a server is there to send it.
    fn say_released(&self, key: &Key, from: Option<&Digest>, to: &Digest) {
        let Some(LiveServer { cache, .. }) = &self.live else { return };
        let Some(Kind::Hold { upstream, repository, tag }) = key.kind() else { return };
        cache.backend.notifications.happened(EventKind::Released, self.clock.now().0, || Notification::Released {
            upstream: upstream.as_ref().into(),
            repository: repository.as_ref().into(),
            tag: tag.as_ref().into(),
            from: from.map(|digest| digest.as_str().into()),
            to: to.as_str().into(),
        });
    }

    /// What is known of a held tag.
    pub(super) async fn hold(&self, key: &Key) -> Result<HoldRecord, StoreError> {
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

/// What is told of a held tag; `None`: clients get what its registry has.
fn held_tag(key: &Key, record: &HoldRecord, now: u64) -> Option<HoldEntry> {
    let (state, served) = match record.standing() {
        Standing::Held { served, .. } => (HeldState::Held, Some(served.to_string())),
        Standing::New(_) => (HeldState::New, None),
        Standing::Pinned(pinned) => (HeldState::Pinned, Some(pinned.to_string())),
        Standing::Current(_) | Standing::Unknown => return None,
    };
    let ago = |seen: u64| now.saturating_sub(seen);
    let newest = record.moves.last();
    Some(HoldEntry {
        name: name_of(key)?,
        state,
        served,
        upstream: newest.map(|newest| newest.digest.to_string()),
        moved_seconds_ago: newest.is_some().then(|| ago(record.moved)),
        newest_seconds_ago: newest.map(|newest| ago(newest.seen)),
        oldest_seconds_ago: record.moves.first().map(|first| ago(first.seen)),
    })
}
