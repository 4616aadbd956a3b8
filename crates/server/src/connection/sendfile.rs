//! Files from disk to socket without their bytes coming to us (`sendfile`), on HTTP/1.1 without TLS.
//!
//! hyper writes slices. Where the body is a part of a file it is given *tickets*: slices of a room that is never read
//! nor written, each at an address of its own. The socket below hyper knows the room: where hyper wants a ticket
//! written, it sends what the ticket stands for. hyper queues slices as they are and never copies them while its
//! socket takes several at once; if it ever did, clients would get zeros, whose digest is none they asked for, and the
//! test of this module would fail.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use registry_proxy_core::Body;
use registry_proxy_core::body::{BodyError, Observe};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::store::FileSlice;

/// What one ticket stands for at the most.
const TICKET_BYTES: usize = 1 << 20;
/// More than hyper ever holds at once.
const TICKETS: usize = 64;

/// Whether this system sends files to sockets in a way that we know.
const CAN_SEND: bool = cfg!(target_os = "linux");

/// The room: addresses, and no memory, as no page of it is ever touched.
static ROOM: LazyLock<&[u8]> = LazyLock::new(|| vec![0; TICKETS * TICKET_BYTES].leak());

/// The tickets of one connection.
#[derive(Default)]
pub(super) struct Lane(Mutex<Tickets>);

#[derive(Default)]
struct Tickets {
    valid: HashMap<usize, Arc<FileSlice>>,
    next: usize,
}

impl Lane {
    /// The body as it goes to hyper: of a file, tickets for it.
    pub(super) fn take(self: &Arc<Self>, body: Body) -> Body {
        match body {
            Body::Native(native) if CAN_SEND && native.handle().is::<FileSlice>() => {
                let (handle, observer) = native.take();
                let Ok(slice) = handle.downcast::<FileSlice>() else { return Body::Empty };
                let length = slice.end - slice.first;
                let lane = Arc::clone(self);
                Body::stream(Direct { lane, next: slice.first, slice: Arc::from(slice), observer }, Some(length))
            }
            other => other,
        }
    }

    fn issue(self: &Arc<Self>, slice: FileSlice) -> Option<Bytes> {
        let length = usize::try_from(slice.end - slice.first).ok()?.min(TICKET_BYTES);
        let mut tickets = self.tickets();
        let number =
            (0..TICKETS).map(|step| (tickets.next + step) % TICKETS).find(|n| !tickets.valid.contains_key(n))?;
        tickets.next = number + 1;
        tickets.valid.insert(number, Arc::new(slice));
        Some(Bytes::from_owner(Ticket { lane: Arc::clone(self), number, length }))
    }

    /// What the slice stands for, if it is a ticket: file, offset, bytes.
    fn stands_for(&self, bytes: &[u8]) -> Option<io::Result<(Arc<FileSlice>, u64)>> {
        let offset = bytes.as_ptr().addr().checked_sub(ROOM.as_ptr().addr()).filter(|at| *at < ROOM.len())?;
        let slice = self.tickets().valid.get(&(offset / TICKET_BYTES)).map(Arc::clone);
        let within = (offset % TICKET_BYTES) as u64;
        Some(
            slice
                .map(|slice| (Arc::clone(&slice), slice.first + within))
                .ok_or_else(|| io::Error::other("a ticket that nobody has issued")),
        )
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Valid until it is dropped.
struct Ticket {
    lane: Arc<Lane>,
    number: usize,
    length: usize,
}

impl AsRef<[u8]> for Ticket {
    fn as_ref(&self) -> &[u8] {
        let first = self.number * TICKET_BYTES;
        let span: Range<usize> = first..first + self.length;
        ROOM.get(span).unwrap_or_default()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.lane.tickets().valid.remove(&self.number);
    }
}

/// A file's part as tickets.
struct Direct {
    lane: Arc<Lane>,
    slice: Arc<FileSlice>,
    next: u64,
    observer: Option<Box<dyn Observe>>,
}

impl http_body::Body for Direct {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.next >= this.slice.end {
            return Poll::Ready(None);
        }
        let end = this.slice.end.min(this.next + TICKET_BYTES as u64);
        let part = FileSlice { file: Arc::clone(&this.slice.file), first: this.next, end };
        let Some(ticket) = this.lane.issue(part) else {
            let missing_bytes = this.slice.end - this.next;
            this.next = this.slice.end;
            if let Some(observer) = &mut this.observer {
                observer.broke();
            }
            return Poll::Ready(Some(Err(BodyError::Short { missing_bytes })));
        };
        this.next = end;
        if let Some(observer) = &mut this.observer {
            observer.arrived(ticket.len() as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(ticket))))
    }

    fn is_end_stream(&self) -> bool {
        self.next >= self.slice.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.slice.end - self.next)
    }
}

/// A socket that sends what tickets stand for.
pub(super) struct Socket {
    stream: TcpStream,
    lane: Arc<Lane>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, lane: Arc::default() }
    }

    pub(super) fn lane(&self) -> Arc<Lane> {
        Arc::clone(&self.lane)
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        slice: &FileSlice,
        first: u64,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_io(Interest::WRITABLE, || send(&self.stream, &slice.file, first, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Shorter than it was: the connection ends short, as any broken body does.
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                done => return Poll::Ready(done),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn send(_: &TcpStream, _: &File, _: u64, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn send(stream: &TcpStream, file: &File, first: u64, most: usize) -> io::Result<usize> {
    let mut offset = first;
    Ok(rustix::fs::sendfile(stream, file, Some(&mut offset), most)?)
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.lane.stands_for(bytes) {
            Some(found) => {
                let (slice, first) = found?;
                self.poll_send(cx, &slice, first, bytes.len())
            }
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let is_ticket = |buf: &IoSlice<'_>| self.lane.stands_for(buf).is_some();
        let bytes = bufs.iter().take_while(|buf| buf.is_empty() || !is_ticket(buf)).count();
        match (bufs.get(..bytes), bufs.get(bytes)) {
            (Some([]), Some(ticket)) => self.poll_write(cx, ticket),
            (Some(before), _) if before.iter().any(|buf| !buf.is_empty()) => {
                Pin::new(&mut self.stream).poll_write_vectored(cx, before)
            }
            (_, Some(ticket)) => self.poll_write(cx, ticket),
            _ => Poll::Ready(Ok(0)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
