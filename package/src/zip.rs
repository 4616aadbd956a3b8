//! A zip archive whose bytes depend on nothing but its entries: their order and their times are fixed, and every entry
//! says that it comes from Unix, so that the executable bit survives.

use std::io::{Cursor, Write as _};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, DateTime, System, ZipWriter};

use crate::error::Error;
use crate::files::Entry;

/// Smallest output of deflate, as for the `.gz` files.
const BEST: i64 = 9;

/// The archive of these files.
pub(crate) fn archive(entries: &[Entry]) -> Result<Vec<u8>, Error> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in entries {
        let options = SimpleFileOptions::default()
            .system(System::Unix)
            .unix_permissions(entry.mode)
            // The oldest time that a zip can contain: 1980-01-01 00:00.
            .last_modified_time(DateTime::DEFAULT)
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(BEST));
        let started = writer.start_file(&entry.name, options);
        started.map_err(|error| Error::io(&entry.name, error.into()))?;
        writer.write_all(&entry.bytes).map_err(|error| Error::io(&entry.name, error))?;
    }
    let file = writer.finish().map_err(|error| Error::io("the zip archive", error.into()))?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use ::zip::ZipArchive;

    use super::*;

    fn entries() -> [Entry; 2] {
        [Entry::text("LICENSE", vec![b'x'; 1000]), Entry::program("bootstrap", b"\x7fELF")]
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        assert!(archive(&entries()).unwrap() == archive(&entries()).unwrap());
    }

    #[test]
    fn a_reader_finds_every_file_with_its_mode_by_the_directory() {
        let mut archive = ZipArchive::new(Cursor::new(archive(&entries()).unwrap())).unwrap();
        assert_eq!(archive.len(), entries().len());
        for (index, entry) in entries().into_iter().enumerate() {
            let mut file = archive.by_index(index).unwrap();
            assert_eq!(file.name().unwrap(), entry.name);
            assert_eq!(file.unix_mode(), Some(0o100_000 | entry.mode));
            assert_eq!(file.compression(), CompressionMethod::Deflated);
            assert_eq!(file.last_modified().unwrap().to_string(), "1980-01-01 00:00:00");
            let mut bytes = Vec::new();
            // Fails at the end unless the checksum is right.
            file.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, entry.bytes);
        }
    }
}
