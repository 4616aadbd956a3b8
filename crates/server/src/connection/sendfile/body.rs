//! A body that is a part of a file, or the parts of a file that is still being written, as placeholders for hyper.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use registry_proxy_core::Body;
use registry_proxy_core::body::{BodyError, BodyPart, BodyParts, ByParts, Observe};

use super::{CAN_SEND, FilePart, Observer, PLACEHOLDER_BYTES, SendfileQueue};
use crate::store::FileSlice;

impl SendfileQueue {
    /// The body to give to hyper: placeholders if it is a file. Also returns whether it is.
    pub(in crate::connection) fn take(self: &Arc<Self>, body: Body) -> (Body, bool) {
        let Body::Native(native) = body else { return (body, false) };
        if !CAN_SEND || !(native.handle().is::<FileSlice>() || native.handle().is::<ByParts>()) {
            return (Body::Native(native), false);
        }
        let length = native.length();
        let (handle, observer) = native.take();
        let parts = match handle.downcast::<FileSlice>() {
            Ok(slice) => FileParts { slice: Some(*slice), rest: None },
            Err(handle) => match handle.downcast::<ByParts>() {
                Ok(by_parts) => FileParts { slice: None, rest: Some(by_parts.0) },
                Err(_) => return (Body::Empty, false),
            },
        };
        let Some(left) = parts.slice.as_ref().map(|slice| slice.end - slice.first).or(length) else {
            return (Body::Empty, false);
        };
        let observer = observer.map(|observer| Arc::new(Mutex::new(observer)));
        let direct = SendfileBody { queue: Arc::clone(self), parts, left, in_hand: 0, observer };
        (Body::stream(direct, Some(left)), true)
    }
}

/// The parts of a file that a body consists of.
struct FileParts {
    /// What is left of the part that is being sent.
    slice: Option<FileSlice>,
    /// Where the next parts come from, while the file is still being written.
    rest: Option<Box<dyn BodyParts>>,
}

impl FileParts {
    /// The next bytes: a part of the file of at most [`PLACEHOLDER_BYTES`], or bytes that are in memory.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Next, BodyError>>> {
        loop {
            if let Some(slice) = self.slice.take().filter(|slice| slice.first < slice.end) {
                let end = slice.end.min(slice.first + PLACEHOLDER_BYTES as u64);
                self.slice = Some(slice.part(end, slice.end));
                return Poll::Ready(Some(Ok(Next::File(slice.part(slice.first, end)))));
            }
            let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
            match ready!(rest.poll_part(cx)) {
                Some(Ok(BodyPart::Bytes(bytes))) => return Poll::Ready(Some(Ok(Next::Bytes(bytes)))),
                Some(Ok(BodyPart::Native { handle, .. })) => match handle.downcast::<FileSlice>() {
                    Ok(slice) => self.slice = Some(*slice),
                    Err(_) => return Poll::Ready(None),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

enum Next {
    File(FileSlice),
    Bytes(Bytes),
}

/// A body of placeholders for parts of a file.
struct SendfileBody {
    queue: Arc<SendfileQueue>,
    parts: FileParts,
    /// Bytes that are still to come.
    left: u64,
    /// Bytes that were in memory and handed on: they count as sent when the next ones are asked for.
    in_hand: u64,
    observer: Option<Observer>,
}

impl SendfileBody {
    fn tell(&self, what: impl FnOnce(&mut Box<dyn Observe>)) {
        if let Some(observer) = &self.observer {
            what(&mut observer.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn gone(&mut self) {
        match std::mem::take(&mut self.in_hand) {
            0 => {}
            bytes => self.tell(|observer| observer.arrived(bytes)),
        }
    }

    fn broke(&mut self, error: BodyError) -> BodyError {
        self.left = 0;
        self.tell(Observe::broke);
        error
    }
}

impl Drop for SendfileBody {
    fn drop(&mut self) {
        match std::mem::take(&mut self.in_hand) {
            0 => {}
            bytes => self.tell(|observer| observer.unfinished(bytes)),
        }
    }
}

impl http_body::Body for SendfileBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        this.gone();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let short = BodyError::Short { missing_bytes: this.left };
        let bytes = match this.parts.poll_next(cx) {
            Poll::Pending => {
                this.tell(Observe::awaited);
                return Poll::Pending;
            }
            Poll::Ready(None) => return Poll::Ready(Some(Err(this.broke(short)))),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(this.broke(error)))),
            Poll::Ready(Some(Ok(Next::Bytes(bytes)))) => {
                this.in_hand = bytes.len() as u64;
                bytes
            }
            Poll::Ready(Some(Ok(Next::File(slice)))) => {
                match this.queue.issue(FilePart { slice, observer: this.observer.clone() }) {
                    Some(placeholder) => placeholder,
                    None => return Poll::Ready(Some(Err(this.broke(short)))),
                }
            }
        };
        this.left = this.left.saturating_sub(bytes.len() as u64);
        this.tell(Observe::came);
        if this.left == 0 {
            // Nobody asks for more.
            this.gone();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
