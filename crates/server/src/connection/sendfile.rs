//! Sends files with `sendfile`, so that their bytes never enter this process. Only for HTTP/1.1 without TLS.
//!
//! hyper writes byte slices. For a part of a file it gets *placeholders*: slices of a reserved address range that is never
//! read or written. When hyper writes a placeholder, the socket below recognises its address and sends that part of the
//! file instead. hyper queues slices without copying them as long as the socket supports vectored writes. If it ever copied
//! them, clients would get zeros, which no digest would match, and this module's test would fail.
//!
//! A file that is still being written is sent part by part, as soon as each is there ([`body`]). What of its body does not
//! come from the file is sent from memory.
//!
//! Pages that are not in the page cache are read first, on a thread for blocking disk work: otherwise `sendfile` would
//! block this thread, and with it every connection of this core.

mod body;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use registry_proxy_core::body::Observe;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::idle_timeouts::IdleTimeouts;
use crate::store::FileSlice;

/// Most file bytes per placeholder.
const PLACEHOLDER_BYTES: usize = 1 << 20;
/// Placeholders per connection: more than hyper ever holds at once.
const MOST_PLACEHOLDERS: usize = 64;

/// Whether this system has a `sendfile` that we support.
const CAN_SEND: bool = cfg!(target_os = "linux");

/// The reserved address range. It takes no memory, since no page of it is ever touched.
static ADDRESSES: LazyLock<&[u8]> = LazyLock::new(|| vec![0; MOST_PLACEHOLDERS * PLACEHOLDER_BYTES].leak());

/// The placeholders of one connection.
#[derive(Default)]
pub(super) struct SendfileQueue(Mutex<Placeholders>);

#[derive(Default)]
struct Placeholders {
    valid: HashMap<usize, Arc<FilePart>>,
    next: usize,
}

/// The part of a file that a placeholder stands for.
struct FilePart {
    slice: FileSlice,
    observer: Option<Observer>,
}

/// Notified when the socket has taken bytes; dropped with the last placeholder.
type Observer = Arc<Mutex<Box<dyn Observe>>>;

impl FilePart {
    fn sent(&self, bytes: usize) {
        if let Some(observer) = &self.observer {
            observer.lock().unwrap_or_else(PoisonError::into_inner).arrived(bytes as u64);
        }
    }
}

impl SendfileQueue {
    fn issue(self: &Arc<Self>, part: FilePart) -> Option<Bytes> {
        let length = usize::try_from(part.slice.end - part.slice.first).ok()?.min(PLACEHOLDER_BYTES);
        let mut placeholders = self.placeholders();
        let number = (0..MOST_PLACEHOLDERS)
            .map(|step| (placeholders.next + step) % MOST_PLACEHOLDERS)
            .find(|n| !placeholders.valid.contains_key(n))?;
        placeholders.next = number + 1;
        placeholders.valid.insert(number, Arc::new(part));
        Some(Bytes::from_owner(Placeholder { queue: Arc::clone(self), number, length }))
    }

    /// The file part and offset of a placeholder; `None`: the slice is ordinary memory.
    fn stands_for(&self, bytes: &[u8]) -> Option<io::Result<(Arc<FilePart>, u64)>> {
        let offset =
            bytes.as_ptr().addr().checked_sub(ADDRESSES.as_ptr().addr()).filter(|at| *at < ADDRESSES.len())?;
        let part = self.placeholders().valid.get(&(offset / PLACEHOLDER_BYTES)).map(Arc::clone);
        let within = (offset % PLACEHOLDER_BYTES) as u64;
        Some(
            part.map(|part| (Arc::clone(&part), part.slice.first + within))
                .ok_or_else(|| io::Error::other("a placeholder that nobody has issued")),
        )
    }

    fn placeholders(&self) -> MutexGuard<'_, Placeholders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether these bytes are a placeholder, which takes no memory.
pub(super) fn is_placeholder(bytes: &[u8]) -> bool {
    ADDRESSES.as_ptr_range().contains(&bytes.as_ptr())
}

/// A slice of [`ADDRESSES`], in use until it is dropped.
struct Placeholder {
    queue: Arc<SendfileQueue>,
    number: usize,
    length: usize,
}

impl AsRef<[u8]> for Placeholder {
    fn as_ref(&self) -> &[u8] {
        let first = self.number * PLACEHOLDER_BYTES;
        let span: Range<usize> = first..first + self.length;
        ADDRESSES.get(span).unwrap_or_default()
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        self.queue.placeholders().valid.remove(&self.number);
    }
}

/// A socket that sends file parts in place of placeholders.
pub(super) struct Socket {
    stream: TcpStream,
    queue: Arc<SendfileQueue>,
    /// Told when a write waits for the disk.
    timeouts: Arc<IdleTimeouts>,
    /// A part that is in the page cache, up to this offset.
    resident: Option<(Weak<FilePart>, u64)>,
    /// A read into the page cache in progress.
    paging_in: Option<BoxFuture<'static, io::Result<()>>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, timeouts: Arc<IdleTimeouts>) -> Self {
        Self { stream, queue: Arc::default(), timeouts, resident: None, paging_in: None }
    }

    pub(super) fn queue(&self) -> Arc<SendfileQueue> {
        Arc::clone(&self.queue)
    }

    /// Waits until pages are in the page cache, and returns up to which offset.
    fn poll_resident(&mut self, cx: &mut Context<'_>, part: &Arc<FilePart>, first: u64) -> Poll<io::Result<u64>> {
        let slice = &part.slice;
        if let Some((seen, end)) = &self.resident
            && std::ptr::eq(seen.as_ptr(), Arc::as_ptr(part))
            && first < *end
        {
            return Poll::Ready(Ok(*end));
        }
        if self.paging_in.is_none() && !slice.is_resident(first) {
            self.paging_in = Some(slice.page_in(first).boxed());
        }
        if let Some(paging_in) = &mut self.paging_in {
            let polled = paging_in.as_mut().poll(cx);
            self.timeouts.set_waits_for_disk(polled.is_pending());
            let brought = ready!(polled);
            self.paging_in = None;
            brought?;
        }
        self.resident = Some((Arc::downgrade(part), slice.end));
        Poll::Ready(Ok(slice.end))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        part: &Arc<FilePart>,
        first: u64,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let end = ready!(self.poll_resident(cx, part, first))?;
            let most = usize::try_from(end - first).unwrap_or(most).min(most);
            match self.stream.try_io(Interest::WRITABLE, || send(&self.stream, &part.slice.file, first, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The file was truncated: the connection breaks, as with any broken body.
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(sent) => {
                    part.sent(sent);
                    return Poll::Ready(Ok(sent));
                }
                Err(error) => return Poll::Ready(Err(error)),
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
        match self.queue.stands_for(bytes) {
            Some(found) => {
                let (part, first) = found?;
                self.poll_send(cx, &part, first, bytes.len())
            }
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let is_placeholder = |buf: &IoSlice<'_>| self.queue.stands_for(buf).is_some();
        let bytes = bufs.iter().take_while(|buf| buf.is_empty() || !is_placeholder(buf)).count();
        match (bufs.get(..bytes), bufs.get(bytes)) {
            (Some([]), Some(placeholder)) => self.poll_write(cx, placeholder),
            (Some(before), _) if before.iter().any(|buf| !buf.is_empty()) => {
                Pin::new(&mut self.stream).poll_write_vectored(cx, before)
            }
            (_, Some(placeholder)) => self.poll_write(cx, placeholder),
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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
