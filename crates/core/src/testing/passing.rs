//! A platform that moves bytes which nobody reads, as Workers do: bodies that are native, and a store that keeps a copy
//! of one as it passes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use event_listener::{Event, EventListener};
use futures_util::stream::BoxStream;
use http::Response;
use http_body::Frame;

use crate::body::{Body, BodyError};
use crate::cache::{Key, MemoryStore};
use crate::digest::Digest;
use crate::platform::{
    CopyOutcome, Draft, Entry, Found, Outgoing, Part, Passing, Precondition, Stat, Store, StoreCapabilities,
    StoreError, Swept, Transport, TransportError,
};

/// Another transport, whose bodies the platform could send on by itself.
pub struct NativeBodies(pub Arc<dyn Transport>);

#[async_trait]
impl Transport for NativeBodies {
    async fn send(&self, outgoing: Outgoing) -> Result<Response<Body>, TransportError> {
        let response = self.0.send(outgoing).await?;
        Ok(response.map(|body| match body {
            Body::Stream(_) => {
                let length = body.length();
                Body::native(body, length, ())
            }
            other => other,
        }))
    }
}

/// A store in memory that holds blobs against their digests itself, and has no room for what is not whole.
pub struct PassingStore {
    shelf: Arc<MemoryStore>,
    fails: Arc<AtomicBool>,
}

impl PassingStore {
    /// Before this store.
    pub fn new(shelf: MemoryStore) -> Self {
        Self { shelf: Arc::new(shelf), fails: Arc::default() }
    }

    /// From now on it takes no blob.
    pub fn break_down(&self) {
        self.fails.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Store for PassingStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities { verifies: true, is_shared: true, ..StoreCapabilities::default() }
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.shelf.read(key).await
    }

    async fn write(&self, key: &Key, value: Bytes, precondition: Precondition) -> Result<bool, StoreError> {
        self.shelf.write(key, value, precondition).await
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.shelf.remove(key).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.shelf.stat(key).await
    }

    async fn open(&self, key: &Key, part: Option<Part>) -> Result<Option<Found>, StoreError> {
        let Some(Found { stat, body }) = self.shelf.open(key, part).await? else { return Ok(None) };
        // In pieces, so that it is seen where somebody reads it.
        let bytes = body.collect(u64::MAX).await.map_err(StoreError::failed)?;
        let pipe = Pipe::default();
        for piece in bytes.chunks(1000) {
            pipe.push(Some(Ok(bytes.slice_ref(piece))));
        }
        pipe.push(None);
        let outlet = Outlet { pipe: Arc::new(pipe), listener: None };
        Ok(Some(Found { stat, body: Body::native(outlet, bytes.len() as u64, ()) }))
    }

    async fn draft(&self, _key: &Key, _length: Option<u64>) -> Result<Arc<dyn Draft>, StoreError> {
        Err(StoreError::failed("no place for what is not whole"))
    }

    fn keep_passing(&self, digest: &Digest, length: u64, body: Body) -> Result<Passing, Body> {
        let Body::Native(_) = &body else { return Err(body) };
        let pipe = Arc::new(Pipe::default());
        let client = Body::native(Outlet { pipe: Arc::clone(&pipe), listener: None }, length, ());
        let pump = Pump {
            shelf: Arc::clone(&self.shelf),
            fails: Arc::clone(&self.fails),
            digest: digest.clone(),
            length,
            pipe,
        };
        Ok(Passing { body: client, kept: Box::pin(pump.run(body)) })
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, StoreError>> {
        self.shelf.list(prefix)
    }

    fn used(&self, key: &Key) {
        self.shelf.used(key);
    }

    async fn free(&self) -> Result<Option<u64>, StoreError> {
        self.shelf.free().await
    }

    async fn sweep(&self, age: Duration) -> Result<Swept, StoreError> {
        self.shelf.sweep(age).await
    }
}

/// Moves a body to the client and into the store; runs whether or not there is still a client.
struct Pump {
    shelf: Arc<MemoryStore>,
    fails: Arc<AtomicBool>,
    digest: Digest,
    length: u64,
    pipe: Arc<Pipe>,
}

impl Pump {
    async fn run(self, mut body: Body) -> Result<CopyOutcome, StoreError> {
        let mut copy = BytesMut::new();
        let mut held: Option<Bytes> = None;
        while let Some(piece) = body.chunk().await {
            let Ok(piece) = piece else { return Ok(self.cut_off()) };
            copy.extend_from_slice(&piece);
            if let Some(before) = held.replace(piece) {
                self.pipe.push(Some(Ok(before)));
            }
        }
        if copy.len() as u64 != self.length {
            return Ok(self.cut_off());
        }
        if self.digest.matches(&copy) != Some(true) {
            self.cut_off();
            return Ok(CopyOutcome::OtherDigest);
        }
        let kept = if self.fails.load(Ordering::Relaxed) {
            Err(StoreError::failed("broken down"))
        } else {
            self.shelf
                .write(&Key::blob(&self.digest), copy.freeze(), Precondition::Always)
                .await
                .map(|_| CopyOutcome::Whole)
        };
        if let Some(last) = held {
            self.pipe.push(Some(Ok(last)));
        }
        self.pipe.push(None);
        kept
    }

    fn cut_off(&self) -> CopyOutcome {
        self.pipe.push(Some(Err(BodyError::Short { missing_bytes: 1 })));
        self.pipe.push(None);
        CopyOutcome::Short
    }
}

type Piece = Option<Result<Bytes, BodyError>>;

#[derive(Default)]
struct Pipe {
    pieces: Mutex<VecDeque<Piece>>,
    filled: Event,
}

impl Pipe {
    fn pieces(&self) -> MutexGuard<'_, VecDeque<Piece>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, piece: Piece) {
        self.pieces().push_back(piece);
        self.filled.notify(usize::MAX);
    }
}

struct Outlet {
    pipe: Arc<Pipe>,
    listener: Option<EventListener>,
}

impl http_body::Body for Outlet {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(piece) = self.pipe.pieces().pop_front() {
                return Poll::Ready(piece.map(|piece| piece.map(Frame::data)));
            }
            match &mut self.listener {
                Some(listener) => {
                    ready!(Pin::new(listener).poll(cx));
                    self.listener = None;
                }
                // Listened first, looked afterwards: nothing is missed.
                None => self.listener = Some(self.pipe.filled.listen()),
            }
        }
    }
}
