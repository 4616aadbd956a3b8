//! One stream: a request, and its response, sent as the client's window opens.
//!
//! A cached blob is read by as much as may be sent, so that a response nobody reads takes no memory. Other bodies give chunks
//! of any size: none is read before the window is open, and what is read is counted.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use registry_proxy_core::Body;
use registry_proxy_core::body::{Held, Observe};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::super::handler::{CloseConnection, RequestHandler};
use super::super::idle_timeouts::{Counted, Holds, IdleTimeouts, StreamWait};
use super::super::outgoing_chunk::{HeldMemory, OutgoingChunk};
use crate::incoming;
use crate::store::{self, FileSlice};

/// Most bytes given to the connection at once, and read from a file at once.
const PIECE_BYTES: usize = store::READ_BYTES;
/// How long to wait for memory that all clients share. Clients that take nothing free theirs within ten seconds.
const ROOM_TIMEOUT: Duration = Duration::from_mins(1);
/// Connection-specific headers, which HTTP/2 forbids (RFC 9113 section 8.2.2).
const OF_CONNECTIONS: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What all streams of one connection share.
pub(super) struct Shared {
    pub(super) handler: Arc<dyn RequestHandler>,
    pub(super) timeouts: Arc<IdleTimeouts>,
    /// Notified by a response after which the connection closes.
    pub(super) over: Notify,
    /// Bytes that may be queued for the socket (`limits.in_flight_per_connection`).
    pub(super) socket: Arc<Semaphore>,
    /// Allows one chunk of unknown size without shared memory, so that a connection always makes progress.
    pub(super) hand: Arc<Semaphore>,
}

/// Why a response was cut off.
enum SendError {
    /// The client has reset the stream, or the connection has ended.
    ClientLeft,
    /// Its body broke.
    Broken,
}

/// Answers a request. If the client takes nothing for too long, the stream is dropped, which resets it.
pub(super) fn spawn(request: Request<RecvStream>, respond: SendResponse<OutgoingChunk>, shared: Arc<Shared>) {
    let activity = shared.timeouts.activity().begin();
    tokio::spawn(async move {
        let waiting = StreamWait::new();
        tokio::select! {
            biased;
            () = serve(request, respond, &shared, &waiting) => {}
            () = waiting.stalled(&shared.timeouts) => {
                tracing::debug!("a client read nothing of a body for too long; its stream is reset");
            }
        }
        drop(activity);
    });
}

async fn serve(
    request: Request<RecvStream>,
    mut respond: SendResponse<OutgoingChunk>,
    shared: &Arc<Shared>,
    waiting: &StreamWait,
) {
    let is_head = *request.method() == Method::HEAD;
    let response = {
        let mut answer = shared.handler.answer(received(request));
        let left = poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => respond.poll_reset(cx).map(|_| None),
        });
        let Some(response) = left.await else { return };
        response
    };
    let (mut head, body) = response.into_parts();
    if head.extensions.remove::<CloseConnection>().is_some() {
        shared.over.notify_one();
    }
    as_of_http2(&mut head.headers, &body);
    // The handler may return a body for HEAD: only its length is sent (RFC 9110 section 9.3.2).
    let is_empty = is_head || http_body::Body::is_end_stream(&body);
    let Ok(stream) = respond.send_response(Response::from_parts(head, ()), is_empty) else { return };
    if is_empty {
        return;
    }
    let mut sending = Sending { stream, shared, waiting };
    let sent = match body {
        Body::Native(native) if native.handle().is::<FileSlice>() => {
            let (handle, observer) = native.take();
            match handle.downcast::<FileSlice>() {
                Ok(slice) => sending.file(*slice, observer).await,
                Err(_) => Err(SendError::Broken),
            }
        }
        whole @ (Body::Empty | Body::Full(_)) => sending.whole(whole).await,
        passing @ (Body::Stream(_) | Body::Native(_)) => sending.passing(passing).await,
    };
    match sent {
        Ok(()) | Err(SendError::ClientLeft) => {}
        Err(SendError::Broken) => sending.stream.send_reset(Reason::INTERNAL_ERROR),
    }
}

/// The request as the core's type. The body of a GET or HEAD is dropped at once, so that it takes no memory.
fn received(request: Request<RecvStream>) -> Request<Body> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    request.map(|stream| if is_read { Body::Empty } else { incoming::h2_body(stream, length) })
}

fn as_of_http2(headers: &mut HeaderMap, body: &Body) {
    for name in &OF_CONNECTIONS {
        headers.remove(name);
    }
    if !headers.contains_key(CONTENT_LENGTH)
        && let Some(length @ 1..) = body.length()
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if !headers.contains_key(DATE)
        && let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        headers.insert(DATE, now);
    }
}

/// Sends the body of a response.
struct Sending<'a> {
    stream: SendStream<OutgoingChunk>,
    shared: &'a Arc<Shared>,
    /// Set while the client is waited for.
    waiting: &'a StreamWait,
}

impl Sending<'_> {
    /// Sends a part of a file, reading each chunk when it may be sent.
    async fn file(&mut self, slice: FileSlice, observer: Option<Box<dyn Observe>>) -> Result<(), SendError> {
        let mut watched = SentObserver { observer, in_hand: 0 };
        let mut next = slice.first;
        while next < slice.end {
            self.waiting.begin(Holds::Nothing);
            let left = slice.end - next;
            let window = self.window(usize::try_from(left).unwrap_or(PIECE_BYTES)).await?;
            let place = self.place(window).await?;
            self.waiting.end();
            watched.gone();
            if let Some(bytes) = slice.read_resident(next, window) {
                let length = bytes.len() as u64;
                let held = self.shared.timeouts.count(length);
                watched.came(length);
                next += length;
                self.send(OutgoingChunk::new(bytes, Some(HeldMemory::Own(held)), Some(place)), next >= slice.end)?;
                continue;
            }
            // While waiting for the disk, leave the connection's capacity to its other streams.
            drop(place);
            self.stream.reserve_capacity(0);
            let read = slice.read_disk(next, window);
            let bytes = match self.unless_reset(read).await? {
                Ok(bytes) if !bytes.is_empty() => bytes,
                Ok(_) | Err(_) => return Err(watched.broke()),
            };
            let length = bytes.len() as u64;
            let held = self.shared.timeouts.count(length);
            watched.came(length);
            next += length;
            self.piece(bytes, held, next >= slice.end).await?;
        }
        watched.gone();
        Ok(())
    }

    /// Sends a body that is in memory and was counted before.
    async fn whole(&mut self, mut body: Body) -> Result<(), SendError> {
        while let Some(bytes) = body.chunk().await {
            let is_last = http_body::Body::is_end_stream(&body);
            self.piece(bytes.map_err(|_| SendError::Broken)?, self.shared.timeouts.already_counted(), is_last)
                .await?;
            if is_last {
                return Ok(());
            }
        }
        self.send(OutgoingChunk::end(), true)
    }

    /// Sends a body that arrives in chunks of any size.
    async fn passing(&mut self, mut body: Body) -> Result<(), SendError> {
        loop {
            self.waiting.begin(Holds::Nothing);
            self.window(1).await?;
            // Reserve none of the connection's window for a chunk that may take long to come.
            self.stream.reserve_capacity(0);
            self.waiting.end();
            let room = self.room().await?;
            let next = self.unless_reset(body.chunk()).await?;
            let is_last = http_body::Body::is_end_stream(&body);
            match next {
                Some(Ok(bytes)) => {
                    let held = self.shared.timeouts.count(bytes.len() as u64);
                    drop(room.counted);
                    self.piece(bytes, held, is_last).await?;
                    drop(room.hand);
                    if is_last {
                        return Ok(());
                    }
                }
                Some(Err(_)) => return Err(SendError::Broken),
                None => return self.send(OutgoingChunk::end(), true),
            }
        }
    }

    /// Sends one chunk, in as many parts as the window requires.
    async fn piece(&mut self, mut bytes: Bytes, held: Counted, is_last: bool) -> Result<(), SendError> {
        if bytes.is_empty() && is_last {
            return self.send(OutgoingChunk::end(), true);
        }
        let held = Arc::new(held);
        let mut since_stamp = 0;
        self.waiting.begin(Holds::Bytes);
        while !bytes.is_empty() {
            let window = self.window(bytes.len()).await?;
            let place = self.place(window).await?;
            let part = bytes.split_to(window);
            // A client that takes a few bytes at a time must not hold a chunk for ever.
            since_stamp += window;
            if since_stamp >= PIECE_BYTES {
                since_stamp = 0;
                self.waiting.begin(Holds::Bytes);
            }
            let is_end = is_last && bytes.is_empty();
            self.send(OutgoingChunk::new(part, Some(HeldMemory::Shared(Arc::clone(&held))), Some(place)), is_end)?;
        }
        self.waiting.end();
        Ok(())
    }

    /// Waits until anything may be sent; returns how much, at most `wanted` and [`PIECE_BYTES`].
    async fn window(&mut self, wanted: usize) -> Result<usize, SendError> {
        let wanted = wanted.min(PIECE_BYTES);
        self.stream.reserve_capacity(wanted);
        poll_fn(|cx| {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(SendError::ClientLeft));
            }
            loop {
                match self.stream.capacity() {
                    0 => match std::task::ready!(self.stream.poll_capacity(cx)) {
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return Poll::Ready(Err(SendError::ClientLeft)),
                    },
                    open => return Poll::Ready(Ok(open.min(wanted))),
                }
            }
        })
        .await
    }

    /// Waits until this many bytes may be queued for the socket.
    async fn place(&mut self, bytes: usize) -> Result<OwnedSemaphorePermit, SendError> {
        let places = u32::try_from(bytes).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.shared.socket).acquire_many_owned(places);
        self.unless_reset(free).await?.map_err(|_| SendError::ClientLeft)
    }

    /// Memory for a chunk of unknown size: the connection's own allowance, or shared memory.
    async fn room(&self) -> Result<ChunkBudget, SendError> {
        if let Ok(hand) = Arc::clone(&self.shared.hand).try_acquire_owned() {
            return Ok(ChunkBudget { hand: Some(hand), counted: None });
        }
        let taken = timeout(ROOM_TIMEOUT, self.shared.timeouts.in_flight().take(PIECE_BYTES as u64)).await;
        Ok(ChunkBudget { hand: None, counted: Some(taken.map_err(|_| SendError::Broken)?) })
    }

    /// Waits for a future, unless the client resets the stream first.
    async fn unless_reset<F: Future>(&mut self, future: F) -> Result<F::Output, SendError> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.stream.poll_reset(cx).map(|_| Err(SendError::ClientLeft)),
        })
        .await
    }

    fn send(&mut self, piece: OutgoingChunk, is_end: bool) -> Result<(), SendError> {
        self.stream.send_data(piece, is_end).map_err(|_| SendError::ClientLeft)
    }
}

/// Where the memory for a chunk comes from.
struct ChunkBudget {
    hand: Option<OwnedSemaphorePermit>,
    counted: Option<Held>,
}

/// Reports to a body's observer. A chunk counts as sent when the next one may be sent; the last, when it is handed to `h2`.
struct SentObserver {
    observer: Option<Box<dyn Observe>>,
    in_hand: u64,
}

impl SentObserver {
    fn came(&mut self, bytes: u64) {
        self.in_hand = bytes;
        if let Some(observer) = &mut self.observer {
            observer.came();
        }
    }

    fn gone(&mut self) {
        let bytes = std::mem::take(&mut self.in_hand);
        if let Some(observer) = self.observer.as_mut().filter(|_| bytes > 0) {
            observer.arrived(bytes);
        }
    }

    fn broke(&mut self) -> SendError {
        if let Some(observer) = &mut self.observer {
            observer.broke();
        }
        SendError::Broken
    }
}

impl Drop for SentObserver {
    fn drop(&mut self) {
        if let Some(observer) = self.observer.as_mut().filter(|_| self.in_hand > 0) {
            observer.unfinished(self.in_hand);
        }
    }
}
