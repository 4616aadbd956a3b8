//! A file as a body: piece by piece, the next one read while this one is sent.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use registry_proxy_core::body::{Body, BodyError};
use rustix::buffer::spare_capacity;
use tokio::task::{JoinHandle, spawn_blocking};

/// How much is read at once: each body holds two of them.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// What is read when it is opened.
const SMALL_BYTES: u64 = 64 << 10;

/// A part of a file, in bytes.
pub(crate) struct FileSlice {
    pub(crate) file: Arc<File>,
    /// Offset of the first.
    pub(crate) first: u64,
    /// Offset behind the last.
    pub(crate) end: u64,
}

/// Reads from an offset to an end.
pub(super) struct Reader {
    file: Arc<File>,
    next: u64,
    end: u64,
    ready: Option<Bytes>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Reader {
    /// The bytes from `first` up to `end`: little is read at once, more may go from disk to socket without being read.
    pub(super) fn body(file: File, first: u64, end: u64) -> io::Result<Body> {
        let length = end.saturating_sub(first);
        if length <= SMALL_BYTES {
            let bytes = piece(&file, first, most(length))?;
            return if bytes.len() as u64 == length {
                Ok(bytes.into())
            } else {
                Err(ErrorKind::UnexpectedEof.into())
            };
        }
        let file = Arc::new(file);
        let slice = FileSlice { file: Arc::clone(&file), first, end };
        let reader = Self { file, next: first, end, ready: None, reading: None };
        Ok(Body::native(reader, length, slice))
    }

    fn read_ahead(&mut self) {
        if self.reading.is_none() && self.next < self.end {
            let (file, next, most) = (Arc::clone(&self.file), self.next, most(self.end - self.next));
            self.reading = Some(spawn_blocking(move || piece(&file, next, most)));
        }
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.read_ahead();
        if let Some(piece) = self.ready.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let done = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let missing_bytes = self.end - self.next;
        match done {
            Ok(Ok(piece)) if piece.is_empty() => {
                self.end = self.next;
                Poll::Ready(Some(Err(BodyError::Short { missing_bytes })))
            }
            Ok(Ok(piece)) => {
                self.next += piece.len() as u64;
                self.read_ahead();
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Ok(Err(error)) => {
                self.end = self.next;
                Poll::Ready(Some(Err(BodyError::Broken(error.into()))))
            }
            Err(panicked) => {
                self.end = self.next;
                Poll::Ready(Some(Err(BodyError::Broken(panicked.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_none() && self.reading.is_none() && self.next >= self.end
    }
}

fn most(bytes: u64) -> usize {
    usize::try_from(bytes).map_or(PIECE_BYTES, |bytes| bytes.min(PIECE_BYTES))
}

/// Bytes at an offset, at most one piece of them; none at the end of the file.
pub(super) fn piece(file: &File, offset: u64, most: usize) -> io::Result<Bytes> {
    let most = most.min(PIECE_BYTES);
    let mut bytes = Vec::with_capacity(most);
    while bytes.len() < most {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(most);
    Ok(bytes.into())
}

/// What of it the kernel has in memory already, without waiting for the disk: less than a trip to another thread, and a
/// hundred readers of what has just arrived do not take turns by the scheduler's slices. `None`: ask with [`piece`].
#[cfg(target_os = "linux")]
pub(super) fn at_hand(file: &File, offset: u64, most: usize) -> Option<Bytes> {
    let mut bytes = vec![0; most.min(PIECE_BYTES)];
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    let length = rustix::io::preadv2(file, &mut [io::IoSliceMut::new(&mut bytes)], offset, flags).ok()?;
    bytes.truncate(length);
    (length > 0).then(|| bytes.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn at_hand(_: &File, _: u64, _: usize) -> Option<Bytes> {
    None
}
