//! Files that the configuration names.

use std::io;
use std::path::{Path, PathBuf};

/// Reads a file. A leading `~/` is the home directory of the user we run as.
pub(crate) fn read(path: &str) -> io::Result<String> {
    std::fs::read_to_string(expand(path))
}

/// The path with a leading `~/` expanded.
pub(crate) fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.into(),
    }
}
