//! Small blobs in memory, beside manifests: the configuration of an image is asked for on every pull. Only verified bytes are
//! in here, and what the store removes, or is found damaged there, is dropped here, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Memory;

use crate::body::{Body, InFlight, SMALL_BYTES, TierHandle};
use crate::cache::metadata::ENTRY_BYTES;
use crate::cache::reported_use::ReportedUse;
use crate::digest::Digest;
use crate::headers::DigestHeaders;
use crate::platform::{Found, Part, Stat};

/// About the length of an image's configuration.
const USUAL_BYTES: u64 = 8 << 10;

/// A small blob in memory.
pub(crate) struct SmallBlob {
    /// Of the stored blob when it was read.
    pub(crate) stat: Stat,
    /// The headers of its digest.
    pub(crate) named: DigestHeaders,
    /// When the store was last told that it is used.
    pub(super) reported_use: ReportedUse,
    bytes: Bytes,
    /// Counts the bytes for clients that still use them once memory dropped the blob. Declared after the bytes, to be
    /// dropped after them.
    _tier: TierHandle,
}

impl SmallBlob {
    /// All of it, or a part.
    pub(crate) fn body(&self, part: Option<Part>) -> Body {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        Body::from(match part {
            None => self.bytes.clone(),
            Some(Part { first, end }) => self.bytes.slice(at(first).min(at(end))..at(end)),
        })
    }

    /// The same as the store gives it.
    pub(super) fn found(&self, part: Option<Part>) -> Found {
        Found { stat: self.stat.clone(), body: self.body(part) }
    }
}

#[derive(Clone)]
struct BlobBytes;

impl Weighter<Digest, Arc<SmallBlob>> for BlobBytes {
    fn weight(&self, _: &Digest, blob: &Arc<SmallBlob>) -> u64 {
        blob.stat.length + ENTRY_BYTES
    }
}

/// The memory tier of blobs.
pub(super) struct SmallBlobs {
    memory: Memory<Digest, Arc<SmallBlob>, BlobBytes>,
    /// Grows with each removal: what was read before one is not put in after it.
    generation: AtomicU64,
    in_flight: Arc<InFlight>,
}

impl SmallBlobs {
    /// Keeps about so many bytes.
    pub(super) fn new(in_flight: &Arc<InFlight>, bytes: u64) -> Self {
        let entries = usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX);
        Self {
            memory: Memory::with_weighter(entries, bytes, BlobBytes),
            generation: AtomicU64::new(0),
            in_flight: Arc::clone(in_flight),
        }
    }

    /// Whether a blob of this length belongs here.
    pub(super) fn takes(length: u64) -> bool {
        (1..=SMALL_BYTES).contains(&length)
    }

    /// A blob.
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<SmallBlob>> {
        self.memory.get(digest)
    }

    /// Grows with each removal.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Keeps verified bytes, unless something was removed since this generation; returns them in either case.
    pub(super) fn keep(&self, digest: &Digest, stat: Stat, bytes: Bytes, since: u64) -> Arc<SmallBlob> {
        let (handle, bytes) = TierHandle::new(bytes, &self.in_flight);
        let named = DigestHeaders::of(digest);
        let blob = Arc::new(SmallBlob { stat, named, reported_use: ReportedUse::default(), bytes, _tier: handle });
        self.memory.insert(digest.clone(), Arc::clone(&blob));
        // In this order: whoever removes it now finds it here.
        if self.generation() != since {
            self.memory.remove(digest);
        }
        blob
    }

    /// Drops a blob.
    pub(super) fn remove(&self, digest: &Digest) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.memory.remove(digest);
    }

    /// Drops all of them.
    pub(super) fn clear(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.memory.clear();
    }
}
