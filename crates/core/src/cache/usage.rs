//! What instances that share the store have used: small records, of which the guard knows the meaning.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{Cache, Key, Kind, USAGE};
use crate::platform::{Entry, When};

impl Cache {
    /// Whether there may be other instances at all.
    pub(crate) fn is_shared(&self) -> bool {
        self.store.abilities().is_shared
    }

    /// Writes what we have used, and returns whether that went well.
    pub(crate) async fn write_usage(&self, key: &Key, record: Bytes) -> bool {
        self.ask("usage", self.store.write(key, record, When::Always)).await.is_some()
    }

    /// Who has written something that day, and when; `None`: nobody knows.
    pub(crate) async fn usage_of(&self, day: u64, most: usize) -> Option<Vec<(Key, Box<str>, u64)>> {
        let prefix = format!("{USAGE}{day}/");
        let list = self.store.list(&prefix).take(most).try_collect::<Vec<Entry>>();
        let entries = self.ask("usage", list).await?;
        let notes = entries.into_iter().filter_map(|entry| {
            let Some(Kind::Usage { instance, .. }) = entry.key.kind() else { return None };
            Some((entry.key, instance, entry.used))
        });
        Some(notes.collect())
    }

    /// What one of them has written.
    pub(crate) async fn read_usage(&self, key: &Key) -> Option<Bytes> {
        self.ask("usage", self.store.read(key)).await.flatten()
    }
}
