//! Leases, and those of processes that are gone. A lease's file stays open and locked for as long as its process holds it:
//! the system lets the lock go when the process ends, however it ends, and the next who wants the lease takes it over and
//! need not wait until it expires.
//!
//! Earlier builds locked no leases. Theirs are told by their mode, and hold until they expire.

use std::collections::HashMap;
use std::fs::{File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use registry_proxy_core::cache::{Key, Kind};
use registry_proxy_core::platform::Precondition;

use super::root::{Root, absent_as_none};
use super::temp_file::TempFile;

/// The mode of a lease that is locked while its process lives.
const LOCKED: u32 = 0o400;

/// The leases that this process holds: as many as it fetches blobs.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<Key, TempFile>>);

pub(super) fn is_lease(key: &Key) -> bool {
    matches!(key.kind(), Some(Kind::Lease { .. }))
}

impl Leases {
    /// Writes a lease, and returns whether it did: with [`Precondition::Absent`] only where nobody who lives has one.
    pub(super) fn write(
        &self,
        root: &Root,
        key: &Key,
        value: &[u8],
        precondition: Precondition,
    ) -> io::Result<bool> {
        // Locked until this one is in its place.
        let orphan = if precondition == Precondition::Absent { orphan(root, key)? } else { None };
        let precondition = if orphan.is_some() { Precondition::Always } else { precondition };
        if precondition == Precondition::Absent && root.path_of(key).try_exists()? {
            return Ok(false);
        }
        // A file without a name is locked as long as it is open.
        let lease = TempFile::new(root)?;
        lease.file.write_all_at(value, 0)?;
        lease.file.set_permissions(Permissions::from_mode(LOCKED))?;
        let is_placed = lease.place(root, key, precondition)?;
        if is_placed {
            self.table().insert(key.clone(), lease);
        }
        Ok(is_placed)
    }

    /// It is over: its file goes first and the lock behind it, so that what goes is no other's who has taken it over. On a
    /// thread that may wait for a disk.
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

/// The lease of a process that is gone, locked so that no other takes it over at the same time; `None`: there is none, or
/// its process may live.
fn orphan(root: &Root, key: &Key) -> io::Result<Option<File>> {
    let path = root.path_of(key);
    let Some(file) = absent_as_none(File::open(&path))? else { return Ok(None) };
    let found = file.metadata()?;
    if found.mode() & 0o777 != LOCKED {
        return Ok(None);
    }
    match file.try_lock() {
        Ok(()) => {}
        // It is held; or there are no locks on this file system.
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return Ok(None),
    }
    // Another may have taken it over, and let its lock go, since it was opened.
    Ok(is_at(&found, &path)?.then_some(file))
}

/// Whether this file has this name.
fn is_at(file: &Metadata, path: &Path) -> io::Result<bool> {
    let there = absent_as_none(std::fs::metadata(path))?;
    Ok(there.is_some_and(|there| (there.dev(), there.ino()) == (file.dev(), file.ino())))
}
