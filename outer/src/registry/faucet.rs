//! A registry with one large blob, which comes no faster than it is let: all its connections together have the rate
//! of one. It counts what it sends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};

use crate::Outcome;
use crate::digest::Hasher;
use crate::http::{Body, Handler, Pace, Server, empty, text};

/// What is sent at once.
const PIECE_BYTES: u64 = 64 << 10;
/// The registry.
pub struct Faucet {
    server: Server,
    tap: Arc<Tap>,
}

struct Tap {
    digest: String,
    length: u64,
    pace: Pace,
    pattern: Bytes,
    sent: AtomicU64,
    asked: Mutex<Vec<String>>,
    begun: OnceLock<Instant>,
}

impl Faucet {
    pub fn start(mebibytes: u64, bytes_per_second: u64) -> Outcome<Self> {
        let length = mebibytes << 20;
        let pattern = pattern();
        let mut hasher = Hasher::new();
        for offset in (0..length).step_by(usize::try_from(PIECE_BYTES)?) {
            hasher.update(&piece(&pattern, offset, length));
        }
        let tap = Arc::new(Tap {
            digest: hasher.finish(),
            length,
            pace: Pace::new(bytes_per_second),
            pattern,
            sent: AtomicU64::new(0),
            asked: Mutex::default(),
            begun: OnceLock::new(),
        });
        let server = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::clone(&tap))?;
        Ok(Self { server, tap })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The digest of its blob.
    pub fn digest(&self) -> &str {
        &self.tap.digest
    }

    /// The length of its blob, in bytes.
    pub fn length(&self) -> u64 {
        self.tap.length
    }

    /// Whether its blob has these bytes there. Cheaper than a digest of one's own: a hundred clients that hash leave a
    /// small machine no time for what they measure.
    pub fn has(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() && at < self.tap.length {
            let right = piece(&self.tap.pattern, at, self.tap.length);
            let length = right.len().min(rest.len());
            if rest[..length] != right[..length] {
                return false;
            }
            rest = &rest[length..];
            at += length as u64;
        }
        rest.is_empty()
    }

    /// Bytes of the blob that it has sent so far, to whomever.
    pub fn sent(&self) -> u64 {
        self.tap.sent.load(Ordering::Relaxed)
    }

    /// What it was asked for, in order: method, and range if there was one.
    pub fn asked(&self) -> Vec<String> {
        self.tap.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When it sent its first byte.
    pub fn begun(&self) -> Option<Instant> {
        self.tap.begun.get().copied()
    }
}

impl Handler for Tap {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        async move { self.answer(&request) }.boxed()
    }
}

impl Tap {
    fn answer(self: Arc<Self>, request: &Request<Incoming>) -> Outcome<Response<Body>> {
        if request.uri().path() == "/v2/" {
            return Ok(text(StatusCode::OK, "{}"));
        }
        if !request.uri().path().ends_with(&format!("/blobs/{}", self.digest)) {
            return Ok(text(StatusCode::NOT_FOUND, "no such blob"));
        }
        let range = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
        let what = format!("{} {}", request.method(), range.unwrap_or("whole"));
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        let length = self.length;
        let (first, end) = range.and_then(|range| bounds(range, length)).unwrap_or((0, length));
        let mut response = empty(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
        if request.method() == Method::GET {
            *response.body_mut() = self.flow(first, end);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - first));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if range.is_some() {
            let value = format!("bytes {first}-{}/{length}", end - 1);
            headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&value)?);
        }
        Ok(response)
    }

    fn flow(self: Arc<Self>, first: u64, end: u64) -> Body {
        let frames = stream::unfold((self, first), move |(tap, offset)| async move {
            if offset >= end {
                return None;
            }
            let piece = piece(&tap.pattern, offset, end);
            let length = piece.len() as u64;
            tap.pace.turn(length).await;
            tap.sent.fetch_add(length, Ordering::Relaxed);
            tap.begun.get_or_init(Instant::now);
            Some((Ok(Frame::data(piece)), (tap, offset + length)))
        });
        StreamBody::new(frames).boxed()
    }
}

/// `bytes=a-b`, `bytes=a-`: from where, to behind what.
fn bounds(range: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = last.parse::<u64>().map_or(length, |last| (last + 1).min(length));
    Some((first.parse().ok()?, end))
}

/// Noise, twice as long as a piece.
fn pattern() -> Bytes {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let numbers = (0..2 * PIECE_BYTES / 8).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    numbers.flat_map(u64::to_le_bytes).collect::<Vec<u8>>().into()
}

/// What lies at `offset`, at most to the end of its piece. Each piece begins elsewhere in the noise: one that is lost,
/// doubled or moved is noticed.
fn piece(pattern: &Bytes, offset: u64, end: u64) -> Bytes {
    let (number, skip) = (offset / PIECE_BYTES, offset % PIECE_BYTES);
    let start = number * 7919 % PIECE_BYTES + skip;
    let length = (PIECE_BYTES - skip).min(end - offset);
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    pattern.slice(at(start)..at(start + length))
}
