//! A store in a directory: a key is a path below it, encoded so that its case survives.
//!
//! Writes are atomic for every process that shares the directory: bytes go to a file in `v1/tmp`, which is synced and renamed;
//! then the directory is synced. What nobody would miss after a failure of power is not synced (`durability`). Only the owner may read
//! files and directories, as they hold content of private registries.

mod access_times;
mod durability;
mod errors;
mod leases;
mod path_encoding;
mod read;
mod root;
mod temp_file;
#[cfg(test)]
mod tests;
mod walk;

use std::any::Any;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::{
    Draft, Entry, Found, Part, Precondition, Stat, Store, StoreCapabilities, StoreError, Swept, Validator,
};
use rustix::io::Errno;

use self::access_times::AccessTimes;
use self::durability::Durability;
use self::errors::{is_full, store_error};
use self::leases::Leases;
use self::path_encoding::PathEncoding;
use self::read::Reader;
pub(crate) use self::read::{FileSlice, READ_BYTES, Residency};
pub(crate) use self::root::available;
use self::root::{Owner, Root, TEMP, absent_as_none};
use self::temp_file::{TempFile, reserve};
use crate::store::disk::{self, WorkKind};

/// Time limit of everything but a commit.
const IO_TIMEOUT: Duration = Duration::from_mins(1);
/// Time limit of a commit, which may sync gigabytes to a slow disk.
const COMMIT_TIMEOUT: Duration = Duration::from_mins(10);
/// A store in a directory.
pub(crate) struct FileStore {
    root: Arc<Root>,
    used: Arc<AccessTimes>,
    leases: Arc<Leases>,
}

impl FileStore {
    /// Opens the directory, and creates it if it is missing. Fails if it cannot be written.
    pub(crate) fn open(path: &Path, min_free: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut root = Root {
            path: path.to_owned(),
            min_free,
            path_encoding: PathEncoding::Plain,
            residency: Residency::Unknown,
            owner: Owner::of_others(path)?,
        };
        root.make_dirs(Path::new(TEMP), Durability::Synced)?;
        root.path_encoding = PathEncoding::probe(&root.path.join(TEMP))?;
        let probe = TempFile::new(&root)?;
        probe.file.write_all_at(b"x", 0).or_else(|error| {
            // A full disk is no reason to fail: it may have room later.
            if is_full(&error) { Ok(()) } else { Err(error) }
        })?;
        root.residency = Residency::of(&probe.file);
        drop(probe);
        Ok(Self { root: Arc::new(root), used: Arc::default(), leases: Arc::default() })
    }

    /// Runs work with the directory on a disk thread.
    async fn with_root<T: Send + 'static>(
        &self,
        kind: WorkKind,
        work: impl FnOnce(&Arc<Root>) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = Arc::clone(&self.root);
        off_thread(kind, IO_TIMEOUT, move || work(&root)).await
    }
}

#[async_trait]
impl Store for FileStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities { is_shared: true, ..StoreCapabilities::default() }
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let path = self.root.path_of(key);
        off_thread(WorkKind::Other, IO_TIMEOUT, move || {
            let Some(mut file) = absent_as_none(open_unnoticed(&path))? else { return Ok(None) };
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(Some(Bytes::from(bytes)))
        })
        .await
        .map_err(StoreError::of_reading)
    }

    async fn write(&self, key: &Key, value: Bytes, precondition: Precondition) -> Result<bool, StoreError> {
        let (key, leases) = (key.clone(), Arc::clone(&self.leases));
        self.with_root(WorkKind::Record, move |root| {
            if leases::is_lease(&key) {
                return leases.write(root, &key, &value, precondition);
            }
            if precondition == Precondition::Absent && root.path_of(&key).try_exists()? {
                return Ok(false);
            }
            let temp = TempFile::new(root)?;
            temp.write(&value)?;
            temp.place(root, &key, precondition)
        })
        .await
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.used.forget(key);
        let (key, leases) = (key.clone(), Arc::clone(&self.leases));
        self.with_root(WorkKind::Other, move |root| {
            if leases::is_lease(&key) {
                return leases.remove(root, &key);
            }
            absent_as_none(std::fs::remove_file(root.path_of(&key))).map(|_| ())
        })
        .await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        let path = self.root.path_of(key);
        off_thread(WorkKind::Other, IO_TIMEOUT, move || {
            Ok(absent_as_none(std::fs::metadata(path))?.and_then(|found| stat(&found)))
        })
        .await
        .map_err(StoreError::of_reading)
    }

    async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        let (path, residency) = (self.root.path_of(key), self.root.residency);
        off_thread(WorkKind::Other, IO_TIMEOUT, move || {
            let Some(file) = absent_as_none(open_unnoticed(&path))? else { return Ok(None) };
            let Some(stat) = stat(&file.metadata()?) else { return Ok(None) };
            let part = part.unwrap_or(Part { first: 0, end: stat.length });
            let body = Reader::body(file, residency, part.first, part.end.min(stat.length))?;
            Ok(Some(Found { stat, body }))
        })
        .await
        .map_err(StoreError::of_reading)
    }

    async fn draft(&self, key: &Key, length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        let key = key.clone();
        let draft =
            self.with_root(WorkKind::Piece, move |root| FileDraft::begin(Arc::clone(root), key, length)).await?;
        Ok(Arc::new(draft))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, StoreError>> {
        walk::list(Arc::clone(&self.root), Arc::clone(&self.used), prefix.to_owned())
    }

    fn used(&self, key: &Key) {
        self.used.now(&self.root, key);
    }

    async fn free(&self) -> Result<Option<u64>, StoreError> {
        self.with_root(WorkKind::Other, |root| root.free().map(Some)).await
    }

    async fn sweep(&self, age: Duration) -> Result<Swept, StoreError> {
        self.with_root(WorkKind::Other, move |root| walk::sweep(root, age)).await
    }
}

/// A blob that is being written to a temporary file.
struct FileDraft {
    root: Arc<Root>,
    key: Key,
    temp: Arc<TempFile>,
    /// Bytes reserved on the disk at the start.
    reserved: u64,
}

impl FileDraft {
    fn begin(root: Arc<Root>, key: Key, length: Option<u64>) -> io::Result<Self> {
        let reserved = length.unwrap_or(0);
        root.want(reserved)?;
        let temp = Arc::new(TempFile::new(&root)?);
        reserve(&temp.file, reserved)?;
        Ok(Self { root, key, temp, reserved })
    }
}

#[async_trait]
impl Draft for FileDraft {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
        let (root, temp, reserved) = (Arc::clone(&self.root), Arc::clone(&self.temp), self.reserved);
        off_thread(WorkKind::Piece, IO_TIMEOUT, move || {
            let length = bytes.len() as u64;
            if offset.saturating_add(length) > reserved {
                root.want(length)?;
            }
            temp.file.write_all_at(&bytes, offset)
        })
        .await
    }

    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        if let Some(bytes) = read::read_resident(&self.temp.file, self.root.residency, offset, most) {
            return Ok(bytes);
        }
        let temp = Arc::clone(&self.temp);
        off_thread(WorkKind::Other, IO_TIMEOUT, move || {
            let bytes = read::piece(&temp.file, offset, most)?;
            if bytes.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
        })
        .await
    }

    fn handle_of(&self, part: Part) -> Option<Box<dyn Any + Send>> {
        let file = Arc::clone(&self.temp.file);
        Some(Box::new(FileSlice::new(file, self.root.residency, part.first, part.end)))
    }

    async fn commit(&self, length: u64) -> Result<(), StoreError> {
        let (root, temp, key) = (Arc::clone(&self.root), Arc::clone(&self.temp), self.key.clone());
        let is_longer = self.reserved > length;
        off_thread(WorkKind::Commit, COMMIT_TIMEOUT, move || {
            let written = temp.file.metadata()?.len();
            if written != length {
                return Err(io::Error::other(format!("{written} bytes were written, and {length} promised")));
            }
            if is_longer {
                // Release what was reserved beyond the end.
                temp.file.set_len(length)?;
            }
            temp.place(&root, &key, Precondition::Always).map(|_| ())
        })
        .await
    }
}

/// Opens a file so that reading it does not change its access time, which says when a client last used it: a scan of the
/// cache is no use.
#[cfg(target_os = "linux")]
fn open_unnoticed(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    match open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOATIME, Mode::empty()) {
        // Another user's file: only its owner may use O_NOATIME.
        Err(Errno::PERM) => File::open(path),
        done => Ok(done?.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_unnoticed(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Length and validator of a file; `None`: it is no regular file, so not ours.
///
/// The validator leaves out the change time: updating the access time changes it, though the bytes stay the same.
fn stat(found: &std::fs::Metadata) -> Option<Stat> {
    let validator = || format!("{:x}-{:x}-{:x}.{:x}", found.ino(), found.len(), found.mtime(), found.mtime_nsec());
    found.is_file().then(|| Stat { length: found.len(), validator: Validator(validator().into()) })
}

/// Runs work on a disk thread, with a time limit. Started work continues after the caller has given up.
async fn off_thread<T: Send + 'static>(
    kind: WorkKind,
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, disk::run_one_of(kind, work)).await {
        Ok(Ok(done)) => done.map_err(store_error),
        Ok(Err(panicked)) => Err(StoreError::failed(panicked)),
        Err(_) => Err(StoreError::TimedOut),
    }
}
