//! What an ELF file says about where it runs: its processor, whether it needs a loader or libraries, and the oldest
//! glibc that will do. Only 64-bit little-endian files are read: we build no others.

use std::fs;
use std::path::{Path, PathBuf};

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};

use crate::error::Error;

type Header = FileHeader64<LittleEndian>;

/// How such a file begins: the magic number, then 64-bit, then little-endian.
const START: &[u8] = b"\x7fELF\x02\x01";

/// The processors we build for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Machine {
    X86_64,
    Arm64,
}

impl Machine {
    /// As files are named.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// As image indexes call it.
    pub(crate) fn in_images(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// What a binary needs of the system that starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Linkage {
    /// Nothing: it contains everything.
    Static,
    /// The oldest glibc that has all it needs, such as `2.34`; `None`: another C library.
    Dynamic { glibc: Option<String> },
}

impl std::fmt::Display for Linkage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Static => formatter.write_str("static"),
            Self::Dynamic { glibc: Some(version) } => write!(formatter, "glibc {version}"),
            Self::Dynamic { glibc: None } => formatter.write_str("dynamic"),
        }
    }
}

/// A binary that was read.
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) machine: Machine,
    pub(crate) linkage: Linkage,
}

impl Binary {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(|error| Error::io(path.display(), error))?;
        let (machine, linkage) = examine(&bytes).map_err(|what| Error::binary(path, what))?;
        Ok(Self { path: path.to_owned(), bytes, machine, linkage })
    }
}

fn examine(file: &[u8]) -> Result<(Machine, Linkage), String> {
    if !file.starts_with(START) {
        return Err("it is not a 64-bit little-endian ELF file".to_owned());
    }
    let damaged = |error: object::Error| format!("it ends too early or is damaged: {error}");
    let header = Header::parse(file).map_err(damaged)?;
    let machine = match header.e_machine(LittleEndian) {
        elf::EM_X86_64 => Machine::X86_64,
        elf::EM_AARCH64 => Machine::Arm64,
        other => return Err(format!("it is for processor {}; x86_64 is 62, arm64 is 183", other.0)),
    };
    let linkage = if is_dynamic(header, file).map_err(damaged)? {
        Linkage::Dynamic { glibc: newest_glibc(&needed_versions(header, file).map_err(damaged)?) }
    } else {
        Linkage::Static
    };
    Ok((machine, linkage))
}

/// Whether it needs a loader or a library. A static position-independent binary has a dynamic section, too, but one
/// without `NEEDED`.
fn is_dynamic(header: &Header, file: &[u8]) -> object::Result<bool> {
    for segment in header.program_headers(LittleEndian, file)? {
        let entries = segment.dynamic(LittleEndian, file)?.unwrap_or_default();
        let mut tags =
            entries.iter().map(|entry| entry.d_tag(LittleEndian)).take_while(|tag| *tag != elf::DT_NULL);
        if segment.p_type(LittleEndian) == elf::PT_INTERP || tags.any(|tag| tag == elf::DT_NEEDED) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The versions of libraries' symbols that the loader checks for, such as `GLIBC_2.34` (the section of `DT_VERNEED`).
fn needed_versions<'file>(header: &Header, file: &'file [u8]) -> object::Result<Vec<&'file [u8]>> {
    let mut names = Vec::new();
    let sections = header.sections(LittleEndian, file)?;
    if let Some((libraries, link)) = sections.gnu_verneed(LittleEndian, file)? {
        let strings = sections.strings(LittleEndian, file, link)?;
        for library in libraries {
            let (_, versions) = library?;
            for version in versions {
                names.push(version?.name(LittleEndian, strings)?);
            }
        }
    }
    Ok(names)
}

/// The newest glibc among these versions. Names without numbers, such as `GLIBC_PRIVATE`, do not count.
fn newest_glibc(names: &[&[u8]]) -> Option<String> {
    let versions = names.iter().filter_map(|name| {
        let text = std::str::from_utf8(name.strip_prefix(b"GLIBC_")?).ok()?;
        let parts: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
        Some((parts?, text.to_owned()))
    });
    versions.max().map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_binary_is_refused() {
        assert!(examine(b"#!/bin/sh\n").unwrap_err().contains("ELF"));
        assert!(examine(b"\x7fELF\x02\x01").unwrap_err().contains("early"));
    }

    #[test]
    fn a_test_program_asks_for_libraries_unless_it_is_static() {
        let own = Binary::read(&std::env::current_exe().unwrap()).unwrap();
        let expected = cfg!(target_feature = "crt-static");
        assert_eq!(own.linkage == Linkage::Static, expected, "{}", own.linkage);
    }

    #[test]
    fn the_newest_version_named_is_the_oldest_that_will_do() {
        let names = [&b"x"[..], b"GLIBC_2.4", b"GLIBC_2.28", b"GLIBC_PRIVATE", b"GLIBC_2.17"];
        assert_eq!(newest_glibc(&names).as_deref(), Some("2.28"));
        assert_eq!(newest_glibc(&[b"nothing"]), None);
    }

    #[cfg(all(target_env = "gnu", not(target_feature = "crt-static")))]
    #[test]
    fn a_version_counts_where_the_loader_looks_for_it_and_nowhere_else() {
        let text = std::hint::black_box("\0GLIBC_99.9\0");
        let own = Binary::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(own.bytes.windows(text.len()).any(|window| window == text.as_bytes()));
        let Linkage::Dynamic { glibc: Some(version) } = &own.linkage else {
            panic!("{}", own.linkage);
        };
        assert!(version.starts_with("2."), "{version}");
    }
}
