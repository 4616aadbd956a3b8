//! A file as a body, read chunk by chunk on demand. Pages in the page cache are read on the calling thread; others are read
//! on a disk thread.

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
use rustix::io::Errno;

use crate::store::disk;

/// Most bytes read at once.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// Most bytes read at once for a client: each body holds one chunk in memory.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// Files up to this size are read when they are opened.
const SMALL_BYTES: u64 = 64 << 10;

/// Time limit for reading a chunk.
const IO_TIMEOUT: Duration = Duration::from_mins(1);

/// Distance of the bytes that are probed for residency: the kernel reads ahead that much.
const STEP_BYTES: u64 = 128 << 10;

/// How to find out which parts of a file are in the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Residency {
    /// The kernel tells for each read (`RWF_NOWAIT`, preadv2(2)).
    Reported,
    /// All parts always are: the file system is in memory.
    Always,
    /// The file system does not tell.
    Unknown,
}

impl Residency {
    /// Tests with this file, which must not be empty; the result holds for its whole file system.
    #[cfg(target_os = "linux")]
    pub(super) fn of(file: &File) -> Self {
        match nowait(file, &mut [0], 0) {
            Ok(_) | Err(Errno::AGAIN) => Self::Reported,
            Err(_) => {
                // TMPFS_MAGIC and RAMFS_MAGIC of statfs(2).
                let is_memory = |found: rustix::fs::StatFs| matches!(found.f_type, 0x0102_1994 | 0x8584_58f6);
                if rustix::fs::fstatfs(file).is_ok_and(is_memory) { Self::Always } else { Self::Unknown }
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn of(_: &File) -> Self {
        Self::Unknown
    }
}

/// A part of a file, in bytes.
pub(crate) struct FileSlice {
    pub(crate) file: Arc<File>,
    residency: Residency,
    /// Offset of the first byte.
    pub(crate) first: u64,
    /// Offset after the last byte.
    pub(crate) end: u64,
}

impl FileSlice {
    pub(crate) fn new(file: impl Into<Arc<File>>, residency: Residency, first: u64, end: u64) -> Self {
        Self { file: file.into(), residency, first, end }
    }

    /// Another part of the same file.
    pub(crate) fn part(&self, first: u64, end: u64) -> Self {
        Self { file: Arc::clone(&self.file), residency: self.residency, first, end }
    }

    /// See [`read_resident`].
    pub(crate) fn read_resident(&self, offset: u64, most: usize) -> Option<Bytes> {
        read_resident(&self.file, self.residency, offset, most)
    }

    /// Reads bytes at an offset on a disk thread, with a time limit. A started read continues after the caller has given up.
    pub(crate) fn read_disk(&self, offset: u64, most: usize) -> impl Future<Output = io::Result<Bytes>> + use<> {
        let file = Arc::clone(&self.file);
        waited_for(move || piece(&file, offset, most))
    }

    /// Whether the slice is in the page cache from this offset on, by probing one byte of each step.
    pub(crate) fn is_resident(&self, first: u64) -> bool {
        match self.residency {
            Residency::Reported => steps(first, self.end).all(|at| nowait(&self.file, &mut [0], at).is_ok()),
            Residency::Always => true,
            Residency::Unknown => false,
        }
    }

    /// Reads the slice into the page cache from this offset on, so that sending it does not wait for the disk.
    pub(crate) fn page_in(&self, first: u64) -> impl Future<Output = io::Result<()>> + use<> {
        let (file, residency, end) = (Arc::clone(&self.file), self.residency, self.end);
        waited_for(move || match residency {
            Residency::Reported | Residency::Always => read_all(&file, first, end),
            // It may be there already. Request all of it, then read one byte of each step to wait for it: copying everything
            // would cost more than sending it.
            Residency::Unknown => {
                will_need(&file, first, end);
                steps(first, end).try_for_each(|at| piece(&file, at, 1).map(|_| ()))
            }
        })
    }
}

/// Offsets of one byte in each step, and of the last byte.
fn steps(first: u64, end: u64) -> impl Iterator<Item = u64> {
    let steps =
        std::iter::successors(Some(first), |at| at.checked_add(STEP_BYTES)).take_while(move |at| *at < end);
    steps.chain(end.checked_sub(1))
}

fn read_all(file: &File, first: u64, end: u64) -> io::Result<()> {
    let mut at = first;
    while at < end {
        match piece(file, at, most(end - at))?.len() {
            0 => break,
            read => at += read as u64,
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn will_need(file: &File, first: u64, end: u64) {
    let length = std::num::NonZeroU64::new(end.saturating_sub(first));
    // This is only advice: if it fails, each read waits for its own pages.
    let _ = rustix::fs::fadvise(file, first, length, rustix::fs::Advice::WillNeed);
}

#[cfg(not(target_os = "linux"))]
fn will_need(_: &File, _: u64, _: u64) {}

/// Reads from an offset to an end.
pub(super) struct Reader {
    slice: FileSlice,
    next: u64,
    end: u64,
    reading: Option<BoxFuture<'static, io::Result<Bytes>>>,
}

impl Reader {
    /// The bytes from `first` up to `end`. Small bodies are read at once; larger ones can be sent with `sendfile`.
    pub(super) fn body(file: File, residency: Residency, first: u64, end: u64) -> io::Result<Body> {
        let length = end.saturating_sub(first);
        if length <= SMALL_BYTES {
            let bytes = piece(&file, first, most(length))?;
            return if bytes.len() as u64 == length {
                Ok(bytes.into())
            } else {
                Err(ErrorKind::UnexpectedEof.into())
            };
        }
        let slice = FileSlice::new(file, residency, first, end);
        let reader = Self { slice: slice.part(first, end), next: first, end, reading: None };
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
            if let Some(piece) = this.slice.read_resident(this.next, most) {
                return Poll::Ready(Some(this.took(piece)));
            }
            this.reading = Some(Box::pin(this.slice.read_disk(this.next, most)));
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

/// Reads bytes at an offset, at most [`PIECE_BYTES`]; none at the end of the file.
pub(super) fn piece(file: &File, offset: u64, most: usize) -> io::Result<Bytes> {
    let most = most.min(PIECE_BYTES);
    let mut bytes = Vec::with_capacity(most);
    while bytes.len() < most {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(most);
    Ok(bytes.into())
}

async fn waited_for<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::time::timeout(IO_TIMEOUT, disk::run(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(panicked)) => Err(panicked.into()),
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

/// Reads bytes only if they are in the page cache. That costs less than switching threads, also with a hundred readers of a
/// blob that has just arrived. `None`: use [`piece`] on a disk thread.
pub(super) fn read_resident(file: &File, residency: Residency, offset: u64, most: usize) -> Option<Bytes> {
    let bytes = match residency {
        Residency::Reported => {
            let mut bytes = vec![0; most.min(PIECE_BYTES)];
            let length = nowait(file, &mut bytes, offset).ok()?;
            bytes.truncate(length);
            bytes.into()
        }
        Residency::Always => piece(file, offset, most).ok()?,
        Residency::Unknown => return None,
    };
    Some(bytes).filter(|bytes: &Bytes| !bytes.is_empty())
}

#[cfg(target_os = "linux")]
fn nowait(file: &File, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    rustix::io::preadv2(file, &mut [io::IoSliceMut::new(into)], offset, flags)
}

#[cfg(not(target_os = "linux"))]
fn nowait(_: &File, _: &mut [u8], _: u64) -> Result<usize, Errno> {
    Err(Errno::NOTSUP)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    const LENGTH: u64 = 3 << 20;

    /// A file that the kernel has in memory only where it cannot be thrown out of it.
    fn put_out(folder: &Path) -> File {
        let mut file = tempfile::tempfile_in(folder).unwrap();
        file.write_all(&vec![7; 3 << 20]).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        file
    }

    #[tokio::test]
    async fn a_part_that_only_the_disk_has_is_brought_in() {
        let file = put_out(&std::env::temp_dir());
        let residency = Residency::of(&file);
        let slice = FileSlice::new(file, residency, 0, LENGTH);
        slice.page_in(0).await.unwrap();
        assert_eq!(slice.is_resident(0), residency != Residency::Unknown, "{residency:?}");
        assert_eq!(slice.is_resident(LENGTH - 1), residency != Residency::Unknown, "{residency:?}");
    }

    #[tokio::test]
    async fn where_the_file_system_does_not_say_all_of_a_part_is_brought_in_as_well() {
        let file = put_out(&std::env::temp_dir());
        let residency = Residency::of(&file);
        let untold = FileSlice::new(file, Residency::Unknown, 0, LENGTH);
        assert!(!untold.is_resident(0) && untold.read_resident(0, 10).is_none());
        untold.page_in(0).await.unwrap();
        let told = FileSlice { residency, ..untold.part(0, LENGTH) };
        assert_eq!(told.is_resident(0), residency != Residency::Unknown);
        assert_eq!(untold.read_disk(LENGTH - 10, 100).await.unwrap(), [7; 10].as_slice());
    }

    #[test]
    fn what_lies_in_memory_is_at_hand() {
        // The one file system without a disk that each Linux has.
        let file = put_out(Path::new("/dev/shm"));
        let residency = Residency::of(&file);
        assert_ne!(residency, Residency::Unknown);
        let slice = FileSlice::new(file, residency, 0, LENGTH);
        assert!(slice.is_resident(0));
        assert_eq!(slice.read_resident(LENGTH - 10, 100).unwrap(), [7; 10].as_slice());
        assert!(slice.read_resident(LENGTH, 100).is_none());
    }

    #[tokio::test]
    async fn a_file_that_has_become_shorter_ends_its_body_short() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 200_000]).unwrap();
        let short = file.try_clone().unwrap();
        let mut body = Reader::body(file, Residency::Reported, 0, 200_000).unwrap();
        assert_eq!(body.chunk().await.unwrap().unwrap().len(), READ_BYTES);
        short.set_len(READ_BYTES as u64).unwrap();
        let end = body.chunk().await.unwrap();
        assert!(matches!(end, Err(BodyError::Short { missing_bytes }) if missing_bytes == 200_000 - 65_536));
        assert!(body.chunk().await.is_none());
    }
}
