//! `verify`: compares all content with its digests.

use super::CacheAdmin;
use super::clear::key_of;
use super::command::{Event, Tell, Verified};
use super::inventory::Content;
use super::survey::Failed;
use crate::cache::{Key, StoredManifest};
use crate::digest::{Digest, Hasher};
use crate::platform::{Part, StoreError};
use crate::telemetry;

/// How often it is said how far a blob is read.
const TELL_EVERY: u64 = 16 << 20;

/// The result of comparing content with its digest.
#[derive(PartialEq, Eq)]
enum DigestCheck {
    Right,
    Wrong,
    /// It could not be read to its end: whether it is right nobody knows, and it stays.
    Unread,
    /// It is not there any more, or a new one is.
    Gone,
    /// Nobody here can compute its digest.
    Unknown,
}

impl CacheAdmin {
    pub(super) async fn verify(&self, tell: Tell<'_>) -> Result<Verified, StoreError> {
        let survey = self.survey().await?;
        let (total, mut done) = (survey.inventory.bytes(), 0);
        let mut verified = Verified::default();
        let mut failed = Failed::default();
        for item in survey.inventory.items() {
            let Some(digest) = item.digest.to_digest() else { continue };
            let Some(key) = key_of(item) else { continue };
            let found = match item.content {
                Content::Manifest => self.verify_manifest(&key, &digest).await,
                Content::Blob => {
                    let progress = |read| tell(Event::Progress(done + read, total));
                    self.verify_blob(&key, &digest, &progress).await
                }
            };
            let found = failed.pass_over(&key, found)?.unwrap_or(DigestCheck::Unread);
            done += item.size;
            tell(Event::Progress(done, total));
            match found {
                DigestCheck::Wrong => {
                    match &self.live {
                        Some(live) => live.cache.backend.corrupt(item.content.as_str(), &digest),
                        None => telemetry::corrupt(item.content.as_str()),
                    }
                    self.remove(&key).await?;
                    tell(Event::Wrong(key.to_string()));
                    verified.wrong += 1;
                }
                DigestCheck::Unread => {
                    tell(Event::Unread(key.to_string()));
                    verified.unread += 1;
                }
                DigestCheck::Unknown => verified.unknown += 1,
                DigestCheck::Right | DigestCheck::Gone => {}
            }
            match item.content {
                Content::Manifest => verified.manifests += 1,
                Content::Blob => {
                    verified.blobs += 1;
                    verified.bytes += item.size;
                }
            }
        }
        Ok(verified)
    }

    async fn verify_manifest(&self, key: &Key, digest: &Digest) -> Result<DigestCheck, StoreError> {
        Ok(match self.read(key).await? {
            None => DigestCheck::Gone,
            Some(record) if StoredManifest::from_record(digest, &record).is_some() => DigestCheck::Right,
            Some(_) => DigestCheck::Wrong,
        })
    }

    async fn verify_blob(
        &self,
        key: &Key,
        digest: &Digest,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<DigestCheck, StoreError> {
        let Some(mut hasher) = Hasher::new(digest) else { return Ok(DigestCheck::Unknown) };
        let Some(mut found) = self.in_time(self.store.open(key, None)).await? else {
            return Ok(DigestCheck::Gone);
        };
        let (mut read, mut told) = (0, 0);
        let mut broke_at = None;
        while let Some(piece) = self.in_time(async { Ok(found.body.chunk().await) }).await? {
            let Ok(piece) = piece else {
                // A disk may give it the next time. What a store elsewhere does not give twice from the same byte on is
                // not there, and is fetched again sooner than its clients are cut off there.
                if !self.store.capabilities().reads_back {
                    return Ok(DigestCheck::Unread);
                }
                if broke_at == Some(read) {
                    break;
                }
                broke_at = Some(read);
                let rest = Part { first: read, end: found.stat.length };
                // A store that does not answer this says nothing of the blob.
                match self.in_time(self.store.open(key, Some(rest))).await? {
                    Some(again) if again.stat.validator == found.stat.validator => found = again,
                    Some(_) | None => return Ok(DigestCheck::Gone),
                }
                continue;
            };
            hasher.update(&piece);
            read += piece.len() as u64;
            if read - told >= TELL_EVERY {
                told = read;
                progress(read);
            }
        }
        if read == found.stat.length && hasher.is(digest) {
            return Ok(DigestCheck::Right);
        }
        let now = self.in_time(self.store.stat(key)).await?;
        Ok(if now.is_some_and(|now| now.validator == found.stat.validator) {
            DigestCheck::Wrong
        } else {
            DigestCheck::Gone
        })
    }
}
