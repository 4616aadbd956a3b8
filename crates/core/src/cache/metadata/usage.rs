//! Records of what instances that share the store have served: the quota knows what they mean. They are optional: where they
//! cannot be read or written, the store is still asked for everything else.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::cache::{Cache, Key, Kind, USAGE};
use crate::platform::{Entry, Precondition, StoreError};

impl Cache {
    /// Whether there may be other instances at all.
    pub(crate) fn is_shared(&self) -> bool {
        self.backend.capabilities().is_shared
    }

    /// Writes what we have used, and returns whether that went well.
    pub(crate) async fn write_usage(&self, key: &Key, record: Bytes) -> bool {
        let written = self.ask_usage(self.backend.store.write(key, record, Precondition::Always)).await;
        written.inspect_err(usage_failed).is_ok()
    }

    /// That day's reports: key, instance and time; `None`: not listed.
    pub(crate) async fn usage_of(&self, day: u64, most: usize) -> Option<Vec<(Key, Box<str>, u64)>> {
        let prefix = format!("{USAGE}{day}/");
        let list = self.backend.store.list(&prefix).take(most).try_collect::<Vec<Entry>>();
        let entries = self.ask_usage(list).await.inspect_err(usage_failed).ok()?;
        let notes = entries.into_iter().filter_map(|entry| {
            let Some(Kind::Usage { instance, .. }) = entry.key.kind() else { return None };
            Some((entry.key, instance, entry.used))
        });
        Some(notes.collect())
    }

    /// A report, if it is still there. An error: it may be, and can be read later.
    pub(crate) async fn read_usage(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.ask_usage(self.backend.store.read(key)).await
    }

    async fn ask_usage<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let answer = self.backend.ask_quietly("usage", answer).await?;
        answer.ok_or_else(|| StoreError::failed("it failed at something else a moment ago"))
    }
}

/// Logs that usage was not read or written.
pub(crate) fn usage_failed(error: &StoreError) {
    let source = std::error::Error::source(error).map(tracing::field::display);
    tracing::warn!(
        error = source,
        "usage could not be shared with other processes: {error}; continuing without it"
    );
}
