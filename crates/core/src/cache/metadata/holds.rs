//! Records of held tags: the store keeps them for good, and memory those of a while. They are never evicted, and a purge
//! leaves them.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use quick_cache::sync::Cache as Memory;

use super::hold::HoldRecord;
use crate::cache::Key;
use crate::cache::backend::CacheBackend;
use crate::digest::Digest;
use crate::name::{RepositoryName, Tag};
use crate::sync::Mutex;

/// How long it is remembered whether a digest is held: another process may have seen the tag move meanwhile.
const REMEMBERED_SECONDS: u64 = 60;

/// What is known of a held tag.
pub(crate) enum HoldLookup {
    /// A record.
    Known {
        /// What memory and the store know together.
        record: HoldRecord,
        /// Whether the store knows all of it.
        is_stored: bool,
    },
    /// There is none: the tag was never seen.
    Absent,
    /// The store failed, and memory has none.
    Unreadable,
}

/// Records of held tags.
pub(crate) struct Holds {
    backend: Arc<CacheBackend>,
    records: Memory<Key, Arc<HoldRecord>>,
    /// Which tag a digest is held for, if any, and when the store was asked, in seconds since 1970.
    digests: Memory<Key, (Option<Tag>, u64)>,
    /// Held while a record is compared and replaced.
    replacing: Mutex<()>,
}

impl Holds {
    /// At most so many of each kind in memory.
    pub(super) fn new(backend: &Arc<CacheBackend>, entries: usize) -> Self {
        Self {
            backend: Arc::clone(backend),
            records: Memory::new(entries),
            digests: Memory::new(entries),
            replacing: Mutex::default(),
        }
    }

    /// Drops what is known by this key.
    pub(super) fn remove(&self, key: &Key) {
        self.records.remove(key);
        self.digests.remove(key);
    }

    /// Drops everything.
    pub(super) fn clear(&self) {
        self.records.clear();
        self.digests.clear();
    }

    /// Adds to what is known of a tag. What is known now, and whether that is news.
    fn add(&self, key: &Key, record: &HoldRecord) -> (Arc<HoldRecord>, bool) {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.records.get(key);
        let merged = known.as_ref().map_or_else(|| record.clone(), |known| known.merge(record));
        if let Some(known) = known.filter(|known| **known == merged) {
            return (known, false);
        }
        let merged = Arc::new(merged);
        self.records.insert(key.clone(), Arc::clone(&merged));
        (merged, true)
    }

    /// What is known of a held tag. The store is read each time: other processes write it, too.
    pub(crate) async fn hold(&self, key: &Key) -> HoldLookup {
        let Some(read) = self.backend.read(key).await else {
            return match self.records.get(key) {
                Some(known) => HoldLookup::Known { record: HoldRecord::clone(&known), is_stored: false },
                None => HoldLookup::Unreadable,
            };
        };
        match read.and_then(|record| HoldRecord::from_record(&record)) {
            Some(stored) => {
                let (known, _) = self.add(key, &stored);
                HoldLookup::Known { record: HoldRecord::clone(&known), is_stored: *known == stored }
            }
            None => match self.records.get(key) {
                Some(known) => HoldLookup::Known { record: HoldRecord::clone(&known), is_stored: false },
                None => HoldLookup::Absent,
            },
        }
    }

    /// Keeps what was found out about a held tag. Whether that is news: only the first of those who find it out at once hears
    /// so.
    pub(crate) fn keep_hold(self: &Arc<Self>, key: &Key, record: &HoldRecord, is_stored: bool) -> bool {
        let (record, is_news) = self.add(key, record);
        if is_news || !is_stored {
            let (holds, key) = (Arc::clone(self), key.clone());
            self.spawn_hold_write(async move {
                // Of two writes the last one has all that is known by then.
                let record = holds.records.get(&key).unwrap_or(record);
                // What is not written now is written at the next look at the tag.
                let _ = holds.backend.write(&key, record.to_record().into()).await;
            });
        }
        is_news
    }

    /// The tag that a digest of a repository is held for, if any.
    pub(crate) async fn held_for(
        &self,
        upstream: &str,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Option<Tag> {
        let key = Key::held_digest(upstream, repository, digest);
        let now = self.backend.clock.unix_seconds();
        let known = self.digests.get(&key);
        if let Some((tag, asked)) = &known
            && now.saturating_sub(*asked) < REMEMBERED_SECONDS
        {
            return tag.clone();
        }
        let Some(read) = self.backend.read(&key).await else { return known.and_then(|(tag, _)| tag) };
        let tag = read.and_then(|record| Tag::parse(std::str::from_utf8(&record).ok()?));
        self.digests.insert(key, (tag.clone(), now));
        tag
    }

    /// A digest is held for this tag; `None`: for none any more.
    pub(crate) fn set_held_for(self: &Arc<Self>, key: Key, tag: Option<Tag>) {
        self.digests.insert(key.clone(), (tag.clone(), self.backend.clock.unix_seconds()));
        let holds = Arc::clone(self);
        self.spawn_hold_write(async move {
            let _ = match tag {
                Some(tag) => holds.backend.write(&key, Bytes::copy_from_slice(tag.as_str().as_bytes())).await,
                None => holds.backend.remove(&key).await,
            };
        });
    }

    fn spawn_hold_write(&self, write: impl Future<Output = ()> + Send + 'static) {
        let pending = self.backend.begin_write();
        self.backend.tasks.spawn(Box::pin(async move {
            write.await;
            drop(pending);
        }));
    }
}
