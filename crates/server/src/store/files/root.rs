//! The directory itself: where keys lie in it, and how a file gets its name.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::Precondition;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::path_encoding::PathEncoding;
use super::read::Residency;

/// Where files lie before they have their name.
pub(super) const TEMP: &str = "v1/tmp";
/// How often a file is given its name while somebody removes the empty directory it goes to.
const TRIES: usize = 8;

/// The directory itself.
pub(super) struct Root {
    pub(super) path: PathBuf,
    pub(super) min_free: u64,
    pub(super) path_encoding: PathEncoding,
    pub(super) residency: Residency,
}

impl Root {
    pub(super) fn path_of(&self, key: &Key) -> PathBuf {
        self.path.join(&*self.path_encoding.path_of(key))
    }

    /// Bytes that may still be written: none where the disk can hold no more files. It does not always say how many.
    pub(super) fn free(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.path)?;
        if disk.f_files > 0 && disk.f_favail == 0 {
            return Ok(0);
        }
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(self.min_free))
    }

    /// Fails where there is no room for so many bytes, or for any.
    pub(super) fn want(&self, bytes: u64) -> io::Result<()> {
        if self.free()? < bytes.max(1) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Creates directories below the root, never the root itself: it may have been unmounted.
    pub(super) fn make_dirs(&self, below: &Path) -> io::Result<()> {
        let mut path = self.path.clone();
        for part in below {
            let parent = path.clone();
            path.push(part);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => sync_dir(&parent)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives a file its name, and returns whether it did.
    pub(super) fn rename(&self, from: &Path, key: &Key, precondition: Precondition) -> io::Result<bool> {
        let below = self.path_encoding.path_of(key);
        let to = self.path.join(&*below);
        let parent = Path::new(&*below).parent().unwrap_or(Path::new(""));
        for _ in 0..TRIES {
            let done = match precondition {
                Precondition::Always => std::fs::rename(from, &to),
                Precondition::Absent => rename_to_absent(from, &to),
            };
            match done {
                Ok(()) => return sync_dir(&self.path.join(parent)).map(|()| true),
                Err(error) if precondition == Precondition::Absent && error.kind() == ErrorKind::AlreadyExists => {
                    return Ok(false);
                }
                Err(error) if error.kind() == ErrorKind::NotFound && from.try_exists()? => {
                    self.make_dirs(parent)?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::NotFound.into())
    }
}

/// Renames where nothing is in the way; some file systems can only do it by a second name.
fn rename_to_absent(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            std::fs::hard_link(from, to)?;
            // Nobody misses the first name, and a sweep removes what stays.
            let _ = std::fs::remove_file(from);
            Ok(())
        }
        done => Ok(done?),
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some network file systems sync no directories.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

pub(super) fn absent_as_none<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(found) => Ok(Some(found)),
        // What has no name there cannot be there.
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
