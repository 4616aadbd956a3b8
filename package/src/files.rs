//! Files on their way into an archive or a folder.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flate2::{Compression, GzBuilder};

use crate::error::Error;

/// The oldest time that a zip can say: 1980-01-01.
const OLDEST: u64 = 315_532_800;

/// A file with its name inside of an archive.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) mode: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    pub(crate) fn program(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.to_owned(), mode: 0o755, bytes: bytes.to_vec() }
    }

    pub(crate) fn text(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), mode: 0o644, bytes: bytes.into() }
    }
}

/// When everything was made: `SOURCE_DATE_EPOCH`, as reproducible-builds.org has it, or a fixed time.
pub(crate) fn time() -> Result<u64, Error> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| {
            Error::Usage(format!("SOURCE_DATE_EPOCH={text}: expected seconds since 1970, such as {OLDEST}"))
        }),
        _ => Ok(OLDEST),
    }
}

/// Adds a file to a tar, owned by `owner`.
pub(crate) fn add<W: std::io::Write>(
    tar: &mut tar::Builder<W>,
    entry: &Entry,
    kind: tar::EntryType,
    owner: u64,
) -> Result<(), Error> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(entry.mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(time()?);
    header.set_size(entry.bytes.len() as u64);
    tar.append_data(&mut header, &entry.name, &*entry.bytes).map_err(|error| Error::io(&entry.name, error))
}

/// `.gz`, without the name and the time that gzip would note.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|error| Error::io("gzip", error))
}

/// Writes a file, and the folders above it.
pub(crate) fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Error> {
    let wrong = |error| Error::io(path.display(), error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(wrong)?;
    }
    fs::write(path, bytes).map_err(wrong)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(wrong)
}

/// What stands in the deploy folder, in the order of the names: everything but what was packaged before.
pub(crate) fn folder(path: &Path) -> Result<Vec<Entry>, Error> {
    let wrong = |error| Error::io(path.display(), error);
    let mut entries = Vec::new();
    for found in fs::read_dir(path).map_err(wrong)? {
        let found = found.map_err(wrong)?;
        let metadata = found.metadata().map_err(wrong)?;
        let name = found.file_name().to_string_lossy().into_owned();
        // Hidden files are state that tools leave behind, such as Terraform's; some of it is secret.
        if metadata.is_file() && !name.starts_with('.') && !name.contains(".tfstate") && !name.ends_with(".tfvars")
        {
            let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
            let bytes = fs::read(found.path()).map_err(|error| Error::io(found.path().display(), error))?;
            entries.push(Entry { name, mode, bytes });
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}
