//! What a warming tells while it runs, and its sums. Pure.

use serde::{Deserialize, Serialize};

/// Missing parts of an image that are named; the others are counted.
const MAX_NAMED: usize = 50;

/// An event of a warming, in order; [`WarmEvent::End`] ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarmEvent {
    /// An image begins.
    Begin {
        /// Its place in the list, from 1.
        place: usize,
        /// How many there are.
        of: usize,
        /// As it was written.
        name: String,
    },
    /// A blob is on its way.
    Arriving {
        /// Of which image.
        place: usize,
        /// Which.
        digest: String,
        /// How much of it is here.
        bytes: u64,
        /// Its length.
        total: u64,
    },
    /// A part of an image is done with.
    Part(WarmedPart),
    /// A registry limits us, and is waited for.
    Waiting {
        /// For which image.
        place: usize,
        /// For how long.
        seconds: u64,
        /// What it says.
        why: String,
    },
    /// An image is done with.
    Image(WarmedImage),
    /// All are.
    End(WarmTotals),
}

/// Receives the events of a warming.
pub type WarmTell<'a> = &'a (dyn Fn(WarmEvent) + Send + Sync);

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartOutcome {
    /// It was here.
    Cached,
    /// It was fetched.
    Fetched,
    /// Somebody else was fetching it.
    Joined,
    /// It is not here.
    Missing,
}

/// A manifest or blob of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmedPart {
    /// Of which image.
    pub place: usize,
    /// Its digest, or the tag.
    pub what: String,
    /// `linux/arm64/v8`, where an index says so.
    pub platform: Option<String>,
    /// Whether it is a manifest; otherwise it is a configuration or a layer.
    pub is_manifest: bool,
    /// Its length, as far as it is known.
    pub bytes: Option<u64>,
    /// What became of it.
    pub outcome: PartOutcome,
}

/// What of an image is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingPart {
    /// A digest, a tag or a platform.
    pub what: String,
    /// A sentence.
    pub why: String,
    /// When to try again, where the registry says it.
    pub retry_after_seconds: Option<u64>,
}

/// What became of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmedImage {
    /// Its place in the list, from 1.
    pub place: usize,
    /// As it was written.
    pub name: String,
    /// Of its manifest or index.
    pub digest: Option<String>,
    /// Whether all that was wanted of it is in the store.
    pub is_complete: bool,
    /// Whether the registry could not confirm that the tag still points there.
    pub is_stale: bool,
    /// Configurations and layers that are here.
    pub blobs: u64,
    /// Those that were not here before.
    pub blobs_fetched: u64,
    /// Of all that was not here before.
    pub bytes_fetched: u64,
    /// Of all that was.
    pub bytes_cached: u64,
    /// What is not here.
    pub missing: Vec<MissingPart>,
    /// How many more are not, beyond those.
    pub missing_more: u64,
}

impl WarmedImage {
    /// Counts a part.
    pub(crate) fn add(&mut self, part: &WarmedPart) {
        let bytes = part.bytes.unwrap_or(0);
        let blobs = u64::from(!part.is_manifest);
        match part.outcome {
            PartOutcome::Cached => {
                self.bytes_cached = self.bytes_cached.saturating_add(bytes);
                self.blobs += blobs;
            }
            PartOutcome::Fetched | PartOutcome::Joined => {
                self.bytes_fetched = self.bytes_fetched.saturating_add(bytes);
                self.blobs += blobs;
                self.blobs_fetched += blobs;
            }
            PartOutcome::Missing => {}
        }
    }

    /// Notes what is not here.
    pub(crate) fn lacks(&mut self, part: MissingPart) {
        if self.missing.len() < MAX_NAMED {
            self.missing.push(part);
        } else {
            self.missing_more += 1;
        }
    }
}

/// The sums of a warming.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmTotals {
    /// Images that were wanted.
    pub images: u64,
    /// Those of which all is here.
    pub complete: u64,
    /// Configurations and layers that are here; one that several images have counts for each.
    pub blobs: u64,
    /// Those that were not here before.
    pub blobs_fetched: u64,
    /// Of all that was not here before.
    pub bytes_fetched: u64,
    /// Of all that was.
    pub bytes_cached: u64,
}

impl WarmTotals {
    pub(crate) fn add(&mut self, image: &WarmedImage) {
        self.images += 1;
        self.complete += u64::from(image.is_complete);
        self.blobs += image.blobs;
        self.blobs_fetched += image.blobs_fetched;
        self.bytes_fetched = self.bytes_fetched.saturating_add(image.bytes_fetched);
        self.bytes_cached = self.bytes_cached.saturating_add(image.bytes_cached);
    }
}
