//! When keys were last used, shared by all processes that use the bucket.
//!
//! A bucket does not record when an object was read. So each process writes the times of its own uses to an object below
//! `v1/used/`, and reads the objects of the others before it lists the bucket. Eviction then goes by use also after a restart,
//! and keeps images that other replicas serve. If the bucket fails, the times known so far decide.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::{Clock as _, Entropy as _, StoreError};
use tokio::time::Instant;

use super::bucket::{Bucket, absent_as_none, store_error, with_timeout};
use super::client::REQUEST_TIMEOUT;
use crate::runtime::{SystemClock, SystemEntropy};

/// Prefix of the objects with times of use; no content has such a key.
const FOLDER: &str = "v1/used/";
/// Most keys in memory: for own uses, and again for the uses of others.
const MAX_KEYS: usize = 1 << 16;
/// Most keys in an object, the latest used; about 1.5 MB.
const MAX_WRITTEN: usize = 1 << 14;
/// Larger objects are neither read nor removed: we write none.
const MAX_BYTES: u64 = 8 << 20;
/// Most objects of others that are read, the latest written.
const MAX_OTHERS: usize = 64;
/// Shortest time between two exchanges.
const EVERY: Duration = Duration::from_mins(1);
/// How long a listing waits for an exchange: less than the core's deadline for the first entry. The exchange then continues.
const WAIT: Duration = Duration::from_secs(2);
/// Age in seconds after which an object belongs to a process that has ended.
const ENDED: u64 = 24 * 60 * 60;

/// Times of use, in seconds since 1970.
#[derive(Default)]
struct UseTimes {
    own: HashMap<Key, u64>,
    others: HashMap<Key, u64>,
    /// Whether `own` has changed since it was written.
    is_changed: bool,
}

/// The state of the exchange with other processes.
#[derive(Default)]
struct Exchange {
    last: Option<Instant>,
    /// The version of each object that was last read.
    read: HashMap<String, String>,
}

/// An object that another process wrote.
struct Object {
    path: String,
    /// Seconds since 1970.
    written: u64,
    /// Changes when it is written again.
    version: String,
}

/// When this and other processes last used keys.
pub(super) struct SharedAccessTimes {
    name: String,
    times: Mutex<UseTimes>,
    exchanged: tokio::sync::Mutex<Exchange>,
}

impl SharedAccessTimes {
    /// Nothing used yet.
    pub(super) fn new() -> Self {
        let mut bytes = [0; 8];
        SystemEntropy.fill(&mut bytes);
        let name = format!("{FOLDER}{:016x}", u64::from_be_bytes(bytes));
        Self { name, times: Mutex::default(), exchanged: tokio::sync::Mutex::default() }
    }

    /// Records that this process uses a key now.
    pub(super) fn note(&self, key: &Key) {
        let now = SystemClock.unix_seconds();
        let mut times = self.times();
        times.is_changed = true;
        remember(&mut times.own, key, now);
    }

    /// Drops a key that was removed.
    pub(super) fn forget(&self, key: &Key) {
        let mut times = self.times();
        times.own.remove(key);
        times.others.remove(key);
    }

    /// As if the last exchange had been long ago.
    #[cfg(test)]
    pub(super) async fn forget_last_exchange(&self) {
        self.exchanged.lock().await.last = None;
    }

    /// When any process last used a key; 0: unknown.
    pub(super) fn of(&self, key: &Key) -> u64 {
        let times = self.times();
        let at = |times: &HashMap<Key, u64>| times.get(key).copied().unwrap_or(0);
        at(&times.own).max(at(&times.others))
    }

    /// Reads the times of others and writes our own, unless that was done recently. Waits at most [`WAIT`].
    pub(super) async fn exchange(self: &Arc<Self>, bucket: &Arc<Bucket>) {
        let (times, bucket) = (Arc::clone(self), Arc::clone(bucket));
        let work = tokio::spawn(async move {
            // Another listing is doing it.
            let Ok(mut exchanged) = times.exchanged.try_lock() else { return };
            if exchanged.last.is_some_and(|last| last.elapsed() < EVERY) {
                return;
            }
            exchanged.last = Some(Instant::now());
            if let Err(error) = times.exchange_all(&bucket, &mut exchanged).await {
                let source = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(
                    error = source,
                    "{error}; the processes that share the bucket do not know all uses of the cached content"
                );
            }
        });
        // The runtime reports a panic of the task.
        let _ = tokio::time::timeout(WAIT, work).await;
    }

    /// Reads what others wrote, takes over the times of processes that have ended, and writes our own. One object that
    /// fails does not stop the rest; without a list nothing is done.
    async fn exchange_all(&self, bucket: &Bucket, exchanged: &mut Exchange) -> Result<(), StoreError> {
        let now = SystemClock.unix_seconds();
        let found = self.objects_of_others(bucket).await?;
        let (mut ended, mut live): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|object| now.saturating_sub(object.written) > ENDED);
        // A process that serves nothing, such as a command, only reads.
        if self.times().own.is_empty() {
            live.append(&mut ended);
        }
        live.sort_unstable_by_key(|object| std::cmp::Reverse(object.written));
        live.truncate(MAX_OTHERS);
        ended.sort_unstable_by_key(|object| object.written);
        ended.truncate(MAX_OTHERS);
        exchanged.read.retain(|path, _| live.iter().any(|object| object.path == *path));
        let mut done = Ok(());
        for object in live {
            if exchanged.read.get(&object.path) == Some(&object.version) {
                continue;
            }
            match self.read(bucket, &object, now, false).await {
                Ok(()) => drop(exchanged.read.insert(object.path, object.version)),
                Err(error) => done = Err(error),
            }
        }
        for object in ended {
            if let Err(error) = self.take_over(bucket, &object, now).await {
                done = Err(error);
            }
        }
        self.write_own(bucket).await.and(done)
    }

    async fn objects_of_others(&self, bucket: &Bucket) -> Result<Vec<Object>, StoreError> {
        let not_listed = |error| store_error(error).of_reading();
        let list = with_timeout(REQUEST_TIMEOUT, bucket.operator.lister(FOLDER)).await?.map_err(not_listed)?;
        let entries = async { list.try_collect::<Vec<_>>().await };
        let entries = with_timeout(REQUEST_TIMEOUT, entries).await?.map_err(not_listed)?;
        let others = entries.into_iter().filter(|entry| {
            let metadata = entry.metadata();
            entry.path() != self.name && metadata.is_file() && metadata.content_length() <= MAX_BYTES
        });
        let object = |entry: opendal::Entry| {
            let metadata = entry.metadata();
            let written = metadata.last_modified().map_or(0, |time| time.into_inner().as_second());
            let written = u64::try_from(written).unwrap_or(0);
            let version = format!("{written} {}", metadata.etag().unwrap_or_default());
            Object { path: entry.path().to_owned(), written, version }
        };
        Ok(others.map(object).collect())
    }

    /// Merges the times in an object, if it is still there.
    async fn read(&self, bucket: &Bucket, object: &Object, now: u64, has_ended: bool) -> Result<(), StoreError> {
        let read = with_timeout(REQUEST_TIMEOUT, bucket.operator.read(&object.path)).await?;
        if let Some(buffer) = absent_as_none(read).map_err(StoreError::of_reading)? {
            self.merge(&buffer.to_bytes(), now, has_ended);
        }
        Ok(())
    }

    /// Writes the times of a process that has ended as our own, then removes its object.
    async fn take_over(&self, bucket: &Bucket, object: &Object, now: u64) -> Result<(), StoreError> {
        self.read(bucket, object, now, true).await?;
        self.write_own(bucket).await?;
        absent_as_none(with_timeout(REQUEST_TIMEOUT, bucket.operator.delete(&object.path)).await?).map(drop)
    }

    /// Merges another process's lines, each a time and a key. Skips invalid lines; a time in the future counts as now.
    fn merge(&self, text: &[u8], now: u64, has_ended: bool) {
        let mut times = self.times();
        let lines = String::from_utf8_lossy(text);
        for line in lines.lines().take(MAX_WRITTEN) {
            let Some((time, key)) = line.split_once(' ') else { continue };
            let (Ok(time), Some(key)) = (time.parse::<u64>(), Key::parse(key)) else { continue };
            let place = if has_ended { &mut times.own } else { &mut times.others };
            remember(place, &key, time.min(now));
        }
        times.is_changed |= has_ended;
    }

    /// Writes the times of this process, if they have changed.
    async fn write_own(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let Some(text) = self.changed_lines() else { return Ok(()) };
        let written = with_timeout(REQUEST_TIMEOUT, bucket.operator.write(&self.name, text)).await;
        let done = written.and_then(|written| written.map_err(store_error));
        if done.is_err() {
            self.times().is_changed = true;
        }
        done.map(drop)
    }

    /// The lines to write; `None`: nothing has changed.
    fn changed_lines(&self) -> Option<Bytes> {
        // Sorting and writing would hold up every request that uses the cache.
        let mut latest: Vec<(Key, u64)> = {
            let mut times = self.times();
            if !std::mem::take(&mut times.is_changed) {
                return None;
            }
            times.own.iter().map(|(key, time)| (key.clone(), *time)).collect()
        };
        latest.sort_unstable_by(|(key, time), (other, later)| (later, key.as_str()).cmp(&(time, other.as_str())));
        latest.truncate(MAX_WRITTEN);
        let mut text = String::new();
        for (key, time) in latest {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{time} {key}");
        }
        Some(text.into())
    }

    fn times(&self) -> MutexGuard<'_, UseTimes> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the later time. If there are too many keys, drops the older half.
fn remember(times: &mut HashMap<Key, u64>, key: &Key, time: u64) {
    if let Some(known) = times.get_mut(key) {
        *known = time.max(*known);
        return;
    }
    if times.len() >= MAX_KEYS {
        let mut all: Vec<u64> = times.values().copied().collect();
        let middle = all.len() / 2;
        let (_, median, _) = all.select_nth_unstable(middle);
        let median = *median;
        times.retain(|_, known| *known > median);
    }
    times.insert(key.clone(), time);
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::digest::Digest;

    use super::*;

    fn key(number: u64) -> Key {
        Key::blob(&Digest::sha256(&number.to_be_bytes()))
    }

    #[test]
    fn what_one_process_writes_another_one_reads() {
        let (one, other) = (SharedAccessTimes::new(), SharedAccessTimes::new());
        one.note(&key(1));
        let text = one.changed_lines().unwrap();
        assert_eq!(one.changed_lines(), None, "nothing has changed since");
        other.merge(&text, u64::MAX, false);
        assert_eq!(other.of(&key(1)), one.of(&key(1)));
        assert_eq!(other.of(&key(2)), 0);
        assert_eq!(other.changed_lines(), None, "what others used is theirs to tell");
    }

    #[test]
    fn what_a_process_that_has_ended_used_is_told_by_who_heard_it() {
        let heir = SharedAccessTimes::new();
        heir.merge(format!("7 {}\n", key(1)).as_bytes(), 100, true);
        assert_eq!(heir.changed_lines().unwrap(), format!("7 {}\n", key(1)));
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_and_a_time_to_come_is_now() {
        let uses = SharedAccessTimes::new();
        let text =
            format!("\u{fffd}\n9\nnine {k}\n5 ../../etc\n-1 {k}\n99999999999999999999 {k}\n400 {k}\n", k = key(1));
        uses.merge(text.as_bytes(), 300, false);
        assert_eq!(uses.of(&key(1)), 300);
        assert_eq!(uses.times().others.len(), 1);
    }

    #[test]
    fn the_number_of_keys_is_bounded_and_the_latest_stay() {
        let mut times = HashMap::new();
        for number in 0..=MAX_KEYS as u64 {
            remember(&mut times, &key(number), number);
        }
        assert!(times.len() <= MAX_KEYS, "{}", times.len());
        assert_eq!(times.get(&key(MAX_KEYS as u64)), Some(&(MAX_KEYS as u64)));
        assert_eq!(times.get(&key(0)), None);
    }
}
