//! Temporary files, which get the name of their key.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::{Entropy as _, Precondition};

use super::durability::Durability;
use super::root::{Root, TEMP};
use crate::runtime::SystemEntropy;
use crate::store::disk;

/// A file in `v1/tmp`, locked while it is open so that no sweep removes it. It is removed on drop, unless it was placed.
pub(super) struct TempFile {
    pub(super) file: Arc<File>,
    path: PathBuf,
    is_placed: AtomicBool,
}

impl TempFile {
    pub(super) fn new(root: &Root) -> io::Result<Self> {
        loop {
            let mut name = [0; 16];
            SystemEntropy.fill(&mut name);
            let path = root.path.join(TEMP).join(format!("{:032x}", u128::from_ne_bytes(name)));
            let file = match create(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    root.make_dirs(Path::new(TEMP), Durability::Synced)?;
                    create(&path)?
                }
                done => done?,
            };
            // If the file system has no locks, a sweep goes by age alone.
            if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || file.metadata()?.nlink() == 0 {
                // A sweep removed it before it was locked.
                continue;
            }
            let made = Self { file: Arc::new(file), path, is_placed: AtomicBool::new(false) };
            root.owner.map_or(Ok(()), |owner| owner.take(&made.path))?;
            return Ok(made);
        }
    }

    /// Writes all of a small file, by a handle of its own: when that is closed, a network file system shows the bytes to other
    /// machines, also where nothing is synced.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).open(&self.path)?.write_all(bytes)
    }

    /// Gives the file the name of its key, durably where the key asks for that; returns whether it did. The file stays open for
    /// reading.
    pub(super) fn place(&self, root: &Root, key: &Key, precondition: Precondition) -> io::Result<bool> {
        if self.is_placed.load(Ordering::Acquire) {
            return Err(io::Error::other("it has its name already"));
        }
        let durability = Durability::of(key);
        match durability {
            Durability::Synced => self.file.sync_all()?,
            Durability::Soon => {}
        }
        let is_placed = root.rename(&self.path, key, precondition, durability)?;
        self.is_placed.store(is_placed, Ordering::Release);
        Ok(is_placed)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if *self.is_placed.get_mut() {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            // If this fails, a sweep removes it.
            let _ = std::fs::remove_file(path);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(_) => drop(disk::run(remove)),
            Err(_) => remove(),
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Reserves space on the disk without changing the file's length.
#[cfg(target_os = "linux")]
pub(super) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes) {
        Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG)) => {
            Err(error.into())
        }
        // Not every file system can; writes may then fail later.
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it has something to say elsewhere")]
pub(super) fn reserve(_file: &File, _bytes: u64) -> io::Result<()> {
    Ok(())
}
