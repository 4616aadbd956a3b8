//! A zip archive whose bytes depend on nothing but its entries: the times are fixed, the order is given, and every entry
//! says that it comes from Unix, so that the executable bit survives. No entry reaches four gigabytes.

use std::io::Write as _;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::error::Error;
use crate::files::Entry;

/// 1980-01-01 00:00: the first moment that a zip can name.
const DATE: u16 = 0x21;
/// The system in the upper byte, the version of the format in the lower.
const MADE_BY_UNIX: u16 = 0x0314;
/// 2.0: deflate.
const VERSION: u16 = 0x14;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
const DEFLATED: u16 = 8;
const REGULAR_FILE: u32 = 0o100_000;

/// The archive of these files.
pub(crate) fn archive(entries: &[Entry]) -> Result<Vec<u8>, Error> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = size(&entry.name, file.len())?;
        let packed = deflate(entry)?;
        let mut crc = Crc::new();
        crc.update(&entry.bytes);
        let mut head = Vec::new();
        for word in [VERSION, FLAGS, DEFLATED, 0, DATE] {
            head.extend(word.to_le_bytes());
        }
        let sizes = [crc.sum(), size(&entry.name, packed.len())?, size(&entry.name, entry.bytes.len())?];
        for word in sizes {
            head.extend(word.to_le_bytes());
        }
        head.extend(short(&entry.name)?.to_le_bytes());
        head.extend(0_u16.to_le_bytes());

        file.extend(b"PK\x03\x04");
        file.extend(&head);
        file.extend(entry.name.as_bytes());
        file.extend(&packed);

        directory.extend(b"PK\x01\x02");
        directory.extend(MADE_BY_UNIX.to_le_bytes());
        directory.extend(&head);
        // No comment, first disk, binary.
        directory.extend([0; 6]);
        directory.extend(((REGULAR_FILE | entry.mode) << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let (start, length) = (size("the archive", file.len())?, size("the directory", directory.len())?);
    let count = u16::try_from(entries.len()).map_err(|_| Error::Usage("too many files for a zip".to_owned()))?;
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count.to_le_bytes());
    file.extend(count.to_le_bytes());
    file.extend(length.to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    Ok(file)
}

fn deflate(entry: &Entry) -> Result<Vec<u8>, Error> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&entry.bytes).map_err(|error| Error::io(&entry.name, error))?;
    encoder.finish().map_err(|error| Error::io(&entry.name, error))
}

fn size(name: &str, length: usize) -> Result<u32, Error> {
    u32::try_from(length).map_err(|_| Error::Usage(format!("{name} is too large for a zip")))
}

fn short(name: &str) -> Result<u16, Error> {
    u16::try_from(name.len()).map_err(|_| Error::Usage(format!("{name}: the name is too long for a zip")))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn entries() -> [Entry; 2] {
        [Entry::text("LICENSE", vec![b'x'; 1000]), Entry::program("bootstrap", b"\x7fELF")]
    }

    fn number(bytes: &[u8], at: usize, width: usize) -> usize {
        bytes[at..at + width].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        assert!(archive(&entries()).unwrap() == archive(&entries()).unwrap());
    }

    #[test]
    fn a_reader_finds_every_file_with_its_mode_by_the_directory() {
        let file = archive(&entries()).unwrap();
        let end = file.len() - 22;
        assert_eq!(&file[end..end + 4], b"PK\x05\x06");
        let mut at = number(&file, end + 16, 4);
        for entry in entries() {
            assert_eq!(&file[at..at + 4], b"PK\x01\x02");
            let (packed, plain, name) =
                (number(&file, at + 20, 4), number(&file, at + 24, 4), number(&file, at + 28, 2));
            assert_eq!(&file[at + 46..at + 46 + name], entry.name.as_bytes());
            assert_eq!(number(&file, at + 38, 4) >> 16, usize::try_from(0o100_000 | entry.mode).unwrap());
            let local = number(&file, at + 42, 4);
            let start = local + 30 + number(&file, local + 26, 2);
            let mut bytes = Vec::new();
            flate2::read::DeflateDecoder::new(&file[start..start + packed]).read_to_end(&mut bytes).unwrap();
            assert_eq!((bytes.len(), &bytes), (plain, &entry.bytes));
            at += 46 + name;
        }
        assert_eq!(at, end);
    }
}
