//! Bodies whose bytes the platform can send by itself as soon as they are there: a file that is still being written.

use std::any::Any;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::error::BodyError;

/// The next bytes of a body.
pub enum BodyPart {
    /// In memory.
    Bytes(Bytes),
    /// Bytes that the platform knows by this handle. It need not give all of them at once.
    Native {
        /// What the platform knows them by.
        handle: Box<dyn Any + Send>,
        /// How many they are.
        length: u64,
    },
}

impl BodyPart {
    /// How many bytes they are.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Native { length, .. } => *length,
        }
    }
}

/// One poll of a body by its parts.
pub type PolledPart = Poll<Option<Result<BodyPart, BodyError>>>;

/// A body, part by part.
pub trait BodyParts: Send {
    /// The next part; `None` at the end.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> PolledPart;
}

/// The handle of a native body whose parts are handles.
pub struct ByParts(pub Box<dyn BodyParts>);
