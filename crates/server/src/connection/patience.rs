//! How long a client may ask nothing, and how long it may take nothing of an HTTP/2 body.
//!
//! On HTTP/1.1 a client that takes nothing stops the socket, which has a timeout of its own. On HTTP/2 it can go on
//! answering pings and never open its window: then only the body shows that nothing is taken.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use registry_proxy_core::Body;
use registry_proxy_core::body::BodyError;
use tokio::time::{Instant, sleep};

/// The requests under way on a connection, and when the last one ended.
pub(super) struct Activity {
    under_way: AtomicUsize,
    ended: Stamp,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let ended = Stamp::new();
        ended.set();
        Arc::new(Self { under_way: AtomicUsize::new(0), ended })
    }

    /// A request begins; it ends when this is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Returns once nothing has been under way for so long, and not sooner than after so long.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut wait = limit;
        while !wait.is_zero() {
            sleep(wait).await;
            wait = match self.under_way.load(Ordering::Relaxed) {
                0 => limit.saturating_sub(self.ended.age().unwrap_or_default()),
                _ => limit,
            };
        }
    }
}

/// A request, from its head to the end of its answer.
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.ended.set();
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

tokio::task_local! {
    /// What the body of this HTTP/2 stream waits for.
    static WAITING: Arc<Stamp>;
}

/// Runs the streams of an HTTP/2 connection. One whose client takes nothing for too long is dropped, which resets it.
#[derive(Clone, Copy)]
pub(super) struct Streams {
    pub(super) stall: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let (waiting, limit) = (Arc::new(Stamp::new()), self.stall);
        let stream = WAITING.scope(Arc::clone(&waiting), stream);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = stream => {}
                () = waiting.older_than(limit) => {
                    tracing::debug!("a client took nothing of a body for timeouts.client_stall; its stream is reset");
                }
            }
        });
    }
}

/// An answer's body on its way to a client.
pub(super) struct Leaving {
    body: Body,
    /// On HTTP/2: since when a piece waits for the client to take it.
    waiting: Option<Arc<Stamp>>,
    _under_way: UnderWay,
}

impl Leaving {
    pub(super) fn new(body: Body, under_way: UnderWay) -> Self {
        Self { body, waiting: WAITING.try_with(Arc::clone).ok(), _under_way: under_way }
    }
}

impl http_body::Body for Leaving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(waiting) = &self.waiting {
            // Whoever asks for the next piece has got rid of the last one.
            match &polled {
                Poll::Ready(Some(Ok(_))) => waiting.set(),
                Poll::Pending | Poll::Ready(_) => waiting.clear(),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A point in time that several may set and read, or none.
struct Stamp {
    origin: Instant,
    /// Milliseconds since then, and one more; 0 for none.
    millis: AtomicU64,
}

impl Stamp {
    fn new() -> Self {
        Self { origin: Instant::now(), millis: AtomicU64::new(0) }
    }

    fn set(&self) {
        let millis = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.millis.store(millis + 1, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.millis.store(0, Ordering::Relaxed);
    }

    /// How long ago it was.
    fn age(&self) -> Option<Duration> {
        let millis = self.millis.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.origin.elapsed().saturating_sub(Duration::from_millis(millis)))
    }

    /// Returns once it is older than that.
    async fn older_than(&self, limit: Duration) {
        let mut wait = limit;
        while !wait.is_zero() {
            sleep(wait).await;
            wait = self.age().map_or(limit, |age| limit.saturating_sub(age));
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use hyper::rt::Executor as _;
    use registry_proxy_core::platform::Sleep;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    const STALL: Duration = Duration::from_secs(10);

    /// Three pieces, each of which takes as long to come.
    struct Slow(usize, Duration, Option<Sleep>);

    impl http_body::Body for Slow {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            let pause = self.1;
            let wait = self.2.get_or_insert_with(|| Box::pin(sleep(pause)));
            std::task::ready!(wait.as_mut().poll(cx));
            self.2 = None;
            self.0 += 1;
            Poll::Ready((self.0 <= 3).then(|| Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    /// Whether a stream comes to its end, whose pieces take so long to come, and so long to go.
    async fn ends(coming: Duration, going: Duration) -> bool {
        let (told, end) = oneshot::channel();
        Streams { stall: STALL }.execute(async move {
            let mut body = Leaving::new(Body::stream(Slow(0, coming, None), None), Activity::new().begin());
            while std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some() {
                sleep(going).await;
            }
            let _ = told.send(());
        });
        end.await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_dropped_when_its_client_takes_nothing_and_not_when_nothing_comes() {
        assert!(ends(STALL * 3, Duration::ZERO).await, "the upstream is slow");
        assert!(ends(Duration::ZERO, Duration::from_secs(9)).await, "the client is slow");
        let begun = Instant::now();
        assert!(!ends(Duration::from_secs(7), STALL * 3).await, "the client takes nothing");
        assert_eq!(begun.elapsed().as_secs(), 17, "from when the piece was there");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_the_end_of_its_last_request() {
        let activity = Activity::new();
        let request = activity.begin();
        assert!(timeout(STALL * 5, activity.idle(STALL)).await.is_err(), "one is under way");
        drop(request);
        let begun = Instant::now();
        let later = async {
            sleep(Duration::from_secs(9)).await;
            drop(activity.begin());
        };
        tokio::join!(activity.idle(STALL), later);
        assert_eq!(begun.elapsed().as_secs(), 19);
    }
}
