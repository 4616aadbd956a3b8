//! What a command writes to the terminal, and the status it exits with.

use std::fmt::Display;
use std::io::{IsTerminal, Write as _};
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

/// What switches colours on and off: escape sequences, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Palette {
    pub(crate) good: &'static str,
    pub(crate) warning: &'static str,
    pub(crate) error: &'static str,
    /// What stands around quoted text.
    pub(crate) frame: &'static str,
    pub(crate) off: &'static str,
}

impl Palette {
    const COLOURED: Self =
        Self { good: "\x1b[32m", warning: "\x1b[33m", error: "\x1b[1;31m", frame: "\x1b[1;34m", off: "\x1b[0m" };
    pub(crate) const PLAIN: Self = Self { good: "", warning: "", error: "", frame: "", off: "" };

    /// What this stream takes.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let is_coloured = is_coloured(&|name| std::env::var(name).ok(), stream.is_terminal());
        if is_coloured { Self::COLOURED } else { Self::PLAIN }
    }
}

/// The rules of anstream, which cargo and uv have: <https://docs.rs/anstream/latest/anstream/enum.ColorChoice.html>.
fn is_coloured(variable: &dyn Fn(&str) -> Option<String>, is_terminal: bool) -> bool {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let is_on = |name: &str| variable(name).map(|value| value != "0");
    match (is_on("CLICOLOR_FORCE"), is_on("CLICOLOR")) {
        _ if is_set("NO_COLOR") => false,
        (Some(true), _) => true,
        (_, Some(false)) => false,
        _ => is_terminal && variable("TERM").is_some_and(|terminal| !terminal.is_empty() && terminal != "dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_unless_a_variable_says_otherwise() {
        for (variables, is_terminal, expected) in [
            (&[("TERM", "xterm")][..], true, true),
            (&[("TERM", "xterm")], false, false),
            (&[("TERM", "dumb")], true, false),
            (&[], true, false),
            (&[("TERM", "xterm"), ("NO_COLOR", "1")], true, false),
            (&[("TERM", "xterm"), ("NO_COLOR", "")], true, true),
            (&[("CLICOLOR_FORCE", "1")], false, true),
            (&[("CLICOLOR_FORCE", "0")], false, false),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false, false),
            (&[("TERM", "xterm"), ("CLICOLOR", "0")], true, false),
            (&[("CLICOLOR", "0"), ("CLICOLOR_FORCE", "1")], false, true),
        ] {
            let variable =
                |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(is_coloured(&variable, is_terminal), expected, "{variables:?} {is_terminal}");
        }
    }
}
