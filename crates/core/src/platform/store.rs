//! The store behind the cache. It holds blobs, which are streamed, and records, small values that are read and written
//! whole. One contract for a disk, an object store and memory; one test suite checks each of them (`testing::contract`).

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use url::Url;

use super::keys::Key;
use crate::body::Body;
use crate::digest::Digest;

/// A store of blobs and records, by key.
///
/// A value is visible whole or not at all, to every process that shares the store.
#[async_trait]
pub trait Store: Send + Sync {
    /// The optional operations that it supports. Any other returns an error.
    fn capabilities(&self) -> StoreCapabilities;

    /// A record; `None`: there is none.
    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError>;

    /// Writes a record, and returns whether it did: with [`Precondition::Absent`] only where nothing is.
    async fn write(&self, key: &Key, value: Bytes, precondition: Precondition) -> Result<bool, StoreError>;

    /// Removes a record or a blob; succeeds also where there is none. Readers that have opened it can read on.
    async fn remove(&self, key: &Key) -> Result<(), StoreError>;

    /// A blob's length and validator, without its bytes.
    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError>;

    /// A blob, or its bytes from `first` up to `end`, as far as it has so many.
    async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError>;

    /// Begins a blob that nobody sees until it is committed. `length` in bytes, where it is known: room is then
    /// asked for at once, and [`StoreError::Full`] comes before the first byte.
    async fn draft(&self, key: &Key, length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError>;

    /// Begins a blob that goes to the store part by part, with nothing kept on this machine.
    async fn upload(&self, _key: &Key) -> Result<Box<dyn Upload>, StoreError> {
        Err(StoreError::failed("this store takes no uploads in parts"))
    }

    /// Goes on with one that was parked, perhaps by another process. `None`: what was parked is not there any more, and
    /// it takes a new beginning.
    async fn resume_upload(&self, _key: &Key, _parked: &str) -> Result<Option<Box<dyn Upload>>, StoreError> {
        Err(StoreError::failed("this store takes no uploads in parts"))
    }

    /// Takes a blob on its way to a client, and keeps a copy of what passes, if that turns out to have its digest: where
    /// the platform moves bytes that we never read (Workers). Gives the body back where it cannot.
    fn keep_passing(&self, _digest: &Digest, _length: u64, body: Body) -> Result<Passing, Body> {
        Err(body)
    }

    /// All entries whose keys begin with a prefix, in no order; with an empty prefix all entries.
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, StoreError>>;

    /// Marks a key as used just now, for the order of eviction. Cheap: called for hits that memory answers.
    fn used(&self, key: &Key);

    /// An address that gives a blob to whoever has it, until `life` is over.
    async fn link(&self, _key: &Key, _life: Duration) -> Result<Url, StoreError> {
        Err(StoreError::failed("this store has no links"))
    }

    /// Bytes that can still be written; `None`: there is no end to them, or none that is known.
    async fn free(&self) -> Result<Option<u64>, StoreError>;

    /// Removes what a crash left behind and nobody has touched for `age`: temporary files, unfinished uploads.
    async fn sweep(&self, age: Duration) -> Result<Swept, StoreError>;
}

/// Optional operations and properties of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct StoreCapabilities {
    /// It gives [links](Store::link).
    pub links: bool,
    /// It takes [uploads in parts](Store::upload).
    pub uploads: bool,
    /// A [draft](Store::draft) lies on this machine as a whole before any of it is where it belongs.
    pub stages_locally: bool,
    /// The store itself verified each blob's digest when it was written, and blobs cannot change: the cache does not
    /// verify them again.
    pub verifies: bool,
    /// The store lies on machines of others: a successful commit says that the bytes arrived, not that they read back the
    /// same. The cache verifies a blob when all of it is first read.
    pub reads_back: bool,
    /// Other processes may share it: leases decide which process fetches a blob.
    pub is_shared: bool,
}

/// A blob that is arriving: written and read at any offset, and invisible until it is committed. Dropped before, it
/// leaves nothing, or litter for the sweep.
#[async_trait]
pub trait Draft: Send + Sync {
    /// Writes at an offset, in bytes.
    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), StoreError>;

    /// Reads what was written: at least one byte and at most `most`. Works after a commit, too. Reading where nothing
    /// was written is the caller's mistake: whatever comes is not what anybody sent.
    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes, StoreError>;

    /// What the platform knows some bytes by that were written, if it can send them without anybody reading them. Works
    /// after a commit, too.
    fn handle_of(&self, _part: Part) -> Option<Box<dyn Any + Send>> {
        None
    }

    /// Makes it visible under its key, durably. The caller has verified it, and its bytes are `length` in all.
    async fn commit(&self, length: u64) -> Result<(), StoreError>;
}

/// How long a part of an upload, or its commit, may take. A store has deadlines of its own below this, with its repetitions:
/// where this one ends the wait, the store counts as one that does not answer, and rests.
pub const UPLOAD_DEADLINE: Duration = Duration::from_mins(30);

/// A blob on its way to the store in parts, in order. Nobody sees it until it is committed. Dropped, it is neither there
/// nor gone: what was parked goes on later, the rest is litter for the sweep or for the bucket's own rules.
#[async_trait]
pub trait Upload: Send + Sync {
    /// Bytes of every part but the last, a multiple of 64.
    fn part_bytes(&self) -> usize;

    /// Sends the next part; when this returns, the store has it.
    async fn part(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// What it takes to go on after the parts sent so far: one line of text without secrets, at most a few hundred bytes
    /// and a few dozen more for each part.
    fn park(&self) -> String;

    /// Makes it visible under its key, durably. The caller has verified it. Where the store says no for good, its parts
    /// are gone; where it does not answer, or not yet, what was parked goes on later.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;

    /// Takes it all back.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// A blob on its way to a client, of which a copy goes into the store.
pub struct Passing {
    /// What the client reads, at the pace of the slower of the two. Its end is withheld until the store has said what the
    /// bytes are; where the store fails it goes on alone.
    pub body: Body,
    /// Ends when the copy is there, or is known not to come. Runs on where the client leaves.
    pub kept: BoxFuture<'static, Result<CopyOutcome, StoreError>>,
}

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyOutcome {
    /// It is there.
    Whole,
    /// The bytes do not have the digest.
    OtherDigest,
    /// The bytes ended before their time.
    Short,
}

/// The condition under which a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// None: it replaces what is there.
    Always,
    /// There is no record under the key.
    Absent,
}

/// A part of a blob, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Offset of the first.
    pub first: u64,
    /// Offset behind the last.
    pub end: u64,
}

/// What is known of a stored blob without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its length in bytes.
    pub length: u64,
    /// Changes whenever the stored bytes may have: inode and times of change, or an entity tag.
    pub validator: Validator,
}

/// Distinguishes states of a stored blob, as an entity tag does (RFC 9110 section 8.8).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Validator(pub Box<str>);

/// A stored blob, opened.
pub struct Found {
    /// Length of the whole, in bytes, and its validator.
    pub stat: Stat,
    /// The bytes that were asked for.
    pub body: Body,
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Bytes below it.
    pub size: u64,
    /// Bytes that it takes: more where a store gives a small record a whole block.
    pub taken: u64,
    /// When it was last used, in seconds since 1970; as far as the store knows.
    pub used: u64,
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files or uploads.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room.
    #[error("the cache has no room left")]
    Full,
    /// It may not be written.
    #[error("the cache cannot be written")]
    Denied(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It may not be read. A bucket that may not be listed says so of what is not there, too.
    #[error("the cache cannot be read: access is denied")]
    ReadDenied(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody knows as whom it is to be asked.
    #[error("there are no credentials for the cache")]
    NoCredentials(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It did not answer in time.
    #[error("the cache did not answer in time")]
    TimedOut,
    /// Anything else.
    #[error("the cache failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// A few words for header, log and metrics.
    pub fn why(&self) -> &'static str {
        match self {
            Self::Full => "cache full",
            Self::Denied(_) => "cache not writable",
            Self::ReadDenied(_) => "cache not readable",
            Self::NoCredentials(_) => "no credentials",
            Self::TimedOut => "cache timed out",
            Self::Failed(_) => "cache failed",
        }
    }

    /// The same of what was to be read and not written.
    #[must_use]
    pub fn of_reading(self) -> Self {
        match self {
            Self::Denied(source) => Self::ReadDenied(source),
            other @ (Self::Full
            | Self::ReadDenied(_)
            | Self::NoCredentials(_)
            | Self::TimedOut
            | Self::Failed(_)) => other,
        }
    }

    /// Wraps what the platform said.
    pub fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}
