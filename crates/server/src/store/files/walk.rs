//! Lists the files of a store, and sweeps what is left over.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::BoxStream;
use registry_proxy_core::cache::{BLOBS, Key, MANIFESTS};
use registry_proxy_core::platform::{Entry, StoreError, Swept};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::access_times::AccessTimes;
use super::errors::store_error;
use super::root::{Root, TEMP, absent_as_none};

/// Entries found ahead of the reader.
const AHEAD: usize = 256;
/// Unit of `st_blocks`, whatever the file system's block size (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// Our files below a prefix. Skips temporary and foreign files, and files that vanish meanwhile.
pub(super) fn list(
    root: Arc<Root>,
    used: Arc<AccessTimes>,
    prefix: String,
) -> BoxStream<'static, Result<Entry, StoreError>> {
    let (found, entries) = mpsc::channel(AHEAD);
    let start = Some((found, root, used, prefix));
    // The walk starts with the first request for an entry, and stops when the stream is dropped.
    let stream = futures_util::stream::unfold((start, entries), |(start, mut entries)| async move {
        if let Some((found, root, used, prefix)) = start {
            spawn_blocking(move || {
                let _ = walk(&root, "", &prefix, &mut |key, metadata| {
                    let noted = u64::try_from(metadata.atime()).unwrap_or(0);
                    let used = noted.max(used.last(&key));
                    let (size, taken) = (metadata.len(), taken(&key, metadata));
                    found.blocking_send(Ok(Entry { key, size, taken, used })).is_ok()
                })
                .inspect_err(|error| {
                    let error = io::Error::new(error.kind(), error.to_string());
                    let _ = found.blocking_send(Err(store_error(error)));
                });
            });
        }
        entries.recv().await.map(|entry| (entry, (None, entries)))
    });
    Box::pin(stream)
}

/// Bytes on the disk. Small records count whole blocks, which are much more than their length; for blobs the length is enough.
fn taken(key: &Key, metadata: &std::fs::Metadata) -> u64 {
    let is_content = [BLOBS, MANIFESTS].iter().any(|prefix| key.as_str().starts_with(prefix));
    if is_content { metadata.len() } else { metadata.len().max(metadata.blocks().saturating_mul(BLOCK_BYTES)) }
}

/// Calls `each` for every file until it returns false; returns whether it never did. `place`: a directory relative to the root.
fn walk(
    root: &Root,
    place: &str,
    prefix: &str,
    each: &mut dyn FnMut(Key, &std::fs::Metadata) -> bool,
) -> io::Result<bool> {
    let Some(entries) = absent_as_none(std::fs::read_dir(root.path.join(place)))? else { return Ok(true) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
        let Some(kind) = absent_as_none(entry.file_type())? else { continue };
        if kind.is_dir() {
            let below = format!("{path}/");
            let is_wanted = below.starts_with(prefix) || prefix.starts_with(&below);
            if is_wanted && path != TEMP && !walk(root, &path, prefix, each)? {
                return Ok(false);
            }
        } else if kind.is_file() && path.starts_with(prefix) {
            let Some(key) = root.path_encoding.key_of(&path) else { continue };
            let Some(metadata) = absent_as_none(entry.metadata())? else { continue };
            if !each(key, &metadata) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Removes old temporary files that no process has open, and directories that have been empty as long.
pub(super) fn sweep(root: &Root, age: Duration) -> io::Result<Swept> {
    let mut swept = Swept::default();
    for entry in absent_as_none(std::fs::read_dir(root.path.join(TEMP)))?.into_iter().flatten() {
        let path = entry?.path();
        let Some(file) = absent_as_none(File::open(&path))? else { continue };
        let metadata = file.metadata()?;
        if !metadata.is_file() || !is_old(&metadata, age) {
            continue;
        }
        // Hold the lock until the file is removed: a process that just created it notices and creates another.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            continue;
        }
        if absent_as_none(std::fs::remove_file(&path))?.is_some() {
            swept.count += 1;
            swept.bytes += metadata.len();
        }
    }
    for entry in absent_as_none(std::fs::read_dir(root.path.join("v1")))?.into_iter().flatten() {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() && path != root.path.join(TEMP) {
            remove_empty(&path, age)?;
        }
    }
    Ok(swept)
}

/// Removes empty directories below this one, and then the directory itself if it is empty. Writers create it again.
fn remove_empty(directory: &Path, age: Duration) -> io::Result<()> {
    let Some(metadata) = absent_as_none(std::fs::symlink_metadata(directory))? else { return Ok(()) };
    let was_old = is_old(&metadata, age);
    let mut is_empty = true;
    for entry in absent_as_none(std::fs::read_dir(directory))?.into_iter().flatten() {
        let entry = entry?;
        is_empty = false;
        if absent_as_none(entry.file_type())?.is_some_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path(), age)?;
        }
    }
    if !is_empty || !was_old {
        return Ok(());
    }
    match std::fs::remove_dir(directory) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the last change is at least this long ago. A time in the future counts as now.
fn is_old(metadata: &std::fs::Metadata, age: Duration) -> bool {
    let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    SystemTime::now().duration_since(changed).unwrap_or_default() >= age
}
