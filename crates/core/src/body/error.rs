//! Why a body ends before its time.

/// Why a body ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection that carried it broke.
    #[error("the connection broke in the middle of a body")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing arrived for longer than `timeouts.idle`.
    #[error("the body stalled")]
    Stalled,
    /// It ended before the length that was promised, and could not be resumed.
    #[error("the body ended {missing_bytes} bytes short")]
    Short {
        /// How many bytes never came.
        missing_bytes: u64,
    },
    /// The whole came where a part was asked for, and the part was wanted alone.
    #[error("the upstream does not serve ranges")]
    Unranged,
    /// The upstream says another length of the whole than before, or has no more although more was promised.
    #[error("the upstream gives another length than before")]
    OtherLength,
    /// It is larger than the named limit allows.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
}
