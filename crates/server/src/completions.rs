//! `registry-proxy completions SHELL`: what a shell completes the command line with.
//!
//! The scripts are made from the command line's definition by `cargo xtask docs`, which writes them into `shell/`: packages
//! have them as files, and the binary has all of them in one compressed piece, since their text is longer than the code that
//! reads it.

#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::process::ExitCode;

use clap::ValueEnum;
use flate2::read::GzDecoder;

use crate::terminal::{complain, print};

/// The scripts one after another, in the order of [`CompletionShell::ALL`], with [`BETWEEN`] between them.
const SCRIPTS: &[u8] = include_bytes!("../shell/scripts.gz");
/// Stands in no script.
const BETWEEN: &str = "\0";

/// A shell that can be given completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    /// bash, with the package bash-completion
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// elvish
    Elvish,
}

impl CompletionShell {
    const ALL: [Self; 5] = [Self::Bash, Self::Zsh, Self::Fish, Self::Powershell, Self::Elvish];
}

/// Prints the script of a shell.
pub(crate) fn run(shell: CompletionShell) -> ExitCode {
    let Some(script) = script(shell) else {
        complain("this build has no completions");
        return ExitCode::FAILURE;
    };
    print(&script)
}

fn script(shell: CompletionShell) -> Option<String> {
    let mut scripts = String::new();
    GzDecoder::new(SCRIPTS).read_to_string(&mut scripts).ok()?;
    let place = CompletionShell::ALL.iter().position(|other| *other == shell)?;
    scripts.split(BETWEEN).nth(place).map(ToOwned::to_owned)
}
