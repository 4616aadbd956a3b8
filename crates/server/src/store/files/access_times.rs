//! When keys were last used: kept in memory, and at intervals in the file's access time, which survives a restart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::Clock as _;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};

use super::root::Root;
use crate::runtime::SystemClock;
use crate::store::disk;

/// Seconds after which the file's access time is updated again.
const NOTED_EVERY: u64 = 3600;
/// Most keys in memory. A key that was dropped updates its file again.
const MAX_KEYS: usize = 1 << 16;

/// Times of use by key.
#[derive(Default)]
pub(super) struct AccessTimes(Mutex<HashMap<Key, KeyTimes>>);

#[derive(Clone, Copy, Default)]
struct KeyTimes {
    used: u64,
    noted: u64,
}

impl AccessTimes {
    /// Records that the key is used now.
    pub(super) fn now(&self, root: &Arc<Root>, key: &Key) {
        let now = SystemClock.unix_seconds();
        if !self.remember(key, now) {
            return;
        }
        let path = root.path_of(key);
        let note = move || {
            let seconds = i64::try_from(now).unwrap_or(i64::MAX);
            let times = Timestamps {
                last_access: Timespec { tv_sec: seconds, tv_nsec: 0 },
                last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            };
            // Ignore errors: the file may be gone, or belong to another user.
            let _ = rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty());
        };
        match tokio::runtime::Handle::try_current() {
            Ok(_) => drop(disk::run(note)),
            Err(_) => note(),
        }
    }

    /// Records the use in memory; returns whether to update the file.
    fn remember(&self, key: &Key, now: u64) -> bool {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = keys.get_mut(key) {
            times.used = now;
            let is_due = now.saturating_sub(times.noted) >= NOTED_EVERY;
            if is_due {
                times.noted = now;
            }
            return is_due;
        }
        if keys.len() >= MAX_KEYS {
            keys.retain(|_, times| now.saturating_sub(times.noted) < NOTED_EVERY);
        }
        if keys.len() >= MAX_KEYS {
            keys.clear();
        }
        keys.insert(key.clone(), KeyTimes { used: now, noted: now });
        true
    }

    /// When the key was last used, according to memory.
    pub(super) fn last(&self, key: &Key) -> u64 {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(key).map_or(0, |times| times.used)
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::digest::Digest;

    use super::*;

    #[test]
    fn a_file_is_told_at_most_once_an_hour() {
        let (used, key) = (AccessTimes::default(), Key::blob(&Digest::sha256(b"")));
        assert!(used.remember(&key, 10_000));
        assert!(!used.remember(&key, 10_001));
        assert!(!used.remember(&key, 13_599));
        assert_eq!(used.last(&key), 13_599);
        assert!(used.remember(&key, 13_600));
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let used = AccessTimes::default();
        for number in 0..=u32::try_from(MAX_KEYS).unwrap() {
            used.remember(&Key::lease(&Digest::sha256(b""), number), 10_000);
        }
        assert!(used.0.lock().unwrap().len() <= MAX_KEYS);
    }
}
