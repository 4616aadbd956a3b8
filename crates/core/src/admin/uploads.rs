//! Uploads in parts that nobody goes on with.

use super::CacheAdmin;
use crate::cache::{Key, Kind};
use crate::ingest::upload_in;
use crate::platform::StoreError;

impl CacheAdmin {
    /// Takes back the upload that a record is of, or a store would keep its parts for ever; whether that is done with.
    pub(super) async fn take_back(&self, key: &Key) -> bool {
        match self.in_time(self.try_to_take_back(key)).await {
            Ok(()) => true,
            Err(error) => {
                let source = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(%key, error = source, "{error}; an abandoned upload stays in the store for now");
                false
            }
        }
    }

    async fn try_to_take_back(&self, key: &Key) -> Result<(), StoreError> {
        let Some(Kind::Ingest(digest)) = key.kind() else { return Ok(()) };
        if *key != Key::ingest(&digest) {
            return Ok(());
        }
        let parked = self.store.read(key).await?.and_then(|record| upload_in(&record));
        let Some(parked) = parked else { return Ok(()) };
        match self.store.resume_upload(&Key::blob(&digest), &parked).await? {
            Some(upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}
