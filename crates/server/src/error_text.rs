//! Errors as one line of text.

use std::error::Error;

/// The error and its direct cause.
pub(crate) fn with_source(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
