//! What a command writes to the terminal, and the status it exits with.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

/// Exit status after a wrong configuration or command line: the same as clap's.
pub(crate) const WRONG_USAGE: u8 = 2;

/// Writes to standard output.
pub(crate) fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has closed the pipe.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes one line to standard error.
pub(crate) fn complain(what: &(impl Display + ?Sized)) {
    let _ = writeln!(std::io::stderr(), "registry-proxy: {what}");
}
