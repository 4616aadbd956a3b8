//! The directory itself: where keys lie in it, and how a file gets its name.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::Precondition;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::durability::Durability;
use super::path_encoding::PathEncoding;
use super::read::Residency;

/// Directory of temporary files.
pub(super) const TEMP: &str = "v1/tmp";
/// Attempts to rename a file while another process removes the empty target directory.
const TRIES: usize = 8;

/// The directory of a store.
pub(super) struct Root {
    pub(super) path: PathBuf,
    pub(super) min_free: u64,
    pub(super) path_encoding: PathEncoding,
    pub(super) residency: Residency,
    /// To whom belongs what is made here: the directory's owner, where root works in the directory of another user.
    pub(super) owner: Option<Owner>,
}

/// User and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// Of the directory, if we are root and it is not root's.
    pub(super) fn of_others(directory: &Path) -> io::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let found = std::fs::metadata(directory)?;
        Ok((found.uid() != 0).then(|| Self { user: found.uid(), group: found.gid() }))
    }

    /// Gives what was just made at this path.
    pub(super) fn take(self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::lchown(path, Some(self.user), Some(self.group))
    }
}

impl Root {
    pub(super) fn path_of(&self, key: &Key) -> PathBuf {
        self.path.join(&*self.path_encoding.path_of(key))
    }

    /// Bytes that may still be written.
    pub(super) fn free(&self) -> io::Result<u64> {
        Ok(available(&self.path)?.saturating_sub(self.min_free))
    }

    /// Fails if there is no room for this many bytes, or for any.
    pub(super) fn want(&self, bytes: u64) -> io::Result<()> {
        if self.free()? < bytes.max(1) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Creates directories below the root, but never the root itself, which may have been unmounted.
    pub(super) fn make_dirs(&self, below: &Path, durability: Durability) -> io::Result<()> {
        let mut path = self.path.clone();
        for part in below {
            let parent = path.clone();
            path.push(part);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    self.owner.map_or(Ok(()), |owner| owner.take(&path))?;
                    sync_dir(&parent, durability)?;
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Renames a file to its key's path; returns whether it did.
    pub(super) fn rename(
        &self,
        from: &Path,
        key: &Key,
        precondition: Precondition,
        durability: Durability,
    ) -> io::Result<bool> {
        let below = self.path_encoding.path_of(key);
        let to = self.path.join(&*below);
        let parent = Path::new(&*below).parent().unwrap_or(Path::new(""));
        for _ in 0..TRIES {
            let done = match precondition {
                Precondition::Always => std::fs::rename(from, &to),
                Precondition::Absent => rename_to_absent(from, &to),
            };
            match done {
                Ok(()) => return sync_dir(&self.path.join(parent), durability).map(|()| true),
                Err(error) if precondition == Precondition::Absent && error.kind() == ErrorKind::AlreadyExists => {
                    return Ok(false);
                }
                Err(error) if error.kind() == ErrorKind::NotFound && from.try_exists()? => {
                    self.make_dirs(parent, durability)?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::NotFound.into())
    }
}

/// Renames only if the target does not exist; on some file systems by a hard link.
fn rename_to_absent(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            std::fs::hard_link(from, to)?;
            // If this fails, a sweep removes the first name.
            let _ = std::fs::remove_file(from);
            Ok(())
        }
        done => Ok(done?),
    }
}

/// Free bytes of a disk: none if it has no inodes left. Some file systems do not report inodes.
pub(crate) fn available(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    if disk.f_files > 0 && disk.f_favail == 0 {
        return Ok(0);
    }
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn sync_dir(path: &Path, durability: Durability) -> io::Result<()> {
    match durability {
        Durability::Synced => {}
        Durability::Soon => return Ok(()),
    }
    match File::open(path)?.sync_all() {
        // Some network file systems cannot sync directories.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

pub(super) fn absent_as_none<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(found) => Ok(Some(found)),
        // A key that cannot be a path there does not exist there.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
