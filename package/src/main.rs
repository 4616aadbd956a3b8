//! Puts the finished binary into what each platform takes. `cargo xtask package` builds the binary and calls this program,
//! which compiles nothing itself and needs no container engine.
//!
//! The same binary gives the same bytes: the order of entries is fixed, and so are times (`SOURCE_DATE_EPOCH`, otherwise
//! the oldest time that a zip can contain) and owners.

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

use clap::Parser as _;

use crate::arguments::{Arguments, Cli, Command, Platform};
use crate::error::Error;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("package: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Error> {
    let (platform, parts) = match command {
        Command::Linux(parts) => (Platform::Linux, parts),
        Command::Aws(parts) => (Platform::Aws, parts),
        Command::Aliyun(parts) => (Platform::Aliyun, parts),
        Command::Tencent(parts) => (Platform::Tencent, parts),
        Command::Container(parts) => (Platform::Container, parts),
        Command::Platforms => return print(&arguments::platforms()),
    };
    for artefact in platform::package(&Arguments::new(platform, parts)?)? {
        print(&format!("{}\n", artefact.line()?))?;
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Error> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| Error::io("standard output", error))
}
