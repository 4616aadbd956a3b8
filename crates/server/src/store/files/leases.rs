//! Leases as locked files. A process keeps a lease's file open and locked while it holds the lease. The system releases the
//! lock when the process ends, so that another process can take the lease over before it expires.
//!
//! Earlier builds did not lock leases. Their files have another mode, and are valid until they expire.

use std::collections::HashMap;
use std::fs::{File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use registry_proxy_core::cache::{Key, Kind};
use registry_proxy_core::platform::Precondition;

use super::root::{Root, absent_as_none};
use super::temp_file::TempFile;

/// File mode of a lease that is locked.
const LOCKED: u32 = 0o400;

/// The leases that this process holds, one per blob it fetches.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<Key, TempFile>>);

pub(super) fn is_lease(key: &Key) -> bool {
    matches!(key.kind(), Some(Kind::Lease { .. }))
}

impl Leases {
    /// Writes a lease; returns whether it did. With [`Precondition::Absent`] it does so only if no live process holds it.
    pub(super) fn write(
        &self,
        root: &Root,
        key: &Key,
        value: &[u8],
        precondition: Precondition,
    ) -> io::Result<bool> {
        // Keep the orphan locked until its replacement is in place.
        let orphan = if precondition == Precondition::Absent { orphan(root, key)? } else { None };
        let precondition = if orphan.is_some() { Precondition::Always } else { precondition };
        if precondition == Precondition::Absent && root.path_of(key).try_exists()? {
            return Ok(false);
        }
        // A temporary file is locked while it is open.
        let lease = TempFile::new(root)?;
        lease.write(value)?;
        lease.file.set_permissions(Permissions::from_mode(LOCKED))?;
        let is_placed = lease.place(root, key, precondition)?;
        if is_placed {
            self.table().insert(key.clone(), lease);
        }
        Ok(is_placed)
    }

    /// Removes a lease: first the file, then the lock, so that a lease that another process took over is not removed. Call
    /// it on a disk thread.
    pub(super) fn remove(&self, root: &Root, key: &Key) -> io::Result<()> {
        let lease = self.table().remove(key);
        let path = root.path_of(key);
        if let Some(lease) = &lease
            && !is_at(&lease.file.metadata()?, &path)?
        {
            return Ok(());
        }
        absent_as_none(std::fs::remove_file(path))?;
        drop(lease);
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Key, TempFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lease of a process that has ended, locked so that only one process takes it over. `None`: there is none, or its process
/// may still run.
fn orphan(root: &Root, key: &Key) -> io::Result<Option<File>> {
    let path = root.path_of(key);
    let Some(file) = absent_as_none(File::open(&path))? else { return Ok(None) };
    let found = file.metadata()?;
    if found.mode() & 0o777 != LOCKED {
        return Ok(None);
    }
    match file.try_lock() {
        Ok(()) => {}
        // Another process holds it, or the file system has no locks.
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return Ok(None),
    }
    // Another process may have taken it over and released it since we opened the file.
    Ok(is_at(&found, &path)?.then_some(file))
}

/// Whether this path leads to this file.
fn is_at(file: &Metadata, path: &Path) -> io::Result<bool> {
    let there = absent_as_none(std::fs::metadata(path))?;
    Ok(there.is_some_and(|there| (there.dev(), there.ino()) == (file.dev(), file.ino())))
}
