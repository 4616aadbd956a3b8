//! A file as a body: piece by piece, each when it is asked for and none before. What the kernel has in memory is read
//! where it is asked; for what is on the disk only, another thread waits.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::Frame;
use registry_proxy_core::body::{Body, BodyError};
use rustix::buffer::spare_capacity;

use crate::store::disk;

/// How much is read at once of what is written as well.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// How much is read at once for a client: each body holds one of them.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// What is read when it is opened.
const SMALL_BYTES: u64 = 64 << 10;

/// How long a disk may take for a piece.
const PATIENCE: Duration = Duration::from_mins(1);

/// In such steps it is looked whether the kernel has a part of a file: it reads ahead that much itself.
const STEP_BYTES: u64 = 128 << 10;

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
    reading: Option<BoxFuture<'static, io::Result<Bytes>>>,
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
        let reader = Self { file, next: first, end, reading: None };
        Ok(Body::native(reader, length, slice))
    }

    fn took(&mut self, piece: Bytes) -> Result<Frame<Bytes>, BodyError> {
        let missing_bytes = self.end - self.next;
        if piece.is_empty() {
            self.end = self.next;
            return Err(BodyError::Short { missing_bytes });
        }
        self.next += piece.len() as u64;
        Ok(Frame::data(piece))
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.next >= this.end {
            return Poll::Ready(None);
        }
        let most = most(this.end - this.next).min(READ_BYTES);
        if this.reading.is_none() {
            if let Some(piece) = at_hand(&this.file, this.next, most) {
                return Poll::Ready(Some(this.took(piece)));
            }
            this.reading = Some(Box::pin(from_disk(Arc::clone(&this.file), this.next, most)));
        }
        let Some(reading) = &mut this.reading else { return Poll::Ready(None) };
        let done = ready!(reading.as_mut().poll(cx));
        this.reading = None;
        match done {
            Ok(piece) => Poll::Ready(Some(this.took(piece))),
            Err(error) => {
                this.end = this.next;
                Poll::Ready(Some(Err(BodyError::Broken(error.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reading.is_none() && self.next >= self.end
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

/// The same on a thread that may wait for the disk, and not for ever. What was begun goes on behind a caller who gave up.
pub(crate) async fn from_disk(file: Arc<File>, offset: u64, most: usize) -> io::Result<Bytes> {
    waited_for(move || piece(&file, offset, most)).await
}

/// Brings a part of a file into the kernel's memory, so that nobody who sends it from there waits for the disk.
pub(crate) async fn bring_in(file: Arc<File>, first: u64, end: u64) -> io::Result<()> {
    waited_for(move || {
        let mut at = first;
        while at < end {
            match piece(&file, at, most(end - at))?.len() {
                0 => break,
                read => at += read as u64,
            }
        }
        Ok(())
    })
    .await
}

async fn waited_for<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, disk::run(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(panicked)) => Err(panicked.into()),
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

/// What of it the kernel has in memory already, without waiting for the disk: less than a trip to another thread, and a
/// hundred readers of what has just arrived do not take turns by the scheduler's slices. `None`: ask with [`piece`].
#[cfg(target_os = "linux")]
pub(crate) fn at_hand(file: &File, offset: u64, most: usize) -> Option<Bytes> {
    let mut bytes = vec![0; most.min(PIECE_BYTES)];
    let length = read_at_hand(file, &mut bytes, offset)?;
    bytes.truncate(length);
    (length > 0).then(|| bytes.into())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn at_hand(_: &File, _: u64, _: usize) -> Option<Bytes> {
    None
}

/// Whether the kernel has a part of a file in memory, as far as a byte of each step shows.
#[cfg(target_os = "linux")]
pub(crate) fn is_at_hand(file: &File, first: u64, end: u64) -> bool {
    let steps = std::iter::successors(Some(first), |at| at.checked_add(STEP_BYTES)).take_while(|at| *at < end);
    steps.chain(end.checked_sub(1)).all(|at| read_at_hand(file, &mut [0], at).is_some())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_at_hand(_: &File, _: u64, _: u64) -> bool {
    true
}

#[cfg(target_os = "linux")]
fn read_at_hand(file: &File, into: &mut [u8], offset: u64) -> Option<usize> {
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    rustix::io::preadv2(file, &mut [io::IoSliceMut::new(into)], offset, flags).ok()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn a_part_that_only_the_disk_has_is_brought_in() {
        let mut file = tempfile::tempfile().unwrap();
        let length = 3 << 20;
        file.write_all(&vec![7; length]).unwrap();
        file.sync_all().unwrap();
        let length = length as u64;
        let file = Arc::new(file);
        rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        // Where files live in memory only, nothing can be thrown out of it.
        let is_out = !is_at_hand(&file, 0, length);
        bring_in(Arc::clone(&file), 0, length).await.unwrap();
        assert!(is_at_hand(&file, 0, length), "it was out: {is_out}");
        assert!(is_at_hand(&file, length - 1, length));
    }

    #[tokio::test]
    async fn a_file_that_has_become_shorter_ends_its_body_short() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 200_000]).unwrap();
        let short = file.try_clone().unwrap();
        let mut body = Reader::body(file, 0, 200_000).unwrap();
        assert_eq!(body.chunk().await.unwrap().unwrap().len(), READ_BYTES);
        short.set_len(READ_BYTES as u64).unwrap();
        let end = body.chunk().await.unwrap();
        assert!(matches!(end, Err(BodyError::Short { missing_bytes }) if missing_bytes == 200_000 - 65_536));
        assert!(body.chunk().await.is_none());
    }
}
