//! Packaging: the finished binary becomes what each platform takes. `cargo xtask package` builds the binary and calls
//! this; it compiles nothing itself and needs no container engine.
//!
//! The same binary gives the same bytes: entries are in a fixed order, times are fixed (`SOURCE_DATE_EPOCH`, otherwise
//! the oldest time that a zip can say), nobody owns anything.

mod arguments;
mod artefact;
mod elf;
mod error;
mod files;
mod image;
mod platform;
mod zip;

use std::io::Write as _;
use std::process::ExitCode;

use crate::arguments::Arguments;
use crate::error::Error;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("package: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let mut out = std::io::stdout();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words == ["platforms"] {
        let written = out.write_all(arguments::platforms().as_bytes());
        return written.map_err(|error| Error::io("standard output", error));
    }
    let arguments = Arguments::parse(words.into_iter())?;
    for artefact in platform::package(&arguments)? {
        writeln!(out, "{}", artefact.line()?).map_err(|error| Error::io("standard output", error))?;
    }
    Ok(())
}
