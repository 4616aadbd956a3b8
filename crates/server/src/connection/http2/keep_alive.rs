//! Keep-alive pings: finds out whether the client of an HTTP/2 connection is still there.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// Pause between an answer and the next ping.
const EVERY: Duration = Duration::from_mins(1);
/// Time limit for an answer.
const PONG_TIMEOUT: Duration = Duration::from_secs(20);

/// Sends pings.
pub(super) struct KeepAlive {
    pings: Option<PingPong>,
    next: Pin<Box<Sleep>>,
    is_asked: bool,
}

impl KeepAlive {
    pub(super) fn new(pings: Option<PingPong>) -> Self {
        Self { pings, next: Box::pin(sleep(EVERY)), is_asked: false }
    }

    /// Returns when a ping was not answered in time. Cancel safe.
    pub(super) async fn stopped(&mut self) {
        poll_fn(|cx| {
            let Some(pings) = &mut self.pings else { return Poll::Pending };
            loop {
                if self.is_asked
                    && let Poll::Ready(answered) = pings.poll_pong(cx)
                {
                    if answered.is_err() {
                        // The connection has ended; its driver sees that.
                        return Poll::Pending;
                    }
                    self.is_asked = false;
                    self.next.as_mut().reset(Instant::now() + EVERY);
                }
                ready!(self.next.as_mut().poll(cx));
                if self.is_asked {
                    return Poll::Ready(());
                }
                if pings.send_ping(Ping::opaque()).is_err() {
                    return Poll::Pending;
                }
                self.is_asked = true;
                self.next.as_mut().reset(Instant::now() + PONG_TIMEOUT);
            }
        })
        .await;
    }
}
