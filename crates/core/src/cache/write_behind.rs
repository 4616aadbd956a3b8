//! What is to be written down: soon, beside all requests, and in order. First what is led to, then what leads there, so
//! that a crash leaves nothing that leads nowhere; and of one tag one word after the other, so that the last one stays.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Arc, PoisonError};

use event_listener::{Event, EventListener};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{Cache, Key, Pointer, RECORD_BYTES, StoredManifest};
use crate::digest::Digest;
use crate::evidence::{Link, Origins};
use crate::platform::Precondition;
use crate::sync::{Mutex, MutexGuard};

/// Links that are written at once.
const AT_ONCE: usize = 8;

/// What is to be written, in this order.
#[derive(Default)]
pub(super) struct PendingWrite {
    pub(super) manifest: Option<Arc<StoredManifest>>,
    /// Who gave the bytes of a digest.
    pub(super) origins: Option<(Digest, Arc<Origins>)>,
    pub(super) links: Vec<NewLink>,
    pub(super) tag_update: Option<TagUpdate>,
}

/// A link to be written, unless it is forgotten meanwhile.
pub(super) struct NewLink {
    pub(super) key: Key,
    pub(super) link: Link,
    /// The generation in which the upstream was asked.
    pub(super) since: u64,
}

/// Where a tag points; with `None`, that it points nowhere any more.
pub(super) struct TagUpdate {
    pub(super) tag: TagGeneration,
    pub(super) pointer: Option<Pointer>,
}

/// A tag that is asked about: what comes of the question counts unless the tag is forgotten meanwhile.
#[derive(Clone)]
pub(crate) struct TagGeneration {
    pub(crate) key: Key,
    /// Changes when it is forgotten.
    pub(crate) generation: u64,
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

    /// Whether it says nothing but where a tag points.
    fn is_tag_update(&self) -> bool {
        self.manifest.is_none() && self.origins.is_none() && self.links.is_empty()
    }
}

/// Who writes of which tag, and what comes behind it.
#[derive(Default)]
pub(super) struct TagQueue(Mutex<HashMap<Key, VecDeque<PendingWrite>>>);

impl TagQueue {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, VecDeque<PendingWrite>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody is writing of this tag: then the store does not know the last word.
    pub(super) fn is_writing(&self, key: &Key) -> bool {
        self.all().contains_key(key)
    }

    /// Takes the turn for a key; otherwise whoever has it is left the write.
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
                    // A word that was asked for before the tag was forgotten does not take the place of its removal.
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

    /// What comes next; with `None` the turn is over.
    fn next(&self, key: &Key) -> Option<PendingWrite> {
        let mut all = self.all();
        let next = all.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            all.remove(key);
        }
        next
    }
}

/// Links that are on their way into the store: until they are there, and have been taken back where they were forgotten
/// meanwhile, the store does not know the last word.
#[derive(Default)]
pub(super) struct LinkWrites(Mutex<HashMap<Key, usize>>);

/// One of them.
struct LinkWrite<'a> {
    link_writes: &'a LinkWrites,
    key: &'a Key,
}

impl LinkWrites {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are writing this link.
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

/// Tells when it is dropped.
#[derive(Default)]
struct OnEnd(Event);

impl Drop for OnEnd {
    fn drop(&mut self) {
        self.0.notify(usize::MAX);
    }
}

/// The turn to write of a tag.
struct TagWriter {
    cache: Arc<Cache>,
    key: Key,
}

impl Drop for TagWriter {
    /// The next has its turn, also where the one who wrote gave up.
    fn drop(&mut self) {
        if let Some(write) = self.cache.tag_queue.next(&self.key) {
            let turn = Self { cache: Arc::clone(&self.cache), key: self.key.clone() };
            self.cache.spawn_write(write, Some(turn));
        }
    }
}

impl Cache {
    /// Writes it down when it is its turn.
    pub(super) fn write_soon(self: &Arc<Self>, write: PendingWrite) {
        if let Some((write, turn)) = self.enqueue(write) {
            self.spawn_write(write, turn);
        }
    }

    /// The same, with what ends once it is written; `None` where it is not its turn. It is written also where nobody
    /// waits for that.
    pub(super) fn write_now(self: &Arc<Self>, write: PendingWrite) -> Option<EventListener> {
        let (write, turn) = self.enqueue(write)?;
        let end = OnEnd::default();
        let ended = end.0.listen();
        self.spawn_write(write, (turn, end));
        Some(ended)
    }

    /// `None`: somebody is writing of this tag, and goes on with the write.
    fn enqueue(self: &Arc<Self>, write: PendingWrite) -> Option<(PendingWrite, Option<TagWriter>)> {
        let key = write.tag_update.as_ref().map(|word| word.tag.key.clone());
        // Where requests may not do each other's work each writes for itself.
        let Some(key) = key.filter(|_| self.shares_io) else { return Some((write, None)) };
        let write = self.tag_queue.take(&key, write)?;
        Some((write, Some(TagWriter { cache: Arc::clone(self), key })))
    }

    /// Lets go what it holds once it is written.
    fn spawn_write(self: &Arc<Self>, write: PendingWrite, held: impl Send + 'static) {
        let (cache, pending) = (Arc::clone(self), self.begin_write());
        self.tasks.spawn(Box::pin(async move {
            cache.write_all(write).await;
            drop(held);
            drop(pending);
        }));
    }

    async fn write_all(self: &Arc<Self>, write: PendingWrite) {
        self.count_incoming(write.bytes());
        let has_referenced = self.write_referenced(&write).await.is_some();
        let Some(TagUpdate { tag, pointer }) = write.tag_update else { return };
        let done = match pointer {
            Some(pointer) if has_referenced && self.is_current(&tag) => {
                let record = pointer.to_record().into();
                self.ask("write", self.store.write(&tag.key, record, Precondition::Always)).await.map(drop)
            }
            Some(_) => None,
            None => self.ask("remove", self.store.remove(&tag.key)).await,
        };
        match done {
            Some(()) => self.unremoved.settle(&tag.key, tag.generation),
            // An older word may be in the store, also where this was to take the place of a removal.
            None if self.unremoved.holds(&tag.key) => self.remove_again_soon(),
            None => {}
        }
    }

    /// Up to what the store does not take: `None`.
    async fn write_referenced(self: &Arc<Self>, write: &PendingWrite) -> Option<()> {
        if let Some(manifest) = &write.manifest {
            let key = Key::manifest(&manifest.digest);
            self.ask("write", self.store.write(&key, manifest.to_record(), Precondition::Always)).await?;
        }
        if let Some((digest, origins)) = &write.origins {
            self.write_origins(digest, origins).await?;
        }
        // A store of objects takes its time for each, and an index names dozens.
        let links = stream::iter(&write.links).map(Ok::<_, ()>);
        let write = |link| async move { self.write_link(link).await.ok_or(()) };
        links.try_for_each_concurrent(AT_ONCE, write).await.ok()
    }

    /// A weaker link does not take the place of a stronger one, which memory may have forgotten. Not every store can
    /// write only where nothing is, so this looks first.
    async fn write_link(self: &Arc<Self>, new: &NewLink) -> Option<()> {
        let NewLink { key, link, since } = new;
        let _written = self.link_writes.begin(key);
        if !self.was_kept_since(key, *since) {
            return Some(());
        }
        if *link < Link::Proven
            && !self.unremoved.holds(key)
            && let Some(record) = self.ask("read", self.store.read(key)).await?
            && let Some(stored) = Link::from_record(&record)
            && stored >= *link
        {
            // What another one is writing may be what was forgotten.
            if self.link_writes.count(key) == 1 {
                self.remember_link(key, stored, *since);
            }
            return Some(());
        }
        let written =
            self.ask("write", self.store.write(key, link.to_record(), Precondition::Always)).await.map(drop);
        // It may have been forgotten while it was written; and what failed may have been written all the same.
        if !self.was_kept_since(key, *since) {
            self.take_back(key).await?;
        } else if written.is_some() {
            self.unremoved.settle(key, *since);
        }
        written
    }

    /// Adds to the upstreams that the store knows of. Two processes may write at once, and then one of them is lost: its
    /// upstream gives the bytes once more.
    async fn write_origins(&self, digest: &Digest, origins: &Origins) -> Option<()> {
        let key = Key::origins(digest);
        let stored = self.ask("read", self.store.read(&key)).await?;
        let all = match stored.and_then(|record| Origins::from_record(&record)) {
            Some(stored) => match stored.with(origins) {
                Some(all) => all,
                None => return Some(()),
            },
            None => Origins::clone(origins),
        };
        self.ask("write", self.store.write(&key, all.to_record(), Precondition::Always)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RepositoryName;

    #[test]
    fn a_word_that_was_asked_for_before_a_tag_was_forgotten_takes_no_removals_place() {
        let key = Key::tag("up.test", &RepositoryName::parse("a/b").expect("a name"), "v1");
        let digest = Digest::sha256(b"old");
        let word = |generation, pointer| {
            let word = TagUpdate { tag: TagGeneration { key: key.clone(), generation }, pointer };
            PendingWrite { tag_update: Some(word), ..PendingWrite::default() }
        };
        let points = |generation| word(generation, Some(Pointer { digest: digest.clone(), confirmed: 0 }));
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
