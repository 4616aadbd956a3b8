//! A chunk of a body on its way to a client's socket, counted until it is written.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::OwnedSemaphorePermit;

use super::idle_timeouts::Counted;

/// Bytes, and permits that are released when they are written.
pub(super) struct OutgoingChunk {
    bytes: Bytes,
    /// Memory that all connections share.
    _held: Option<Arc<Counted>>,
    /// Queue space of the connection.
    _place: Option<OwnedSemaphorePermit>,
}

impl OutgoingChunk {
    pub(super) fn new(bytes: Bytes, held: Option<Arc<Counted>>, place: Option<OwnedSemaphorePermit>) -> Self {
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
