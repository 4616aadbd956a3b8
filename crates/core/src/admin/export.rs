//! What an export reads of the cache: where tags lead, manifests, and blobs with their lengths. Nothing is fetched.

use bytes::Bytes;

use super::CacheAdmin;
use crate::body::Body;
use crate::bundle::BundleImage;
use crate::cache::{Key, Pointer, StoredManifest};
use crate::digest::Digest;
use crate::name::Reference;
use crate::platform::StoreError;

impl CacheAdmin {
    /// Which manifest an image's name leads clients to; `None`: its tag is not cached.
    pub async fn led_to(&self, image: &BundleImage) -> Result<Option<Digest>, StoreError> {
        let tag = match &image.reference {
            Reference::Digest(digest) => return Ok(Some(digest.clone())),
            Reference::Tag(tag) => tag,
        };
        let key = Key::tag(&image.upstream, &image.repository, tag.as_str());
        // Memory is ahead of the store.
        if let Some(live) = &self.live
            && let Some(pointer) = live.cache.metadata.pointer(&key).await
        {
            return Ok(Some(pointer.digest));
        }
        let record = self.read(&key).await?;
        Ok(record.and_then(|record| Pointer::from_record(&record)).map(|pointer| pointer.digest))
    }

    /// A manifest's bytes, which have its digest; `None`: it is not cached.
    pub async fn manifest_bytes(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.stored_manifest(digest).await?.map(|manifest| manifest.bytes))
    }

    pub(super) async fn stored_manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, StoreError> {
        let record = self.read(&Key::manifest(digest)).await?;
        Ok(record.and_then(|record| StoredManifest::from_record(digest, &record)))
    }

    /// A blob's length in bytes; `None`: it is not cached.
    pub async fn blob_bytes(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let stat = self.in_time(self.store.stat(&Key::blob(digest))).await?;
        Ok(stat.map(|stat| stat.length))
    }

    /// A blob and its length in bytes; `None`: it is not cached. Whoever reads it holds it against its digest.
    pub async fn open_blob(&self, digest: &Digest) -> Result<Option<(u64, Body)>, StoreError> {
        let found = self.in_time(self.store.open(&Key::blob(digest), None)).await?;
        Ok(found.map(|found| (found.stat.length, found.body)))
    }
}
