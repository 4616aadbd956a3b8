//! An imported image gets its name: all that its manifests name is held against what is here, then the records are written,
//! referenced ones first and the tag last. Until then nothing leads to what was imported.
//!
//! Who imports vouches for the content as the upstream does: it counts as given by the upstream to this repository, and for
//! no other one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use super::{CacheAdmin, LiveServer};
use crate::bundle::{BundleFault, BundleImage, BundleRefusal, INDEX_FILE, blob_path};
use crate::cache::{Described, HoldRecord, Key, Pointer, StoredManifest};
use crate::digest::Digest;
use crate::evidence::{Link, Origins, Provenance};
use crate::name::{Reference, Tag};
use crate::platform::{Precondition, StoreError};

/// Most indexes within each other: those of today's images name images only.
const MAX_DEPTH: usize = 4;
/// Most manifests and blobs of one image.
const MAX_PARTS: usize = 10_000;
/// Records that are written at once: an object store is slow for each one.
const AT_ONCE: usize = 8;

/// An image that is to have a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// The name.
    pub image: BundleImage,
    /// Its manifest or index: kept as a blob, or cached before.
    pub digest: Digest,
    /// That one's length in bytes, where the bundle says it.
    pub size: Option<u64>,
    /// Most bytes of a manifest (`limits.manifest`).
    pub manifest_limit: u64,
}

/// What an image consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// Its manifests.
    pub manifests: Vec<Digest>,
    /// Its configurations and layers.
    pub blobs: Vec<Digest>,
    /// Manifests of its index that are not here, or not all that they name is, and what is missing: those of other platforms.
    pub left_out: Vec<(Digest, String)>,
    /// Bytes of its manifests and blobs.
    pub bytes: u64,
}

/// Why an image gets no name.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// A part of it is not here.
    #[error(transparent)]
    Missing(BundleRefusal),
    /// A part of it is not what it is named as.
    #[error(transparent)]
    Refused(BundleRefusal),
    /// An operator pinned the tag elsewhere.
    #[error("{image} is pinned to {pinned}; take that back first: registry-proxy cache unpin {image}")]
    Pinned {
        /// The tag.
        image: String,
        /// Where it is pinned.
        pinned: Digest,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdoptMode {
    /// Only looks whether all that is needed is here.
    Check,
    /// Writes.
    Write,
}

impl CacheAdmin {
    /// Gives an image its name, or only looks whether it could have it.
    pub async fn adopt(&self, adoption: &Adoption, mode: AdoptMode) -> Result<Adopted, AdoptError> {
        let image = &adoption.image;
        let provenance = Provenance {
            upstream: (*image.upstream).into(),
            repository: image.repository.clone(),
            anonymous: false,
            since: self.live.as_ref().map_or(0, |live| live.cache.metadata.generation()),
        };
        let held = match &image.reference {
            Reference::Tag(tag) => self.hold_of_import(image, tag, &adoption.digest).await?,
            Reference::Digest(_) => None,
        };
        let mut walk = AdoptionWalk {
            admin: self,
            adoption,
            provenance,
            mode,
            adopted: Adopted::default(),
            seen: HashMap::new(),
            blobs: HashSet::new(),
        };
        walk.manifest(NamedManifest { digest: adoption.digest.clone(), size: adoption.size, by: None }, 0).await?;
        let AdoptionWalk { adopted, .. } = walk;
        if mode == AdoptMode::Write
            && let Reference::Tag(tag) = &image.reference
        {
            self.lead_tag(image, tag, &adoption.digest, held).await?;
        }
        if let Some(LiveServer { cache, .. }) = &self.live {
            cache.metadata.clear_absent();
        }
        Ok(adopted)
    }

    /// What is known of a held tag, if that is anything. One that is pinned elsewhere stays there.
    async fn hold_of_import(
        &self,
        image: &BundleImage,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<Option<(Key, HoldRecord)>, AdoptError> {
        let key = Key::hold(&image.upstream, &image.repository, tag.as_str());
        let record = self.hold(&key).await?;
        match &record.pinned {
            Some(pinned) if pinned != digest => {
                Err(AdoptError::Pinned { image: image.to_string(), pinned: pinned.clone() })
            }
            Some(_) | None => Ok((record != HoldRecord::default()).then_some((key, record))),
        }
    }

    /// The tag leads to this manifest from now on. As with what is pushed through the proxy, no hold is in the way.
    async fn lead_tag(
        &self,
        image: &BundleImage,
        tag: &Tag,
        digest: &Digest,
        held: Option<(Key, HoldRecord)>,
    ) -> Result<(), StoreError> {
        if let Some((key, record)) = held {
            let record = record.push(digest.clone());
            self.put(&key, record.to_record().into()).await?;
            if let Some(LiveServer { cache, .. }) = &self.live {
                cache.metadata.holds.keep_hold(&key, &record, true);
            }
        }
        let key = Key::tag(&image.upstream, &image.repository, tag.as_str());
        let pointer = Pointer::confirmed(digest.clone(), self.clock.unix_seconds());
        self.put(&key, pointer.to_record().into()).await?;
        if let Some(LiveServer { cache, .. }) = &self.live {
            cache.metadata.point(&cache.metadata.tag(key), pointer);
        }
        Ok(())
    }

    /// A manifest that is cached, or was kept as a blob.
    async fn kept_manifest(&self, digest: &Digest, limit: u64) -> Result<Option<StoredManifest>, AdoptError> {
        if let Some(manifest) = self.stored_manifest(digest).await? {
            return Ok(Some(manifest));
        }
        let Some((bytes, body)) = self.open_blob(digest).await? else { return Ok(None) };
        if bytes > limit {
            let fault = BundleFault::TooLong { bytes, limit_bytes: limit };
            return Err(AdoptError::Refused(refusal(Some(digest), fault)));
        }
        let bytes = self
            .in_time(async { body.collect(limit).await.map_err(StoreError::failed) })
            .await
            .map_err(StoreError::of_reading)?;
        if digest.matches(&bytes) != Some(true) {
            return Ok(None);
        }
        StoredManifest::new(digest.clone(), bytes)
            .map(Some)
            .ok_or_else(|| AdoptError::Refused(refusal(Some(digest), BundleFault::NoManifest)))
    }

    /// Records that the upstream has given a digest to this repository.
    async fn given(&self, provenance: &Provenance, digest: &Digest) -> Result<(), StoreError> {
        let key = Key::origins(digest);
        let new = Origins::one(&provenance.upstream, provenance.anonymous);
        let known = self.read(&key).await?.and_then(|record| Origins::from_record(&record));
        let news = match &known {
            Some(known) => known.with(&new),
            None => Some(new),
        };
        if let Some(origins) = news {
            self.put(&key, origins.to_record()).await?;
        }
        let link = Key::link(&provenance.upstream, &provenance.repository, digest);
        self.put(&link, Link::Proven.to_record()).await?;
        if let Some(LiveServer { cache, .. }) = &self.live {
            cache.metadata.given(provenance, digest);
        }
        Ok(())
    }

    async fn put(&self, key: &Key, record: Bytes) -> Result<(), StoreError> {
        self.in_time(self.store.write(key, record, Precondition::Always)).await.map(drop)
    }
}

/// A manifest, as it is named.
struct NamedManifest {
    digest: Digest,
    size: Option<u64>,
    by: Option<Digest>,
}

/// A walk through an image, from its index to its layers.
struct AdoptionWalk<'a> {
    admin: &'a CacheAdmin,
    adoption: &'a Adoption,
    provenance: Provenance,
    mode: AdoptMode,
    adopted: Adopted,
    /// Manifests that were looked at, and whether they are complete.
    seen: HashMap<Digest, bool>,
    /// Blobs of those that are complete.
    blobs: HashSet<Digest>,
}

impl AdoptionWalk<'_> {
    fn manifest(&mut self, named: NamedManifest, depth: usize) -> BoxFuture<'_, Result<(), AdoptError>> {
        Box::pin(async move {
            let digest = named.digest.clone();
            match self.seen.get(&digest) {
                Some(true) => return Ok(()),
                Some(false) => return Err(missing(&digest, named.by.as_ref())),
                None => {}
            }
            if depth >= MAX_DEPTH {
                return Err(AdoptError::Refused(refusal(Some(&digest), BundleFault::Depth(MAX_DEPTH))));
            }
            if self.seen.len() + self.blobs.len() >= MAX_PARTS {
                let fault = BundleFault::Parts(MAX_PARTS);
                return Err(AdoptError::Refused(refusal(Some(&self.adoption.digest), fault)));
            }
            self.seen.insert(digest.clone(), false);
            let done = self.look(named, depth).await;
            self.seen.insert(digest, done.is_ok());
            done
        })
    }

    async fn look(&mut self, named: NamedManifest, depth: usize) -> Result<(), AdoptError> {
        let NamedManifest { digest, size, by } = named;
        let found = self.admin.kept_manifest(&digest, self.adoption.manifest_limit).await?;
        let Some(manifest) = found else { return Err(missing(&digest, by.as_ref())) };
        let is = manifest.bytes.len() as u64;
        if let Some(says) = size.filter(|says| *says != is) {
            return Err(of_other_size(&digest, is, says, by.as_ref()));
        }
        let Described { manifests, blobs } = Described::of(&manifest.bytes);
        let mut lengths = Vec::new();
        for blob in &blobs {
            let Some(is) = self.admin.blob_bytes(&blob.digest).await? else {
                return Err(missing(&blob.digest, Some(&digest)));
            };
            if let Some(says) = blob.size.filter(|says| *says != is) {
                return Err(of_other_size(&blob.digest, is, says, Some(&digest)));
            }
            lengths.push(is);
        }
        let mut is_complete = manifests.is_empty();
        for child in manifests {
            let left_out = child.digest.clone();
            let child = NamedManifest { digest: child.digest, size: child.size, by: Some(digest.clone()) };
            match self.manifest(child, depth + 1).await {
                Ok(()) => is_complete = true,
                // An index may do without the images of some platforms.
                Err(AdoptError::Missing(why)) => self.adopted.left_out.push((left_out, why.to_string())),
                Err(error) => return Err(error),
            }
        }
        if !is_complete {
            return Err(AdoptError::Missing(refusal(Some(&digest), BundleFault::Incomplete)));
        }
        let blobs: Vec<Digest> = blobs.into_iter().map(|blob| blob.digest).collect();
        if self.mode == AdoptMode::Write {
            self.write(manifest, &blobs).await?;
        }
        self.adopted.bytes = self.adopted.bytes.saturating_add(is);
        self.adopted.manifests.push(digest);
        for (blob, length) in blobs.into_iter().zip(lengths) {
            if self.blobs.insert(blob.clone()) {
                self.adopted.bytes = self.adopted.bytes.saturating_add(length);
                self.adopted.blobs.push(blob);
            }
        }
        Ok(())
    }

    /// Writes a manifest, after the records of what it names.
    async fn write(&self, manifest: StoredManifest, blobs: &[Digest]) -> Result<(), StoreError> {
        let Self { admin, provenance, .. } = self;
        stream::iter(blobs.iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |blob| admin.given(provenance, blob))
            .await?;
        admin.put(&Key::manifest(&manifest.digest), manifest.to_record()).await?;
        admin.given(provenance, &manifest.digest).await?;
        if let Some(LiveServer { cache, .. }) = &admin.live {
            cache.metadata.keep_manifest(provenance, &Arc::new(manifest), None);
        }
        Ok(())
    }
}

/// At the entry of this manifest or blob, or at `index.json`.
fn refusal(entry: Option<&Digest>, fault: BundleFault) -> BundleRefusal {
    BundleRefusal::new(entry.map_or_else(|| INDEX_FILE.to_owned(), blob_path).as_bytes(), fault)
}

fn missing(digest: &Digest, named_by: Option<&Digest>) -> AdoptError {
    AdoptError::Missing(refusal(named_by, BundleFault::Missing(digest.to_string())))
}

fn of_other_size(digest: &Digest, is: u64, says: u64, named_by: Option<&Digest>) -> AdoptError {
    let names = named_by.map_or_else(|| INDEX_FILE.to_owned(), blob_path);
    AdoptError::Refused(refusal(Some(digest), BundleFault::Size { is, says, names }))
}
