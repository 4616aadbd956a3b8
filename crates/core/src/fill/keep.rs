//! A range that one client reads from the upstream, kept on its way: a lazy puller's next ranges, and the next who
//! wants the whole, need not fetch it again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use event_listener::EventListener;
use http_body::{Frame, SizeHint};

use super::spool::Spool;
use crate::body::{Body, BodyError};
use crate::platform::Tasks;
use crate::sync::Event;

/// A body that is written to a spool before it goes on. Where the store fails, it goes on all the same.
pub(crate) struct Keep {
    inner: Body,
    spool: Arc<Spool>,
    position: u64,
    tasks: Arc<dyn Tasks>,
    writing: Option<(EventListener, Bytes)>,
}

impl Keep {
    /// `position`: offset in the blob of the body's first byte.
    pub(crate) fn new(inner: Body, spool: Arc<Spool>, position: u64, tasks: Arc<dyn Tasks>) -> Self {
        Self { inner, spool, position, tasks, writing: None }
    }
}

impl http_body::Body for Keep {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if let Some((written, _)) = &mut this.writing {
                ready!(Pin::new(written).poll(cx));
                let bytes = this.writing.take().map(|(_, bytes)| bytes).unwrap_or_default();
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            let Ok(bytes) = frame.into_data() else { continue };
            let offset = this.position;
            this.position += bytes.len() as u64;
            // A task of its own: the client may go away at any moment, and a write must not end half-way.
            let over = Event::new();
            let listener = over.listen();
            let (spool, copy) = (Arc::clone(&this.spool), bytes.clone());
            this.tasks.spawn(Box::pin(async move {
                // A store that fails makes the spool say so, and the draft for the log; the client's bytes go on.
                let _ = spool.write(offset, &copy).await;
                over.notify(usize::MAX);
            }));
            this.writing = Some((listener, bytes));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.writing.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
