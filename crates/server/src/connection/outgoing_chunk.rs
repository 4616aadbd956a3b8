//! A chunk of a body on its way to a client's socket, counted until it is written.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::OwnedSemaphorePermit;

use super::idle_timeouts::Counted;

/// Memory that is counted until chunks are written.
#[expect(dead_code, reason = "it is held until it is dropped, and nobody looks at it")]
pub(super) enum HeldMemory {
    /// That of one chunk.
    Own(Counted),
    /// That of several, which are parts of it.
    Shared(Arc<Counted>),
}

/// Bytes, and permits that are released when they are written.
pub(super) struct OutgoingChunk {
    bytes: Bytes,
    /// Memory that all connections share.
    _held: Option<HeldMemory>,
    /// Queue space of the connection.
    _place: Option<OwnedSemaphorePermit>,
}

impl OutgoingChunk {
    pub(super) fn new(bytes: Bytes, held: Option<HeldMemory>, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { bytes, _held: held, _place: place }
    }

    /// The empty chunk at the end of a body.
    pub(super) fn end() -> Self {
        Self::new(Bytes::new(), None, None)
    }
}

impl Buf for OutgoingChunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
