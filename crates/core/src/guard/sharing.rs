//! What instances on one store tell each other: each writes its own totals of the present day and hour now and then,
//! and reads the others'. Approximate and cheap: on the way of a request, never for longer than a second, and where
//! the store fails, each goes by what it knows itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::Ledger;
use super::window::{Tally, Usage, Window};
use crate::cache::{Cache, Key};
use crate::platform::{Clock, Entropy, Moment, within};
use crate::telemetry;

/// Between two writes, at least.
const WRITE_EVERY: Duration = Duration::from_secs(30);
/// Between two looks at the others, at least.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Between two looks at whether there is anything to write.
const GLANCE_EVERY: Duration = Duration::from_secs(1);
/// All of it, before a request goes on without.
const DEADLINE: Duration = Duration::from_secs(1);
/// More instances than these in a day are not heard.
const MAX_OTHERS: usize = 4096;

/// One instance's part in it.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Who we are to the others.
    name: OnceLock<Box<str>>,
    others: Tally,
    /// When something is due next, in milliseconds on the clock.
    due: AtomicU64,
    busy: Arc<AtomicBool>,
    books: Mutex<Books>,
}

/// What only whoever has the turn looks at.
#[derive(Debug, Default)]
struct Books {
    write_at: Moment,
    look_at: Moment,
    has_looked: bool,
    written: Note,
    day: u64,
    /// By name: when it was written, as the store says, and what it says.
    heard: BTreeMap<Box<str>, (u64, Note)>,
}

/// What an instance writes down, below a key that names the day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Note {
    /// The latest hour.
    hour: u64,
    usage: Usage,
}

impl Books {
    /// Whether the others do not know yet what we have used.
    fn has_news(&self, used: Usage) -> bool {
        used != Usage::default() && used != self.written.usage
    }
}

impl Note {
    fn to_record(self) -> Bytes {
        let Self { hour, usage: Usage { requests, bytes } } = self;
        Bytes::from(format!("{hour} {} {} {} {}", requests[0], bytes[0], requests[1], bytes[1]))
    }

    fn from_record(record: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(record).ok()?;
        let numbers: Vec<u64> = text.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [hour, requests, bytes, requests_of_day, bytes_of_day] = numbers[..] else { return None };
        Some(Self { hour, usage: Usage { requests: [requests, requests_of_day], bytes: [bytes, bytes_of_day] } })
    }

    /// Its part in this hour and day.
    fn at(self, hour: u64) -> Usage {
        if self.hour == hour {
            return self.usage;
        }
        Usage { requests: [0, self.usage.requests[1]], bytes: [0, self.usage.bytes[1]] }
    }
}

/// The right to exchange, until it is dropped.
pub(super) struct Turn {
    busy: Arc<AtomicBool>,
    is_first: bool,
    is_last: bool,
}

impl Turn {
    /// Whether nothing is known of the others yet.
    pub(super) fn is_first(&self) -> bool {
        self.is_first
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.store(false, Ordering::Release);
    }
}

impl Sharing {
    /// Takes a name that no other instance has.
    pub(super) fn name(&self, entropy: &dyn Entropy) {
        self.name.get_or_init(|| {
            let mut bytes = [0; 8];
            entropy.fill(&mut bytes);
            format!("{:016x}", u64::from_be_bytes(bytes)).into()
        });
    }

    /// Takes another's name, where it has none.
    pub(super) fn take_name(&self, other: &Self) {
        if let Some(name) = other.name.get() {
            self.name.get_or_init(|| name.clone());
        }
    }

    /// What the others have used, as far as is known.
    pub(super) fn others(&self, now: u64) -> Usage {
        self.others.usage(now)
    }

    /// The turn, if something is due and nobody has it.
    pub(super) fn turn(&self, now: Moment, used: impl FnOnce() -> Usage) -> Option<Turn> {
        if millis(now) < self.due.load(Ordering::Relaxed) {
            return None;
        }
        let turn = self.take(false)?;
        let books = self.books();
        if now < books.look_at && !books.has_news(used()) {
            // Until somebody is served again; and those who are refused meanwhile do not all look here.
            self.due.store(millis(now.after(GLANCE_EVERY)), Ordering::Relaxed);
            return None;
        }
        Some(turn)
    }

    /// The turn to write what is left to be written.
    pub(super) fn last_turn(&self) -> Option<Turn> {
        self.take(true)
    }

    fn take(&self, is_last: bool) -> Option<Turn> {
        if self.busy.swap(true, Ordering::Acquire) {
            return None;
        }
        let is_first = !self.books().has_looked;
        Some(Turn { busy: Arc::clone(&self.busy), is_first, is_last })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes and looks, as far as either is due.
pub(super) async fn exchange(turn: &Turn, cache: &Cache, ledger: &Ledger, clock: &dyn Clock) {
    let sharing = &ledger.sharing;
    let Some(name) = sharing.name.get() else { return };
    let work = async {
        write(turn, name, cache, ledger, clock).await;
        if !turn.is_last {
            look(name, cache, sharing, clock).await;
        }
    };
    if within(clock, DEADLINE, work).await.is_err() {
        telemetry::store_failed("usage", "cache timed out");
        tracing::warn!("the store did not take or tell what was used within a second; going on without");
    }
    let now = clock.unix_seconds();
    let (hour, day) = (Window::Hour.number(now), Window::Day.number(now));
    let mut books = sharing.books();
    if books.day == day {
        let sum = books.heard.values().fold(Usage::default(), |sum, (_, note)| sum.plus(note.at(hour)));
        sharing.others.set(sum, now);
    }
    // However it went: the store is not asked again at once.
    if clock.now() >= books.look_at {
        books.look_at = clock.now().after(LOOK_EVERY);
    }
    books.has_looked = true;
    sharing.due.store(millis(books.write_at.min(books.look_at)), Ordering::Relaxed);
}

async fn write(turn: &Turn, name: &str, cache: &Cache, ledger: &Ledger, clock: &dyn Clock) {
    let now = clock.unix_seconds();
    let note = Note { hour: Window::Hour.number(now), usage: ledger.total.usage(now) };
    {
        let mut books = ledger.sharing.books();
        // Where nothing is new it stays due: the next request is news.
        if !books.has_news(note.usage) || (clock.now() < books.write_at && !turn.is_last) {
            return;
        }
        books.write_at = clock.now().after(WRITE_EVERY);
    }
    if cache.write_usage(&Key::usage(Window::Day.number(now), name), note.to_record()).await {
        ledger.sharing.books().written = note;
    }
}

async fn look(name: &str, cache: &Cache, sharing: &Sharing, clock: &dyn Clock) {
    let day = Window::Day.number(clock.unix_seconds());
    {
        let mut books = sharing.books();
        if clock.now() < books.look_at {
            return;
        }
        books.look_at = clock.now().after(LOOK_EVERY);
        if books.day != day {
            books.day = day;
            books.heard.clear();
        }
    }
    let Some(entries) = cache.usage_of(day, MAX_OTHERS).await else { return };
    let mut reads: u32 = 0;
    for (key, other, used) in entries {
        // Only what was written since it was read: most are instances that ended hours ago.
        if *other == *name || sharing.books().heard.get(&other).is_some_and(|(then, _)| *then == used) {
            continue;
        }
        reads += 1;
        if let Some(note) = cache.read_usage(&key).await.and_then(|record| Note::from_record(&record)) {
            sharing.books().heard.insert(other, (used, note));
        }
    }
    // The more there are, the more seldom each looks: what all of them ask grows with their number, not its square.
    let pause = LOOK_EVERY.max(Duration::from_secs(1) * reads);
    sharing.books().look_at = clock.now().after(pause);
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_nonsense_is_not() {
        let note = Note { hour: 472_222, usage: Usage { requests: [1, 20], bytes: [300, u64::MAX] } };
        let record = note.to_record();
        assert_eq!(&record[..], b"472222 1 300 20 18446744073709551615");
        assert_eq!(Note::from_record(&record), Some(note));
        assert_eq!(note.at(472_222), note.usage);
        assert_eq!(note.at(472_223), Usage { requests: [0, 20], bytes: [0, u64::MAX] }, "the hour is over");
        for text in ["", "1 2 3 4", "1 2 3 4 5 6", "1 2 3 4 -5", "\u{e9}"] {
            assert_eq!(Note::from_record(text.as_bytes()), None, "{text}");
        }
    }
}
