//! The entries of a tar archive, one after the other, from a file or a pipe. The `tar` crate reads headers and extended
//! headers; what is done with them is decided here, because it would read an extended header into memory however long that
//! claims to be.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use bytes::Bytes;
use registry_proxy_core::bundle::{BundleEntry, BundleFault, BundleRefusal, EntryKind};
use tar::{EntryType, Header, PaxExtensions};

/// Bytes of a header, and what entries are padded to.
pub(super) const BLOCK: usize = 512;
/// Bytes that are in memory at once.
const PIECE_BYTES: u64 = 256 << 10;
/// Longest extended header, in bytes: a path and some times.
const MAX_EXTENDED: u64 = 64 << 10;

/// A file, in which bytes can be passed over.
pub(super) trait SeekableRead: Read + Seek + Send {}
impl<R: Read + Seek + Send> SeekableRead for R {}

/// Where an archive comes from.
pub(super) enum ArchiveInput {
    File(Box<dyn SeekableRead>),
    Pipe(Box<dyn Read + Send>),
}

/// An archive that is being read.
pub(super) struct Archive {
    input: ArchiveInput,
    /// Bytes behind which the archive is read.
    pub(super) position: u64,
    /// The entry that is being read, and how many bytes of it and of its padding are left.
    name: Vec<u8>,
    left: u64,
    padding: u64,
}

/// What extended headers say of the entry behind them.
#[derive(Default)]
struct ExtendedHeader {
    is_there: bool,
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Archive {
    pub(super) fn new(input: ArchiveInput) -> Self {
        Self { input, position: 0, name: Vec::new(), left: 0, padding: 0 }
    }

    /// The next entry; `None`: the archive's end mark.
    pub(super) fn next(&mut self) -> Result<Option<BundleEntry>, String> {
        self.skip()?;
        let mut extended = ExtendedHeader::default();
        loop {
            let block = self.block()?;
            if block.iter().all(|byte| *byte == 0) {
                return if extended.is_there {
                    self.refuse(BundleFault::Extended(MAX_EXTENDED))
                } else {
                    Ok(None)
                };
            }
            if self.position == BLOCK as u64
                && let Some(program) = compressed_by(&block)
            {
                return self.refuse(BundleFault::Compressed(program));
            }
            let header = Header::from_byte_slice(&block);
            self.name = extended.name.clone().unwrap_or_else(|| header.path_bytes().into_owned());
            let (Ok(size), true) = (header.entry_size(), has_checksum(header, &block)) else {
                return self.refuse(BundleFault::Header);
            };
            let kind = header.entry_type();
            if !matches!(
                kind,
                EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
            ) {
                return self.begin(kind, size, &extended).map(Some);
            }
            if size > MAX_EXTENDED {
                return self.refuse(BundleFault::Extended(MAX_EXTENDED));
            }
            (self.left, self.padding) = (size, padding(size));
            let bytes = self.rest()?;
            self.skip()?;
            extended.is_there |= kind != EntryType::XGlobalHeader;
            let taken = match kind {
                EntryType::GNULongName => extended.long_name(&bytes),
                // The entry is a link then, and refused for that.
                EntryType::GNULongLink => Ok(()),
                _ => extended.records(&bytes, kind == EntryType::XGlobalHeader),
            };
            if let Err(fault) = taken {
                return self.refuse(fault);
            }
        }
    }

    fn begin(&mut self, kind: EntryType, header: u64, extended: &ExtendedHeader) -> Result<BundleEntry, String> {
        let size = match extended.size {
            Some(extended) if header != 0 && header != extended => {
                return self.refuse(BundleFault::TwoSizes { header, extended });
            }
            Some(extended) => extended,
            None => header,
        };
        let kind = match kind {
            // As tars before 1988 have directories.
            EntryType::Regular if self.name.ends_with(b"/") => EntryKind::Directory,
            EntryType::Regular => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::GNUSparse => return self.refuse(BundleFault::Sparse),
            EntryType::Link => EntryKind::Other("a hard link"),
            EntryType::Symlink => EntryKind::Other("a symbolic link"),
            EntryType::Char => EntryKind::Other("a character device"),
            EntryType::Block => EntryKind::Other("a block device"),
            EntryType::Fifo => EntryKind::Other("a named pipe"),
            EntryType::Continuous => EntryKind::Other("a contiguous file"),
            _ => EntryKind::Other("of an unknown kind"),
        };
        (self.left, self.padding) = (size, padding(size));
        Ok(BundleEntry { name: self.name.clone(), kind, size })
    }

    /// The next bytes of the entry; `None`: its end.
    pub(super) fn piece(&mut self) -> Result<Option<Bytes>, String> {
        let most = usize::try_from(self.left.min(PIECE_BYTES)).unwrap_or(0);
        if most == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; most];
        let count = self.read(&mut piece)?;
        if count == 0 {
            return self.refuse(BundleFault::CutShort);
        }
        piece.truncate(count);
        self.left -= count as u64;
        Ok(Some(piece.into()))
    }

    /// All bytes of an extended header, whose length has been checked.
    fn rest(&mut self) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece()? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Passes over what is left of the entry.
    fn skip(&mut self) -> Result<(), String> {
        let bytes = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        let skipped = match &mut self.input {
            // What is behind the end of a file is missed with the next header.
            ArchiveInput::File(file) => match i64::try_from(bytes) {
                Ok(distance) => file.seek(SeekFrom::Current(distance)).map(|_| bytes),
                Err(_) => Ok(0),
            },
            ArchiveInput::Pipe(pipe) => io::copy(&mut pipe.take(bytes), &mut io::sink()),
        };
        let skipped = skipped.map_err(|error| error.to_string())?;
        self.position = self.position.saturating_add(skipped);
        if skipped == bytes { Ok(()) } else { self.refuse(BundleFault::CutShort) }
    }

    fn block(&mut self) -> Result<[u8; BLOCK], String> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let count = match &mut self.input {
                ArchiveInput::File(file) => read_some(file, rest),
                ArchiveInput::Pipe(pipe) => read_some(pipe, rest),
            };
            let count = count.map_err(|error| error.to_string())?;
            if count == 0 {
                return self.refuse(match compressed_by(&block) {
                    Some(program) if self.position < BLOCK as u64 => BundleFault::Compressed(program),
                    None if self.position < BLOCK as u64 => BundleFault::Header,
                    Some(_) | None => BundleFault::NoEnd,
                });
            }
            filled += count;
            self.position += count as u64;
        }
        Ok(block)
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, String> {
        let count = match &mut self.input {
            ArchiveInput::File(file) => read_some(file, into),
            ArchiveInput::Pipe(pipe) => read_some(pipe, into),
        };
        let count = count.map_err(|error| error.to_string())?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }

    fn refuse<T>(&self, fault: BundleFault) -> Result<T, String> {
        let name = if self.name.is_empty() { b"the archive" } else { self.name.as_slice() };
        Err(BundleRefusal::new(name, fault).to_string())
    }
}

impl ExtendedHeader {
    fn long_name(&mut self, bytes: &[u8]) -> Result<(), BundleFault> {
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        set(&mut self.name, name.to_vec())
    }

    /// Records of PAX. A global header is of all entries behind it, and may say nothing that counts here.
    fn records(&mut self, bytes: &[u8], is_global: bool) -> Result<(), BundleFault> {
        let wrong = || BundleFault::Extended(MAX_EXTENDED);
        for record in PaxExtensions::new(bytes) {
            let record = record.map_err(|_| wrong())?;
            match record.key_bytes() {
                b"path" | b"size" if is_global => return Err(wrong()),
                b"path" => set(&mut self.name, record.value_bytes().to_vec())?,
                b"size" => {
                    let text = record.value().map_err(|_| wrong())?;
                    set(&mut self.size, text.parse().map_err(|_| wrong())?)?;
                }
                key if key.starts_with(b"GNU.sparse.") => return Err(BundleFault::Sparse),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Each may be said once.
fn set<T>(place: &mut Option<T>, value: T) -> Result<(), BundleFault> {
    if place.replace(value).is_some() { Err(BundleFault::Extended(MAX_EXTENDED)) } else { Ok(()) }
}

fn read_some(input: &mut (impl Read + ?Sized), into: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn padding(size: u64) -> u64 {
    let block = BLOCK as u64;
    (block - size % block) % block
}

/// Whether the header has its checksum: the sum of its bytes, those of the checksum itself taken as spaces.
fn has_checksum(header: &Header, block: &[u8; BLOCK]) -> bool {
    let sum = block
        .iter()
        .enumerate()
        .fold(0, |sum: u32, (at, byte)| sum + u32::from(if (148..156).contains(&at) { b' ' } else { *byte }));
    header.cksum().is_ok_and(|said| said == sum)
}

/// The program that decompresses an archive which begins so.
fn compressed_by(block: &[u8]) -> Option<&'static str> {
    match block {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        _ => None,
    }
}
