//! A stored blob on its way to a client, held against its digest while it goes: the first time after a start, and
//! whenever the stored bytes may have changed. Its last piece is withheld until the digest agrees, so that what rotted
//! on a disk is never served whole, and not at all a second time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::Cache;
use crate::body::{Body, BodyError};
use crate::digest::{Digest, Hasher};
use crate::platform::{Mark, Stat};

pub(super) struct Verifying {
    cache: Arc<Cache>,
    digest: Digest,
    mark: Mark,
    inner: Body,
    hasher: Option<Hasher>,
    length: u64,
    missing_bytes: u64,
    /// The piece before the one that is awaited.
    held: Option<Bytes>,
}

impl Verifying {
    /// `None`: an algorithm that we cannot compute.
    pub(super) fn new(cache: Arc<Cache>, digest: &Digest, stat: &Stat, inner: Body) -> Option<Self> {
        Some(Self {
            cache,
            mark: stat.mark.clone(),
            inner,
            hasher: Some(Hasher::new(digest)?),
            digest: digest.clone(),
            length: stat.length,
            missing_bytes: stat.length,
            held: None,
        })
    }

    /// The end, or what cannot be read on.
    fn wrong(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.hasher = None;
        let missing_bytes =
            self.held.take().map_or(self.missing_bytes, |held| self.missing_bytes + held.len() as u64);
        self.cache.distrust(&self.digest, self.mark.clone());
        Poll::Ready(Some(Err(BodyError::Short { missing_bytes })))
    }
}

impl http_body::Body for Verifying {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if this.hasher.is_none() {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if bytes.is_empty() {
                        continue;
                    }
                    if let Some(hasher) = &mut this.hasher {
                        hasher.update(&bytes);
                    }
                    this.missing_bytes = this.missing_bytes.saturating_sub(bytes.len() as u64);
                    if let Some(before) = this.held.replace(bytes) {
                        return Poll::Ready(Some(Ok(Frame::data(before))));
                    }
                }
                None => {
                    let is_right = this.hasher.take().is_some_and(|hasher| hasher.is(&this.digest));
                    if !is_right || this.missing_bytes > 0 {
                        return this.wrong();
                    }
                    this.cache.trust(&this.digest, this.mark.clone());
                    return Poll::Ready(this.held.take().map(|last| Ok(Frame::data(last))));
                }
                // A disk that cannot be read is no better than one that lies.
                Some(Err(_)) => return this.wrong(),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
