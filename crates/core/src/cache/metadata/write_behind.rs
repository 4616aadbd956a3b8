//! The write-behind queue: records are written soon, by background tasks, and in order. Referenced records are written
//! first, so that a crash leaves no record that references nothing. Updates of one tag are written one after the other, so
//! that the last one stays.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Arc, PoisonError};

use event_listener::{Event, EventListener};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::manifest_format::StoredManifest;
use super::record_memory::{NewLink, RecordMemory, TagGeneration};
use super::tag::Pointer;
use super::unremoved::Unremoved;
use crate::cache::Key;
use crate::cache::backend::CacheBackend;
use crate::digest::Digest;
use crate::evidence::{Link, Origins};
use crate::sync::{Mutex, MutexGuard};

/// Links that are written at once.
const AT_ONCE: usize = 8;
/// What a small record takes, at most: a block of a disk.
const RECORD_BYTES: u64 = 4096;

/// Records to be written, in this order.
#[derive(Default)]
pub(super) struct PendingWrite {
    pub(super) manifest: Option<Arc<StoredManifest>>,
    /// Who gave the bytes of a digest.
    pub(super) origins: Option<(Digest, Arc<Origins>)>,
    pub(super) links: Vec<NewLink>,
    pub(super) tag_update: Option<TagUpdate>,
}

/// Where a tag points; `None`: nowhere any more.
pub(super) struct TagUpdate {
    pub(super) tag: TagGeneration,
    pub(super) pointer: Option<Pointer>,
}

impl PendingWrite {
    /// Where a tag points, if that is known.
    pub(super) fn of(pointer: Option<(TagGeneration, Pointer)>) -> Self {
        Self {
            tag_update: pointer.map(|(tag, pointer)| TagUpdate { tag, pointer: Some(pointer) }),
            ..Self::default()
        }
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.manifest.is_none() && self.origins.is_none() && self.links.is_empty() && self.tag_update.is_none()
    }

    /// Bytes that it takes in the store, at most.
    fn bytes(&self) -> u64 {
        let manifest = self.manifest.as_ref().map_or(0, |manifest| manifest.bytes.len() as u64);
        let records =
            self.links.len() + usize::from(self.origins.is_some()) + usize::from(self.tag_update.is_some());
        manifest.saturating_add((records as u64).saturating_mul(RECORD_BYTES))
    }

    /// Whether it updates a tag and nothing else.
    fn is_tag_update(&self) -> bool {
        self.manifest.is_none() && self.origins.is_none() && self.links.is_empty()
    }
}

/// Tags that are being written, each with the writes that wait behind it.
#[derive(Default)]
pub(super) struct TagQueue(Mutex<HashMap<Key, VecDeque<PendingWrite>>>);

impl TagQueue {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, VecDeque<PendingWrite>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this tag is being written: then the store has an older state of it.
    pub(super) fn is_writing(&self, key: &Key) -> bool {
        self.all().contains_key(key)
    }

    /// Begins to write a tag. `None`: it is being written, and this write waits behind that.
    fn take(&self, key: &Key, write: PendingWrite) -> Option<PendingWrite> {
        match self.all().entry(key.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(VecDeque::new());
                Some(write)
            }
            Entry::Occupied(mut entry) => {
                let waiting = entry.get_mut();
                if write.is_tag_update()
                    && let Some(last) = waiting.back_mut()
                {
                    // An answer to a question from before the tag was forgotten does not replace its removal.
                    let both = last.tag_update.as_ref().zip(write.tag_update.as_ref());
                    if both.is_none_or(|(last, new)| new.tag.generation >= last.tag.generation) {
                        last.tag_update = write.tag_update;
                    }
                } else {
                    waiting.push_back(write);
                }
                None
            }
        }
    }

    /// The next write of a tag; `None`: there is none, and the tag is not being written any more.
    fn next(&self, key: &Key) -> Option<PendingWrite> {
        let mut all = self.all();
        let next = all.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            all.remove(key);
        }
        next
    }
}

/// Links that are being written. Until they are, and are removed again where they were forgotten meanwhile, the store has
/// an older state of them.
#[derive(Default)]
pub(super) struct LinkWrites(Mutex<HashMap<Key, usize>>);

/// One link that is being written.
struct LinkWrite<'a> {
    link_writes: &'a LinkWrites,
    key: &'a Key,
}

impl LinkWrites {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many tasks are writing this link.
    pub(super) fn count(&self, key: &Key) -> usize {
        self.all().get(key).copied().unwrap_or(0)
    }

    fn begin<'a>(&'a self, key: &'a Key) -> LinkWrite<'a> {
        *self.all().entry(key.clone()).or_default() += 1;
        LinkWrite { link_writes: self, key }
    }
}

impl Drop for LinkWrite<'_> {
    fn drop(&mut self) {
        let mut all = self.link_writes.all();
        if let Entry::Occupied(mut entry) = all.entry(self.key.clone()) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Notifies when it is dropped.
#[derive(Default)]
struct OnEnd(Event);

impl Drop for OnEnd {
    fn drop(&mut self) {
        self.0.notify(usize::MAX);
    }
}

/// The task that writes a tag.
struct TagWriter {
    queue: Arc<WriteBehind>,
    key: Key,
}

impl Drop for TagWriter {
    /// Begins the next write of the tag, also where this one was given up.
    fn drop(&mut self) {
        if let Some(write) = self.queue.tag_queue.next(&self.key) {
            let writer = Self { queue: Arc::clone(&self.queue), key: self.key.clone() };
            self.queue.spawn_write(write, Some(writer));
        }
    }
}

/// Writes records to the store, in background tasks.
pub(super) struct WriteBehind {
    backend: Arc<CacheBackend>,
    memory: Arc<RecordMemory>,
    unremoved: Arc<Unremoved>,
    tag_queue: TagQueue,
    link_writes: LinkWrites,
}

impl WriteBehind {
    pub(super) fn new(
        backend: &Arc<CacheBackend>,
        memory: &Arc<RecordMemory>,
        unremoved: &Arc<Unremoved>,
    ) -> Self {
        Self {
            backend: Arc::clone(backend),
            memory: Arc::clone(memory),
            unremoved: Arc::clone(unremoved),
            tag_queue: TagQueue::default(),
            link_writes: LinkWrites::default(),
        }
    }

    /// Whether a tag or a link is being written: then the store has an older state of it.
    pub(super) fn is_writing(&self, key: &Key) -> bool {
        self.tag_queue.is_writing(key) || self.link_writes.count(key) > 0
    }

    /// Writes records, behind the writes of the same tag.
    pub(super) fn write_soon(self: &Arc<Self>, write: PendingWrite) {
        if let Some((write, writer)) = self.enqueue(write) {
            self.spawn_write(write, writer);
        }
    }

    /// The same; the listener ends once they are written; `None`: other writes of the tag come first. They are written
    /// whether or not anybody waits.
    pub(super) fn write_now(self: &Arc<Self>, write: PendingWrite) -> Option<EventListener> {
        let (write, writer) = self.enqueue(write)?;
        let end = OnEnd::default();
        let ended = end.0.listen();
        self.spawn_write(write, (writer, end));
        Some(ended)
    }

    /// `None`: the tag is being written, and this write waits behind that.
    fn enqueue(self: &Arc<Self>, write: PendingWrite) -> Option<(PendingWrite, Option<TagWriter>)> {
        let key = write.tag_update.as_ref().map(|update| update.tag.key.clone());
        // Where requests may not do each other's work each writes for itself.
        let Some(key) = key.filter(|_| self.backend.shares_io) else { return Some((write, None)) };
        let write = self.tag_queue.take(&key, write)?;
        Some((write, Some(TagWriter { queue: Arc::clone(self), key })))
    }

    /// Drops `held` once the records are written.
    fn spawn_write(self: &Arc<Self>, write: PendingWrite, held: impl Send + 'static) {
        let (queue, pending) = (Arc::clone(self), self.backend.begin_write());
        self.backend.tasks.spawn(Box::pin(async move {
            queue.write_all(write).await;
            drop(held);
            drop(pending);
        }));
    }

    async fn write_all(self: &Arc<Self>, write: PendingWrite) {
        self.backend.count_incoming(write.bytes());
        let has_referenced = self.write_referenced(&write).await.is_some();
        let Some(TagUpdate { tag, pointer }) = write.tag_update else { return };
        let done = match pointer {
            Some(pointer) if has_referenced && self.memory.is_current(&tag) => {
                let record = pointer.to_record().into();
                self.backend.write(&tag.key, record).await
            }
            Some(_) => None,
            None => self.backend.remove(&tag.key).await,
        };
        match done {
            Some(()) => self.unremoved.keys.settle(&tag.key, tag.generation),
            // A failed removal, or a failed write over it: the store may have the old record.
            None if self.unremoved.keys.holds(&tag.key) => self.unremoved.remove_again_soon(),
            None => {}
        }
    }

    /// Writes what the tag references. `None`: the store failed at one of them, and the rest is not written.
    async fn write_referenced(self: &Arc<Self>, write: &PendingWrite) -> Option<()> {
        if let Some(manifest) = &write.manifest {
            let key = Key::manifest(&manifest.digest);
            self.backend.write(&key, manifest.to_record()).await?;
        }
        if let Some((digest, origins)) = &write.origins {
            self.write_origins(digest, origins).await?;
        }
        // An object store is slow for each one, and an index names dozens.
        let links = stream::iter(&write.links).map(Ok::<_, ()>);
        let write = |link| async move { self.write_link(link).await.ok_or(()) };
        links.try_for_each_concurrent(AT_ONCE, write).await.ok()
    }

    /// Writes a link, unless the store has a stronger one that memory has dropped. Not every store has conditional
    /// writes, so this reads first.
    async fn write_link(self: &Arc<Self>, new: &NewLink) -> Option<()> {
        let NewLink { key, link, since } = new;
        let _written = self.link_writes.begin(key);
        if !self.memory.was_kept_since(key, *since) {
            return Some(());
        }
        if *link < Link::Proven
            && !self.unremoved.keys.holds(key)
            && let Some(record) = self.backend.read(key).await?
            && let Some(stored) = Link::from_record(&record)
            && stored >= *link
        {
            // Another task may be writing what was forgotten.
            if self.link_writes.count(key) == 1 {
                self.memory.remember_link(key, stored, *since);
            }
            return Some(());
        }
        let written = self.backend.write(key, link.to_record()).await;
        // It may have been forgotten while it was written, and a failed write may still have had its effect.
        if !self.memory.was_kept_since(key, *since) {
            self.unremoved.take_back(key, self.memory.forgotten_in(key)).await?;
        } else if written.is_some() {
            self.unremoved.keys.settle(key, *since);
        }
        written
    }

    /// Adds to the upstreams that the store knows of. Where two processes write at once, one write is lost: its upstream
    /// gives the bytes once more.
    async fn write_origins(&self, digest: &Digest, origins: &Origins) -> Option<()> {
        let key = Key::origins(digest);
        let stored = self.backend.read(&key).await?;
        let all = match stored.and_then(|record| Origins::from_record(&record)) {
            Some(stored) => match stored.with(origins) {
                Some(all) => all,
                None => return Some(()),
            },
            None => Origins::clone(origins),
        };
        self.backend.write(&key, all.to_record()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RepositoryName;

    #[test]
    fn a_tag_update_from_before_a_tag_was_removed_does_not_replace_the_removal() {
        let key = Key::tag("up.test", &RepositoryName::parse("a/b").expect("a name"), "v1");
        let digest = Digest::sha256(b"old");
        let word = |generation, pointer| {
            let word = TagUpdate { tag: TagGeneration { key: key.clone(), generation }, pointer };
            PendingWrite { tag_update: Some(word), ..PendingWrite::default() }
        };
        let points = |generation| word(generation, Some(Pointer::confirmed(digest.clone(), 0)));
        let tag_queue = TagQueue::default();
        assert!(tag_queue.take(&key, points(1)).is_some(), "the first is written at once");
        for write in [word(2, None), points(1)] {
            assert!(tag_queue.take(&key, write).is_none());
        }
        let next = tag_queue.next(&key).and_then(|write| write.tag_update).expect("a word");
        assert!(next.pointer.is_none() && next.tag.generation == 2, "the removal comes");
        assert!(tag_queue.next(&key).is_none());
        for write in [points(2), word(3, None), points(3)] {
            tag_queue.take(&key, write);
        }
        let next = tag_queue.next(&key).and_then(|write| write.tag_update).expect("a word");
        assert!(next.pointer.is_some(), "what was asked for afterwards is the last word");
    }
}
