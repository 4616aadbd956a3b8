//! A piece of a body on its way to a client's socket, counted until it has left.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use registry_proxy_core::body::Held;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes, and what is given back when they have left.
pub(super) struct Piece {
    bytes: Bytes,
    /// What all connections share.
    _held: Option<Arc<Held>>,
    /// The connection's own.
    _place: Option<OwnedSemaphorePermit>,
}

impl Piece {
    pub(super) fn new(bytes: Bytes, held: Option<Arc<Held>>, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { bytes, _held: held, _place: place }
    }

    /// What stands at the end of a body.
    pub(super) fn end() -> Self {
        Self::new(Bytes::new(), None, None)
    }
}

impl Buf for Piece {
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
