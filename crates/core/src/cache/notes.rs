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
use crate::platform::When;
use crate::sync::{Mutex, MutexGuard};

/// Links that are written at once.
const AT_ONCE: usize = 8;

/// What is to be written, in this order.
#[derive(Default)]
pub(super) struct Note {
    pub(super) manifest: Option<Arc<StoredManifest>>,
    /// Who gave the bytes of a digest.
    pub(super) origins: Option<(Digest, Arc<Origins>)>,
    pub(super) links: Vec<NewLink>,
    pub(super) word: Option<Word>,
}

/// A link to be written, unless it is forgotten meanwhile.
pub(super) struct NewLink {
    pub(super) key: Key,
    pub(super) link: Link,
    /// The generation in which the upstream was asked.
    pub(super) since: u64,
}

/// Where a tag points; with `None`, that it points nowhere any more.
pub(super) struct Word {
    pub(super) tag: Tag,
    pub(super) pointer: Option<Pointer>,
}

/// A tag that is asked about: what comes of the question counts unless the tag is forgotten meanwhile.
#[derive(Clone)]
pub(crate) struct Tag {
    pub(crate) key: Key,
    /// Changes when it is forgotten.
    pub(crate) generation: u64,
}

impl Note {
    /// Where a tag points, if that is known.
    pub(super) fn of(pointer: Option<(Tag, Pointer)>) -> Self {
        Self { word: pointer.map(|(tag, pointer)| Word { tag, pointer: Some(pointer) }), ..Self::default() }
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.manifest.is_none() && self.origins.is_none() && self.links.is_empty() && self.word.is_none()
    }

    /// Bytes that it takes in the store, at most.
    fn bytes(&self) -> u64 {
        let manifest = self.manifest.as_ref().map_or(0, |manifest| manifest.bytes.len() as u64);
        let records = self.links.len() + usize::from(self.origins.is_some()) + usize::from(self.word.is_some());
        manifest.saturating_add((records as u64).saturating_mul(RECORD_BYTES))
    }

    /// Whether it says nothing but where a tag points.
    fn is_a_word(&self) -> bool {
        self.manifest.is_none() && self.origins.is_none() && self.links.is_empty()
    }
}

/// Who writes of which tag, and what comes behind it.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Key, VecDeque<Note>>>);

impl Turns {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, VecDeque<Note>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody is writing of this tag: then the store does not know the last word.
    pub(super) fn is_taken(&self, key: &Key) -> bool {
        self.all().contains_key(key)
    }

    /// Takes the turn for a key; otherwise whoever has it is left the note.
    fn take(&self, key: &Key, note: Note) -> Option<Note> {
        match self.all().entry(key.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(VecDeque::new());
                Some(note)
            }
            Entry::Occupied(mut entry) => {
                let waiting = entry.get_mut();
                if note.is_a_word()
                    && let Some(last) = waiting.back_mut()
                {
                    // A word that was asked for before the tag was forgotten does not take the place of its removal.
                    let both = last.word.as_ref().zip(note.word.as_ref());
                    if both.is_none_or(|(last, new)| new.tag.generation >= last.tag.generation) {
                        last.word = note.word;
                    }
                } else {
                    waiting.push_back(note);
                }
                None
            }
        }
    }

    /// What comes next; with `None` the turn is over.
    fn next(&self, key: &Key) -> Option<Note> {
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
pub(super) struct Writing(Mutex<HashMap<Key, usize>>);

/// One of them.
struct Written<'a> {
    writing: &'a Writing,
    key: &'a Key,
}

impl Writing {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are writing this link.
    pub(super) fn count(&self, key: &Key) -> usize {
        self.all().get(key).copied().unwrap_or(0)
    }

    fn begin<'a>(&'a self, key: &'a Key) -> Written<'a> {
        *self.all().entry(key.clone()).or_default() += 1;
        Written { writing: self, key }
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        let mut all = self.writing.all();
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
struct End(Event);

impl Drop for End {
    fn drop(&mut self) {
        self.0.notify(usize::MAX);
    }
}

/// The turn to write of a tag.
struct Turn {
    cache: Arc<Cache>,
    key: Key,
}

impl Drop for Turn {
    /// The next has its turn, also where the one who wrote gave up.
    fn drop(&mut self) {
        if let Some(note) = self.cache.turns.next(&self.key) {
            let turn = Self { cache: Arc::clone(&self.cache), key: self.key.clone() };
            self.cache.spawn_writing(note, Some(turn));
        }
    }
}

impl Cache {
    /// Writes it down when it is its turn.
    pub(super) fn write_soon(self: &Arc<Self>, note: Note) {
        if let Some((note, turn)) = self.turn_for(note) {
            self.spawn_writing(note, turn);
        }
    }

    /// The same, with what ends once it is written; `None` where it is not its turn. It is written also where nobody
    /// waits for that.
    pub(super) fn write_now(self: &Arc<Self>, note: Note) -> Option<EventListener> {
        let (note, turn) = self.turn_for(note)?;
        let end = End::default();
        let ended = end.0.listen();
        self.spawn_writing(note, (turn, end));
        Some(ended)
    }

    /// `None`: somebody is writing of this tag, and goes on with the note.
    fn turn_for(self: &Arc<Self>, note: Note) -> Option<(Note, Option<Turn>)> {
        let key = note.word.as_ref().map(|word| word.tag.key.clone());
        // Where requests may not do each other's work each writes for itself.
        let Some(key) = key.filter(|_| self.shares_io) else { return Some((note, None)) };
        let note = self.turns.take(&key, note)?;
        Some((note, Some(Turn { cache: Arc::clone(self), key })))
    }

    /// Lets go what it holds once it is written.
    fn spawn_writing(self: &Arc<Self>, note: Note, held: impl Send + 'static) {
        let (cache, busy) = (Arc::clone(self), self.busy());
        self.tasks.spawn(Box::pin(async move {
            cache.write_down(note).await;
            drop(held);
            drop(busy);
        }));
    }

    async fn write_down(self: &Arc<Self>, note: Note) {
        self.takes(note.bytes());
        let is_led_to = self.write_what_is_led_to(&note).await.is_some();
        let Some(Word { tag, pointer }) = note.word else { return };
        let done = match pointer {
            Some(pointer) if is_led_to && self.is_current(&tag) => {
                let record = pointer.to_record().into();
                self.ask("write", self.store.write(&tag.key, record, When::Always)).await.map(drop)
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
    async fn write_what_is_led_to(self: &Arc<Self>, note: &Note) -> Option<()> {
        if let Some(manifest) = &note.manifest {
            let key = Key::manifest(&manifest.digest);
            self.ask("write", self.store.write(&key, manifest.to_record(), When::Always)).await?;
        }
        if let Some((digest, origins)) = &note.origins {
            self.write_origins(digest, origins).await?;
        }
        // A store of objects takes its time for each, and an index names dozens.
        let links = stream::iter(&note.links).map(Ok::<_, ()>);
        let write = |link| async move { self.write_link(link).await.ok_or(()) };
        links.try_for_each_concurrent(AT_ONCE, write).await.ok()
    }

    /// A weaker link does not take the place of a stronger one, which memory may have forgotten. Not every store can
    /// write only where nothing is, so this looks first.
    async fn write_link(self: &Arc<Self>, new: &NewLink) -> Option<()> {
        let NewLink { key, link, since } = new;
        let _written = self.writing.begin(key);
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
            if self.writing.count(key) == 1 {
                self.remember_link(key, stored, *since);
            }
            return Some(());
        }
        let written = self.ask("write", self.store.write(key, link.to_record(), When::Always)).await.map(drop);
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
        self.ask("write", self.store.write(&key, all.to_record(), When::Always)).await.map(drop)
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
            let word = Word { tag: Tag { key: key.clone(), generation }, pointer };
            Note { word: Some(word), ..Note::default() }
        };
        let points = |generation| word(generation, Some(Pointer { digest: digest.clone(), confirmed: 0 }));
        let turns = Turns::default();
        assert!(turns.take(&key, points(1)).is_some(), "the first is written at once");
        for note in [word(2, None), points(1)] {
            assert!(turns.take(&key, note).is_none());
        }
        let next = turns.next(&key).and_then(|note| note.word).expect("a word");
        assert!(next.pointer.is_none() && next.tag.generation == 2, "the removal comes");
        assert!(turns.next(&key).is_none());
        for note in [points(2), word(3, None), points(3)] {
            turns.take(&key, note);
        }
        let next = turns.next(&key).and_then(|note| note.word).expect("a word");
        assert!(next.pointer.is_some(), "what was asked for afterwards is the last word");
    }
}
