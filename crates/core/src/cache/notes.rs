//! What is to be written down: soon, beside all requests, and in order. First what is led to, then what leads there, so
//! that a crash leaves nothing that leads nowhere; and of one tag one word after the other, so that the last one stays.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Arc, PoisonError};

use event_listener::Event;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{Cache, Key, Pointer, Proof, StoredManifest};
use crate::platform::When;
use crate::sync::{Mutex, MutexGuard};

/// Links that are written at once.
const AT_ONCE: usize = 8;

/// What is to be written, in this order.
#[derive(Default)]
pub(super) struct Note {
    pub(super) manifest: Option<Arc<StoredManifest>>,
    /// Links by the word of a manifest alone.
    pub(super) named: Vec<Key>,
    /// The link of what the upstream has shown.
    pub(super) shown: Option<Key>,
    pub(super) word: Option<Word>,
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

    /// Whether it says nothing but where a tag points.
    fn is_a_word(&self) -> bool {
        self.manifest.is_none() && self.named.is_empty() && self.shown.is_none()
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
                    last.word = note.word;
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

    /// Writes it down and returns when it is written, or at once where it is not its turn. It is written also where
    /// nobody waits for that any more.
    pub(super) async fn write_now(self: &Arc<Self>, note: Note) {
        let Some((note, turn)) = self.turn_for(note) else { return };
        let end = End::default();
        let ended = end.0.listen();
        self.spawn_writing(note, (turn, end));
        ended.await;
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

    async fn write_down(&self, note: Note) {
        let is_led_to = self.write_what_is_led_to(&note).await.is_some();
        match note.word {
            Some(Word { tag, pointer: Some(pointer) }) if is_led_to && self.is_current(&tag) => {
                let record = pointer.to_record().into();
                self.ask("write", self.store.write(&tag.key, record, When::Always)).await;
            }
            Some(Word { tag, pointer: None }) => {
                self.ask("remove", self.store.remove(&tag.key)).await;
            }
            Some(_) | None => {}
        }
    }

    /// Up to what the store does not take: `None`.
    async fn write_what_is_led_to(&self, note: &Note) -> Option<()> {
        if let Some(manifest) = &note.manifest {
            let key = Key::manifest(&manifest.digest);
            self.ask("write", self.store.write(&key, manifest.to_record(), When::Always)).await?;
        }
        // A store of objects takes its time for each, and an index names dozens.
        let named = stream::iter(&note.named).map(Ok::<_, ()>);
        let write = |key| async move { self.write_named(key).await.ok_or(()) };
        named.try_for_each_concurrent(AT_ONCE, write).await.ok()?;
        if let Some(key) = &note.shown {
            self.ask("write", self.store.write(key, Proof::Shown.to_record(), When::Always)).await?;
        }
        Some(())
    }

    /// A manifest's word does not take the place of what the upstream has shown, which memory may have forgotten. Not
    /// every store can write only where nothing is, so this looks first.
    async fn write_named(&self, key: &Key) -> Option<()> {
        let record = self.ask("read", self.store.read(key)).await?;
        let Some(proof) = record.and_then(|record| Proof::from_record(&record)) else {
            let write = self.store.write(key, Proof::Named.to_record(), When::Always);
            return self.ask("write", write).await.map(drop);
        };
        if self.proofs.get(key).is_none_or(|known| known < proof) {
            self.proofs.insert(key.clone(), proof);
        }
        Some(())
    }
}
