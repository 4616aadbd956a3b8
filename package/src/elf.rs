//! Reads of an ELF file what decides where it runs: the processor, whether it asks for a loader or for libraries, and
//! the newest glibc it names. Only 64-bit little-endian, which is all we build.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const NEEDED: u64 = 1;

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

/// What a binary asks of the system that starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Linkage {
    /// Nothing: it brings everything.
    Static,
    /// The oldest glibc that has all it names, such as `2.34`; `None`: another C library.
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
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err("it is not a 64-bit little-endian ELF file".to_owned());
    }
    let machine = match number(file, 18, 2)? {
        62 => Machine::X86_64,
        183 => Machine::Arm64,
        other => return Err(format!("it is for processor {other}; x86_64 is 62, arm64 is 183")),
    };
    let (table, size, count) = (number(file, 32, 8)?, number(file, 54, 2)?, number(file, 56, 2)?);
    let mut asks = false;
    for index in 0..count {
        let header = usize::try_from(table + index * size).map_err(|error| error.to_string())?;
        match u32::try_from(number(file, header, 4)?).unwrap_or_default() {
            INTERPRETER => asks = true,
            DYNAMIC => {
                asks |= names_libraries(file, number(file, header + 8, 8)?, number(file, header + 32, 8)?)?;
            }
            _ => {}
        }
    }
    Ok((machine, if asks { Linkage::Dynamic { glibc: newest_glibc(file) } } else { Linkage::Static }))
}

/// Whether the dynamic section has a `NEEDED`. A static position-independent binary has such a section, without one.
fn names_libraries(file: &[u8], offset: u64, size: u64) -> Result<bool, String> {
    for entry in 0..size / 16 {
        let place = usize::try_from(offset + entry * 16).map_err(|error| error.to_string())?;
        match number(file, place, 8)? {
            0 => break,
            NEEDED => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// Versions are names of symbols, `GLIBC_2.34`, in the table of strings.
fn newest_glibc(file: &[u8]) -> Option<String> {
    let marker = b"\0GLIBC_";
    let versions = file.windows(marker.len()).enumerate().filter(|(_, window)| window == marker);
    let parsed = versions.filter_map(|(at, _)| {
        let rest = &file[at + marker.len()..];
        let end = rest.iter().position(|&byte| byte == 0)?;
        let text = std::str::from_utf8(&rest[..end]).ok()?;
        let parts: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
        Some((parts?, text.to_owned()))
    });
    parsed.max().map(|(_, text)| text)
}

fn number(file: &[u8], at: usize, width: usize) -> Result<u64, String> {
    let bytes = file.get(at..at + width).ok_or("it ends too early")?;
    Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
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
        let names = b"x\0GLIBC_2.4\0GLIBC_2.28\0GLIBC_PRIVATE\0GLIBC_2.17\0";
        assert_eq!(newest_glibc(names).as_deref(), Some("2.28"));
        assert_eq!(newest_glibc(b"nothing"), None);
    }
}
