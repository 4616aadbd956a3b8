//! Files that have no name yet.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::{Entropy as _, When};

use super::{Root, TEMP, absent_as_none};
use crate::runtime::SystemEntropy;

/// Letters of a name.
const NAME_LENGTH: usize = 32;

/// A file in `v1/tmp`, locked while it is open so that no sweep takes it.
pub(super) struct Temp {
    pub(super) file: File,
    path: PathBuf,
    is_placed: AtomicBool,
    ending: Ending,
}

/// What becomes of a file that is closed before it got its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Removed,
    Stays,
}

impl Temp {
    /// One that is removed unless it got its name.
    pub(super) fn new(root: &Root) -> io::Result<Self> {
        Self::make(root, Ending::Removed)
    }

    /// One that stays for whoever knows its name, or for the sweep.
    pub(super) fn staying(root: &Root) -> io::Result<Self> {
        Self::make(root, Ending::Stays)
    }

    /// One that stayed; `None`: it is gone, or somebody has it open.
    pub(super) fn again(root: &Root, name: &str) -> io::Result<Option<Self>> {
        let is_ours =
            name.len() == NAME_LENGTH && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_ours {
            return Ok(None);
        }
        let path = root.path.join(TEMP).join(name);
        let is_file = absent_as_none(std::fs::symlink_metadata(&path))?.is_some_and(|found| found.is_file());
        if !is_file {
            return Ok(None);
        }
        let Some(file) = absent_as_none(OpenOptions::new().read(true).write(true).open(&path))? else {
            return Ok(None);
        };
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || file.metadata()?.nlink() == 0 {
            return Ok(None);
        }
        // Whoever had it open before may have given it its name.
        let is_here = absent_as_none(std::fs::metadata(&path))?
            .is_some_and(|found| file.metadata().is_ok_and(|open| open.ino() == found.ino()));
        Ok(is_here.then_some(Self { file, path, is_placed: AtomicBool::new(false), ending: Ending::Stays }))
    }

    fn make(root: &Root, ending: Ending) -> io::Result<Self> {
        loop {
            let mut name = [0; 16];
            SystemEntropy.fill(&mut name);
            let path = root.path.join(TEMP).join(format!("{:0NAME_LENGTH$x}", u128::from_ne_bytes(name)));
            let file = match create(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    root.make_dirs(Path::new(TEMP))?;
                    create(&path)?
                }
                done => done?,
            };
            // Without locks on this file system, a sweep goes by age alone.
            if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || file.metadata()?.nlink() == 0 {
                // A sweep came between.
                continue;
            }
            return Ok(Self { file, path, is_placed: AtomicBool::new(false), ending });
        }
    }

    /// The last part of its path.
    pub(super) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Removes it now.
    pub(super) fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    /// Makes it durable under its name, and returns whether it did. The open file goes on serving.
    pub(super) fn place(&self, root: &Root, key: &Key, when: When) -> io::Result<bool> {
        if self.is_placed.load(Ordering::Acquire) {
            return Err(io::Error::other("it has its name already"));
        }
        self.file.sync_all()?;
        let is_placed = root.rename(&self.path, key, when)?;
        self.is_placed.store(is_placed, Ordering::Release);
        Ok(is_placed)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if *self.is_placed.get_mut() || self.ending == Ending::Stays {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            // What cannot be removed now is left to the sweep.
            let _ = std::fs::remove_file(path);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}
