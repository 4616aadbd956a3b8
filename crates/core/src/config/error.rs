//! What is wrong with a configuration.

/// What is wrong with a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ConfigError {
    /// The path of the key, or the variable and its value.
    pub place: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl ConfigError {
    pub(super) fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}
