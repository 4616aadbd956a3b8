//! Where a bundle is read: an archive, or a directory with the same files.

use std::fs::{self, File, FileType};
use std::io::{self, BufReader, IsTerminal as _, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use registry_proxy_core::bundle::{BundleEntry, BundleFault, BundleRefusal, EntryKind, INDEX_FILE, LAYOUT_FILE};
use rustix::fs::{Mode, OFlags};

use super::archive::{Archive, ArchiveInput};

/// Bytes that are in memory at once.
const PIECE_BYTES: u64 = 256 << 10;
/// Most files of a directory that are looked at: one more than a bundle may have.
const MAX_FILES: usize = 100_001;

/// A bundle that is being read.
pub(super) enum BundleSource {
    Archive(Archive),
    Directory(LayoutDirectory),
}

impl BundleSource {
    /// Opens a file or a directory; `-`: standard input. And how many bytes it has, where that is known.
    pub(super) fn open(place: &str) -> Result<(Self, Option<u64>), String> {
        if place == "-" && io::stdin().is_terminal() {
            return Err("standard input is a terminal, and no bundle: registry-proxy cache import - < bundle.tar"
                .to_owned());
        }
        if place == "-" {
            return Ok((Self::Archive(Archive::new(ArchiveInput::Pipe(Box::new(io::stdin())))), None));
        }
        let wrong = |error: io::Error| format!("{place}: {error}");
        let found = fs::metadata(place).map_err(wrong)?;
        if found.is_dir() {
            let directory = LayoutDirectory::open(Path::new(place)).map_err(wrong)?;
            return Ok((Self::Directory(directory), None));
        }
        let file = File::open(place).map_err(wrong)?;
        // Only of a file can bytes be passed over.
        let input = if found.is_file() {
            ArchiveInput::File(Box::new(BufReader::new(file)))
        } else {
            ArchiveInput::Pipe(Box::new(file))
        };
        Ok((Self::Archive(Archive::new(input)), found.is_file().then_some(found.len())))
    }

    /// The next entry; `None`: the end.
    pub(super) fn next(&mut self) -> Result<Option<BundleEntry>, String> {
        match self {
            Self::Archive(archive) => archive.next(),
            Self::Directory(directory) => directory.next(),
        }
    }

    /// The next bytes of the entry; `None`: its end.
    pub(super) fn piece(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Self::Archive(archive) => archive.piece(),
            Self::Directory(directory) => directory.piece(),
        }
    }

    /// All bytes of an entry, which is known to be short.
    pub(super) fn all(&mut self) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece()? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Bytes that have been read, or passed over.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Archive(archive) => archive.position,
            Self::Directory(directory) => directory.position,
        }
    }
}

/// A layout in a directory. Only files with the names of a layout are looked at, and no link is followed.
pub(super) struct LayoutDirectory {
    root: PathBuf,
    names: std::vec::IntoIter<PathBuf>,
    /// The file that is being read, its name, and how many bytes of it are left.
    file: Option<(File, Vec<u8>, u64)>,
    position: u64,
}

impl LayoutDirectory {
    fn open(root: &Path) -> io::Result<Self> {
        let mut names: Vec<PathBuf> =
            [LAYOUT_FILE, INDEX_FILE, "manifest.json", "blobs"].map(PathBuf::from).into();
        names.retain(|name| fs::symlink_metadata(root.join(name)).is_ok());
        // `blobs/<algorithm>/<encoded>`
        let mut level = vec![PathBuf::from("blobs")];
        for _ in 0..2 {
            let mut below = Vec::new();
            for directory in level {
                if !fs::symlink_metadata(root.join(&directory)).is_ok_and(|found| found.is_dir()) {
                    continue;
                }
                for entry in fs::read_dir(root.join(&directory))?.take(MAX_FILES) {
                    below.push(directory.join(entry?.file_name()));
                }
            }
            below.truncate(MAX_FILES);
            names.extend(below.iter().cloned());
            level = below;
        }
        Ok(Self { root: root.to_owned(), names: names.into_iter(), file: None, position: 0 })
    }

    fn next(&mut self) -> Result<Option<BundleEntry>, String> {
        self.file = None;
        let Some(name) = self.names.next() else { return Ok(None) };
        let path = self.root.join(&name);
        let wrong = |error: io::Error| format!("{}: {error}", path.display());
        let name = name.into_os_string().into_encoded_bytes();
        let found = fs::symlink_metadata(&path).map_err(wrong)?;
        let kind = kind_of(found.file_type());
        let mut size = 0;
        if kind == EntryKind::File {
            let opened =
                rustix::fs::open(&path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
            let file = File::from(opened.map_err(|error| wrong(error.into()))?);
            size = file.metadata().map_err(wrong)?.len();
            self.file = Some((file, name.clone(), size));
        }
        Ok(Some(BundleEntry { name, kind, size }))
    }

    fn piece(&mut self) -> Result<Option<Bytes>, String> {
        let Some((file, name, left)) = &mut self.file else { return Ok(None) };
        if *left == 0 {
            return Ok(None);
        }
        let mut piece = Vec::new();
        let read = file.take((*left).min(PIECE_BYTES)).read_to_end(&mut piece);
        read.map_err(|error| format!("{}: {error}", name.escape_ascii()))?;
        if piece.is_empty() {
            return Err(BundleRefusal::new(name, BundleFault::CutShort).to_string());
        }
        *left = left.saturating_sub(piece.len() as u64);
        self.position = self.position.saturating_add(piece.len() as u64);
        Ok(Some(piece.into()))
    }
}

fn kind_of(found: FileType) -> EntryKind {
    if found.is_file() {
        EntryKind::File
    } else if found.is_dir() {
        EntryKind::Directory
    } else if found.is_symlink() {
        EntryKind::Other("a symbolic link")
    } else if found.is_fifo() {
        EntryKind::Other("a named pipe")
    } else {
        EntryKind::Other("a device or a socket")
    }
}
