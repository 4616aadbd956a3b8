//! Files of clients below a root: read, written in one step, and put back as they were.
//!
//! Beside a file that was written lie two others: `….before-registry-proxy`, the file as it was, and
//! `….by-registry-proxy`, which says what was written, so that later changes of others are never lost.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use registry_proxy_core::digest::Digest;
use serde::{Deserialize, Serialize};

/// Larger files are no configuration of a client.
const MOST_BYTES: u64 = 1 << 20;
const BEFORE: &str = ".before-registry-proxy";
const RECORD: &str = ".by-registry-proxy";
const TEMPORARY: &str = ".writing-registry-proxy";

/// What plans may know of the files that exist.
pub(crate) trait ExistingFiles {
    /// The text as it is without us; `None`: there is no such file.
    fn read(&self, path: &str) -> Result<Option<String>, String>;
    /// The names in a directory, sorted; none if there is no such directory.
    fn list(&self, directory: &str) -> Vec<String>;
}

/// A directory that stands for `/`. No file outside it is read or written, also not through a symbolic link.
pub(crate) struct RootDirectory(PathBuf);

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Unchanged,
    /// There was none before.
    Created,
    /// The file as it was is kept here.
    Changed(PathBuf),
}

/// What `….by-registry-proxy` says.
#[derive(Serialize, Deserialize)]
struct WriteRecord {
    /// Of what was written.
    digest: String,
    /// Whether there was a file before.
    existed: bool,
    /// Directories made for it, outermost first.
    made: Vec<PathBuf>,
}

/// A file that was written, found again.
pub(crate) struct Undoable {
    file: PathBuf,
    record: WriteRecord,
}

impl RootDirectory {
    pub(crate) fn open(root: &Path) -> Result<Self, String> {
        let canonical = fs::canonicalize(root).map_err(|error| format!("--root {}: {error}", root.display()))?;
        Ok(Self(canonical))
    }

    /// Where a path leads, all links followed. It may not exist yet.
    fn locate(&self, path: &str) -> Result<PathBuf, String> {
        let wrong = |what: &dyn std::fmt::Display| format!("{path}: {what}");
        let full = self.0.join(path.trim_start_matches('/'));
        let mut missing = Vec::new();
        let mut existing = full.as_path();
        while let Err(error) = fs::symlink_metadata(existing) {
            if error.kind() != ErrorKind::NotFound {
                return Err(wrong(&error));
            }
            let (Some(name), Some(parent)) = (existing.file_name(), existing.parent()) else {
                return Err(wrong(&"names no file"));
            };
            missing.push(name);
            existing = parent;
        }
        let mut located = fs::canonicalize(existing)
            .map_err(|error| wrong(&format_args!("{} leads nowhere: {error}", existing.display())))?;
        if !located.starts_with(&self.0) {
            let to = located.display();
            return Err(wrong(&format_args!("a symbolic link leads to {to}, out of {}", self.0.display())));
        }
        located.extend(missing.iter().rev());
        Ok(located)
    }

    /// Writes a file with the mode and owner that it has; a new one gets `mode`.
    pub(crate) fn write(&self, path: &str, text: &str, mode: u32) -> Result<Written, String> {
        let file = self.locate(path)?;
        let failed = |error: io::Error| format!("{path}: cannot be written: {error}");
        let present = read_text(&file, path)?;
        if present.as_deref() == Some(text) {
            return Ok(Written::Unchanged);
        }
        let earlier = read_record(&file)?;
        let before = read_beside(&file, BEFORE)?;
        if let (Some(record), Some(text)) = (&earlier, &present)
            && record.digest != hash(text)
            // A write that broke off left the file as it was.
            && !(record.existed && present == before)
        {
            return Err(format!(
                "{path}: was changed after registry-proxy wrote it. Nothing is written. Make the change by hand, or \
                 delete {} to let the file as it is now be the one that --undo restores",
                beside(&file, RECORD).display()
            ));
        }
        if let (None, Some(before), Some(present)) = (&earlier, &before, &present)
            && before != present
        {
            return Err(format!(
                "{path}: {} is the file as it was before an earlier change of registry-proxy. Nothing is written. Compare \
                 the two by hand, then move that file elsewhere",
                beside(&file, BEFORE).display()
            ));
        }
        let record = match &earlier {
            // What was there before us stays what it is.
            Some(record) => WriteRecord { digest: hash(text), existed: record.existed, made: record.made.clone() },
            None => WriteRecord {
                digest: hash(text),
                existed: present.is_some(),
                made: make_parents(&file).map_err(failed)?,
            },
        };
        let existing = fs::metadata(&file).ok();
        // A file that was not there before has the mode that its new text needs.
        let mode = existing.as_ref().filter(|_| record.existed).map_or(mode, |existing| existing.mode() & 0o7777);
        if let (None, Some(before)) = (&earlier, &present) {
            replace(&beside(&file, BEFORE), before, existing.as_ref(), mode).map_err(failed)?;
        }
        write_record(&file, &record).map_err(failed)?;
        if let Err(error) = replace(&file, text, existing.as_ref(), mode) {
            // The file is as it was, and so is what is said of it.
            match &earlier {
                Some(earlier) => write_record(&file, earlier).map_err(failed)?,
                None => {
                    for ending in [RECORD, BEFORE] {
                        remove(&beside(&file, ending)).map_err(failed)?;
                    }
                }
            }
            return Err(failed(error));
        }
        Ok(if record.existed { Written::Changed(beside(&file, BEFORE)) } else { Written::Created })
    }

    /// What can be put back at this path; `None`: nothing was written there.
    pub(crate) fn undoable(&self, path: &str) -> Result<Option<Undoable>, String> {
        let file = self.locate(path)?;
        let Some(mut record) = read_record(&file)? else { return Ok(None) };
        // The record lies where others may write, too.
        record.made.retain(|directory| directory.starts_with(&self.0) && file.starts_with(directory));
        let present = read_text(&file, path)?;
        let before = read_beside(&file, BEFORE)?.filter(|_| record.existed);
        let is_ours = present.as_ref().is_some_and(|present| hash(present) == record.digest);
        if record.existed && before.is_none() {
            return Err(format!(
                "{path}: {} is gone, so that nothing can be put back",
                beside(&file, BEFORE).display()
            ));
        }
        // A write that broke off left the file as it was.
        if is_ours || present == before {
            return Ok(Some(Undoable { file, record }));
        }
        let by_hand = if record.existed {
            format!("compare it with {} by hand, then delete that file", beside(&file, BEFORE).display())
        } else {
            "there was none before: remove what registry-proxy added by hand".to_owned()
        };
        let record = beside(&file, RECORD);
        Err(format!("{path}: was changed after registry-proxy wrote it; {by_hand} and {}", record.display()))
    }
}

impl Undoable {
    /// Puts back what was there, and removes what we laid beside it.
    pub(crate) fn undo(self) -> Result<PathBuf, String> {
        let Self { file, record } = self;
        let failed = |error: io::Error| format!("{}: cannot be put back: {error}", file.display());
        if record.existed {
            // The backup has the mode and owner of the file.
            fs::rename(beside(&file, BEFORE), &file).map_err(failed)?;
        } else {
            remove(&file).map_err(failed)?;
        }
        remove(&beside(&file, RECORD)).map_err(failed)?;
        for directory in record.made.iter().rev() {
            // Others may have put files there.
            let _ = fs::remove_dir(directory);
        }
        Ok(file)
    }
}

impl ExistingFiles for RootDirectory {
    fn read(&self, path: &str) -> Result<Option<String>, String> {
        let file = self.locate(path)?;
        let present = read_text(&file, path)?;
        match (read_record(&file)?, &present) {
            (Some(record), Some(text)) if record.digest == hash(text) => {
                if record.existed {
                    read_beside(&file, BEFORE)
                } else {
                    Ok(None)
                }
            }
            _ => Ok(present),
        }
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = self.locate(directory).and_then(|path| fs::read_dir(path).map_err(|e| e.to_string()))
        else {
            return Vec::new();
        };
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

fn hash(text: &str) -> String {
    Digest::sha256(text.as_bytes()).to_string()
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn read_text(file: &Path, shown: &str) -> Result<Option<String>, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("{shown}: {what}");
    let metadata = match fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(|error| wrong(&error))?,
    };
    if !metadata.is_file() {
        return Err(wrong(&"is no file"));
    }
    let mut bytes = Vec::new();
    let opened = File::open(file).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    opened.map_err(|error| wrong(&error))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong(&"has more than 1 MiB, so it is no configuration"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| wrong(&"is not UTF-8"))
}

fn read_record(file: &Path) -> Result<Option<WriteRecord>, String> {
    let Some(text) = read_beside(file, RECORD)? else { return Ok(None) };
    let wrong = |error| format!("{}: {error}", beside(file, RECORD).display());
    serde_json::from_str(&text).map(Some).map_err(wrong)
}

fn write_record(file: &Path, record: &WriteRecord) -> io::Result<()> {
    let text = serde_json::to_string(record)? + "\n";
    replace(&beside(file, RECORD), &text, None, 0o644)
}

/// A file that registry-proxy laid beside another: a plain file, never a link to one elsewhere.
fn read_beside(file: &Path, ending: &str) -> Result<Option<String>, String> {
    let path = beside(file, ending);
    let shown = path.display().to_string();
    match fs::symlink_metadata(&path) {
        Ok(metadata) if !metadata.is_file() => Err(format!("{shown}: is no plain file")),
        Ok(_) | Err(_) => read_text(&path, &shown),
    }
}

/// Makes the directories for a file; those made, outermost first.
fn make_parents(file: &Path) -> io::Result<Vec<PathBuf>> {
    let missing: Vec<&Path> = file.ancestors().skip(1).take_while(|directory| !directory.exists()).collect();
    let made: Vec<PathBuf> = missing.into_iter().rev().map(Path::to_path_buf).collect();
    for directory in &made {
        fs::create_dir(directory)?;
    }
    Ok(made)
}

/// Writes a file beside the old one, with the owner of `like`, and renames it over it. Until its mode is set nobody else can
/// read it.
pub(crate) fn replace(file: &Path, text: &str, like: Option<&fs::Metadata>, mode: u32) -> io::Result<()> {
    let temporary = beside(file, TEMPORARY);
    remove(&temporary)?;
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let filled = (|| {
        new.write_all(text.as_bytes())?;
        if let Some(like) = like {
            let own = new.metadata()?;
            if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
                std::os::unix::fs::fchown(&new, Some(like.uid()), Some(like.gid()))?;
            }
        }
        new.set_permissions(Permissions::from_mode(mode))?;
        new.sync_all()?;
        fs::rename(&temporary, file)
    })();
    if filled.is_err() {
        let _ = remove(&temporary);
    }
    filled?;
    // The new file is in its place. Not every file system can sync a directory; without that, a crash may bring back the old
    // file, which is whole.
    if let Some(directory) = file.parent() {
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    Ok(())
}
