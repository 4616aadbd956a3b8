//! A socket that ends when its client takes nothing of what is there for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::patience::Patience;

/// Ends its writes with [`io::ErrorKind::TimedOut`] once one has waited for as long as its patience.
pub(super) struct Stalling<S> {
    stream: S,
    patience: Arc<Patience>,
    /// Since when a write waits.
    since: Option<Instant>,
    look: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    pub(super) fn new(stream: S, patience: Arc<Patience>) -> Self {
        Self { stream, patience, since: None, look: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.since = None;
            return polled;
        }
        let now = Instant::now();
        let is_new = self.since.is_none();
        let since = *self.since.get_or_insert(now);
        let after = self.patience.look_after(now - since);
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(after)));
        if is_new {
            look.as_mut().reset(now + after);
        }
        while look.as_mut().poll(cx).is_ready() {
            let waited = since.elapsed();
            if self.patience.is_over(waited) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            look.as_mut().reset(Instant::now() + self.patience.look_after(waited));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use registry_proxy_core::body::InFlight;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const STALL: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_takes_ends_after_the_stall_and_any_byte_taken_begins_it_anew() {
        let (mut client, server) = tokio::io::duplex(4);
        let mut server = Stalling::new(server, Patience::new(STALL, &InFlight::new(1 << 20, true)));
        let begun = Instant::now();
        let writing = server.write_all(b"more than four");
        let reading = async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            client.read_u8().await
        };
        let (written, read) = tokio::join!(writing, reading);
        assert_eq!((written.map_err(|error| error.kind()), read.ok()), (Err(io::ErrorKind::TimedOut), Some(b'm')));
        assert_eq!(begun.elapsed().as_secs(), 110);
    }

    #[tokio::test(start_paused = true)]
    async fn while_memory_is_scarce_it_ends_sooner() {
        let (_client, server) = tokio::io::duplex(4);
        let in_flight = InFlight::new(1, true);
        let _held = in_flight.count(2);
        let mut server = Stalling::new(server, Patience::new(STALL, &in_flight));
        let begun = Instant::now();
        assert!(server.write_all(b"more than four").await.is_err());
        assert_eq!(begun.elapsed().as_secs(), 10);
    }
}
