//! What can go wrong: always a file, and what is the matter with it.

use std::path::Path;

/// Says which file, and what happened to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{place}: {source}")]
    Io { place: String, source: std::io::Error },
    #[error("{0}")]
    Usage(String),
    #[error("{place} is no binary that can be packaged: {what}")]
    Binary { place: String, what: String },
}

impl Error {
    pub(crate) fn io(place: impl std::fmt::Display, source: std::io::Error) -> Self {
        Self::Io { place: place.to_string(), source }
    }

    pub(crate) fn binary(path: &Path, what: impl Into<String>) -> Self {
        Self::Binary { place: path.display().to_string(), what: what.into() }
    }
}
