//! HTTP/2 frames as a client may send them, into a connection in memory and in virtual time: a fuzz target.
//!
//! It is here, and not in `fuzz/`, because a connection is private to this crate. `cargo xtask fuzz http2` builds this crate
//! with the feature `libfuzzer`, which gives it libFuzzer's `main`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use registry_proxy_core::body::InFlight;
use registry_proxy_core::{Body, Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::context::ConnectionContext;
use super::handler::RequestHandler;
use super::speak;
use super::write_timeout::WriteTimeout;
use crate::connection_limits::SlotStatus;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A SETTINGS frame without any setting (RFC 9113 section 6.5), with which a client begins.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The least that a request takes: the head of a HEADERS frame (RFC 9113 section 4.1).
const FRAME_HEAD: usize = 9;
/// Streams at once that a connection answers.
const STREAMS: usize = 100;

const ANSWER: usize = 100 << 10;
/// Memory that all responses may take (`limits.in_flight`).
const IN_FLIGHT: u64 = 1 << 20;
/// What the connection may buffer beyond that: a chunk on its way for each stream.
const BEYOND: u64 = (STREAMS * (64 << 10)) as u64;
/// The proxy answers within `timeouts.head`.
const SLOW: Duration = Duration::from_secs(25);
/// By then a connection is closed: its streams stall (5 min), a response follows, and it is idle (2 min).
const PATIENCE: Duration = Duration::from_mins(30);

/// How a client behaves: the bits of the first byte.
#[derive(Clone, Copy)]
struct Manner(u8);

impl Manner {
    /// Its side stays open after its last byte.
    fn stays(self) -> bool {
        self.0 & 1 != 0
    }

    /// It reads nothing.
    fn is_deaf(self) -> bool {
        self.0 & 2 != 0
    }

    /// It sends a few bytes at a time.
    fn trickles(self) -> bool {
        self.0 & 4 != 0
    }

    /// It does not send SETTINGS before the bytes of the input.
    fn is_raw(self) -> bool {
        self.0 & 8 != 0
    }
}

/// Answers by the path of a request.
struct Answers {
    asked: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

/// A request that is being answered.
struct Open<'a>(&'a Answers);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RequestHandler for Answers {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_open.fetch_max(open, Ordering::Relaxed);
            let _open = Open(self);
            let (head, mut body) = request.into_parts();
            // As a push does, it waits for the client's bytes, and not for ever.
            let read = async { while let Some(Ok(_)) = body.chunk().await {} };
            let _ = timeout(SLOW, read).await;
            let answer = Bytes::from(vec![7; ANSWER]);
            Response::new(match head.uri.path() {
                "/slow" => {
                    sleep(SLOW).await;
                    Body::Empty
                }
                "/stream" => Body::stream(Full::new(answer).map_err(|never| match never {}), None),
                _ => Body::from(answer),
            })
        }
        .boxed()
    }
}

/// The target.
///
/// # Panics
///
/// Where a connection does not end, answers more than it was asked, or keeps memory.
pub(crate) fn http2(bytes: &[u8]) {
    let Some((manner, frames)) = bytes.split_first() else { return };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let in_flight = InFlight::new(IN_FLIGHT, true);
    runtime.block_on(connection(Manner(*manner), frames, &in_flight));
    // Streams end with their tasks.
    drop(runtime);
    assert_eq!(in_flight.held_bytes(), 0, "no memory is kept after the end");
}

async fn connection(manner: Manner, frames: &[u8], in_flight: &Arc<InFlight>) {
    let answers = Arc::new(Answers {
        asked: AtomicUsize::new(0),
        open: AtomicUsize::new(0),
        most_open: AtomicUsize::new(0),
    });
    let context = ConnectionContext::new(&Config::default(), in_flight, SlotStatus::ordinary(), None);
    let (client, far) = duplex(64 << 10);
    let stream = WriteTimeout::new(far, Arc::clone(&context.timeouts));
    let (_drains, drain) = watch::channel(false);
    let handler = Arc::clone(&answers);
    let served = async move { timeout(PATIENCE, speak(stream, None, handler, context, drain)).await };
    let most_held = async {
        let mut most = 0;
        loop {
            most = in_flight.held_bytes().max(most);
            assert!(most <= IN_FLIGHT + BEYOND, "{most} bytes in memory");
            sleep(Duration::from_secs(1)).await;
        }
    };
    let both = async { tokio::join!(served, use_it(client, manner, frames)) };
    let (ended, received) = tokio::select! {
        both = both => both,
        never = most_held => never,
    };
    assert!(ended.is_ok(), "the connection is open after {PATIENCE:?}");
    let asked = answers.asked.load(Ordering::Relaxed);
    assert!(asked <= frames.len() / FRAME_HEAD, "{asked} requests in {} bytes", frames.len());
    let most_open = answers.most_open.load(Ordering::Relaxed);
    assert!(most_open <= STREAMS, "{most_open} requests at once");
    // Each answer, and as much again for heads and frames; besides, an answer to each frame, and to SETTINGS and pings.
    let most = asked * 2 * ANSWER + frames.len() * 4 + (64 << 10);
    assert!(received <= most, "{received} bytes for {asked} requests");
}

/// What the client does; the bytes that it gets.
async fn use_it(mut client: DuplexStream, manner: Manner, frames: &[u8]) -> usize {
    let begin = if manner.is_raw() { &[] } else { SETTINGS };
    let sent = [PREFACE, begin, frames].concat();
    let (mut from, mut to) = tokio::io::split(&mut client);
    let sending = async {
        for piece in sent.chunks(if manner.trickles() { 7 } else { sent.len() }) {
            if to.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if !manner.stays() {
            let _ = to.shutdown().await;
        }
    };
    let receiving = async {
        let (mut received, mut piece) = (0, vec![0; 16 << 10]);
        if manner.is_deaf() {
            // Longer than any connection is open.
            sleep(2 * PATIENCE).await;
        }
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            received += length;
        }
        received
    };
    tokio::join!(sending, receiving).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection for each costs more than a parser does.
    const CHANGES: usize = 500;

    #[test]
    fn whatever_frames_a_client_sends_its_connection_ends() {
        registry_proxy_fuzz::replay("http2", http2, CHANGES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_input_is_a_request_and_gets_its_answer() {
        let input = include_bytes!("../../../../fuzz/corpus/http2/get");
        let manner = Manner(1 | 4);
        let in_flight = InFlight::new(IN_FLIGHT, true);
        let context = ConnectionContext::new(&Config::default(), &in_flight, SlotStatus::ordinary(), None);
        let answers = Answers { asked: 0.into(), open: 0.into(), most_open: 0.into() };
        let (client, server) = duplex(64 << 10);
        let (_drains, drain) = watch::channel(false);
        tokio::spawn(speak(server, None, Arc::new(answers), context, drain));
        let received = timeout(PATIENCE, use_it(client, manner, &input[1..])).await.expect("the connection ends");
        // Less than a window of 65,535 bytes comes, because this client opens it no further.
        assert!((65_535..66_500).contains(&received), "{received} bytes");
    }
}
