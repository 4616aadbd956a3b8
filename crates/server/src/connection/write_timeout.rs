//! Fails writes when the client takes too few bytes for too long.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::idle_timeouts::{ActivityGuard, IdleTimeouts, PACE_BYTES, WaitTime};

/// A stream whose writes fail with [`io::ErrorKind::TimedOut`] after the stall timeout. A connection with a blocked write
/// is not idle.
pub(super) struct WriteTimeout<S> {
    stream: S,
    timeouts: Arc<IdleTimeouts>,
    waiting: Option<BlockedWrite>,
    pace: Pace,
    look: Option<Pin<Box<Sleep>>>,
}

/// A write that waits for the socket.
struct BlockedWrite {
    /// Since when it has been waiting for the client; `None`: it waits for the disk.
    since: Option<Instant>,
    _activity: ActivityGuard,
}

/// Measures how slow a client is, since one that takes a byte now and then would never time out otherwise.
#[derive(Default)]
struct Pace {
    /// Waiting time of all writes ...
    behind: Duration,
    /// ... until the client had taken this many bytes.
    taken: usize,
}

impl Pace {
    fn took(&mut self, bytes: usize, waited: Duration) {
        self.behind += waited;
        self.taken += bytes;
        if self.taken >= PACE_BYTES || self.behind.is_zero() {
            *self = Self::default();
        }
    }
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(stream: S, timeouts: Arc<IdleTimeouts>) -> Self {
        Self { stream, timeouts, waiting: None, pace: Pace::default(), look: None }
    }

    /// Checks the result of a write; `taken`: how many bytes it wrote.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
        taken: fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = &polled {
            let waited = self.waiting.take().and_then(|waiting| waiting.since).map(|since| since.elapsed());
            self.pace.took(done.as_ref().map_or(0, taken), waited.unwrap_or_default());
            return polled;
        }
        let activity = self.timeouts.activity();
        let waiting =
            self.waiting.get_or_insert_with(|| BlockedWrite { since: None, _activity: activity.begin() });
        if self.timeouts.waits_for_disk() {
            waiting.since = None;
            return Poll::Pending;
        }
        let mut is_new = waiting.since.is_none();
        let since = *waiting.since.get_or_insert_with(Instant::now);
        let (timeouts, behind) = (&self.timeouts, self.pace.behind);
        // When to check again; `None`: it has timed out.
        let next = || {
            let waited = since.elapsed();
            let waited = WaitTime::new(waited, behind + waited, timeouts.holds());
            (!timeouts.has_stalled(waited)).then(|| Instant::now() + timeouts.next_check(waited))
        };
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(Duration::ZERO)));
        while is_new || look.as_mut().poll(cx).is_ready() {
            is_new = false;
            let Some(next) = next() else { return Poll::Ready(Err(io::ErrorKind::TimedOut.into())) };
            look.as_mut().reset(next);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, polled, |taken| *taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, polled, |taken| *taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, polled, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, polled, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::body::{Held, InFlight};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;
    use crate::connection_limits::SlotStatus;

    const STALL: Duration = Duration::from_mins(1);

    /// The timeouts of a connection while another one makes memory scarce.
    fn scarce() -> (Arc<IdleTimeouts>, Held) {
        let in_flight = InFlight::new(1, true);
        let held = in_flight.count(2);
        (IdleTimeouts::new(STALL, &in_flight, SlotStatus::ordinary()), held)
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_takes_ends_after_the_stall_and_any_byte_taken_begins_it_anew() {
        let (mut client, server) = tokio::io::duplex(4);
        let mut server = WriteTimeout::new(server, IdleTimeouts::of_test());
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
    async fn while_memory_is_scarce_it_ends_sooner_for_who_holds_some() {
        for (holds, expected) in [(true, 10), (false, 60)] {
            let (_client, server) = tokio::io::duplex(4);
            let (timeouts, _held) = scarce();
            let piece = holds.then(|| timeouts.count(14));
            let mut server = WriteTimeout::new(server, timeouts);
            let begun = Instant::now();
            assert!(server.write_all(b"more than four").await.is_err());
            assert_eq!(begun.elapsed().as_secs(), expected, "it holds some: {holds}");
            drop(piece);
        }
    }

    /// Writes pieces of 64 KiB to a client that takes so many bytes every two seconds; returns how long it is served.
    async fn served(bytes: usize, timeouts: Arc<IdleTimeouts>) -> Duration {
        let (mut client, server) = tokio::io::duplex(1024);
        let _held = timeouts.count(1);
        let mut server = WriteTimeout::new(server, timeouts);
        let begun = Instant::now();
        let reading = async {
            let mut read = vec![0; bytes];
            while client.read_exact(&mut read).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        };
        let writing = async { while server.write_all(&vec![0; 64 << 10]).await.is_ok() {} };
        let both = async {
            tokio::select! {
                () = writing => {}
                () = reading => {}
            }
        };
        let _ = timeout(Duration::from_mins(2), both).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn while_memory_is_scarce_a_byte_now_and_then_is_not_enough() {
        let (timeouts, _held) = scarce();
        assert_eq!(served(1, Arc::clone(&timeouts)).await.as_secs(), 10, "a byte");
        assert_eq!(served(16 << 10, timeouts).await.as_secs(), 120, "80 KiB in ten seconds");
        assert_eq!(served(1, IdleTimeouts::of_test()).await.as_secs(), 120, "there is room for all");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_not_blamed_for_the_disk() {
        let (mut client, server) = tokio::io::duplex(4);
        let timeouts = IdleTimeouts::of_test();
        timeouts.set_waits_for_disk(true);
        let mut server = WriteTimeout::new(server, Arc::clone(&timeouts));
        let mut writing = Box::pin(server.write_all(b"more than four"));
        assert!(timeout(STALL * 5, writing.as_mut()).await.is_err());
        timeouts.set_waits_for_disk(false);
        assert!(timeout(STALL / 2, writing.as_mut()).await.is_err(), "from then on");
        client.read_u8().await.unwrap();
        drop(client);
        assert_eq!(writing.await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
