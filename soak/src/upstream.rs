//! The upstream: an HTTP/1.1 server in this process, which can be down, slow or busy.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use registry_proxy_outer::Outcome;
use registry_proxy_outer::http::{Body, empty, text};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::content::{Blob, Content};

/// A slow one waits so long before its answer, and before each piece of 64 KiB.
const SLOW_START: Duration = Duration::from_secs(1);
const SLOW_PIECE: Duration = Duration::from_millis(50);

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Connections are refused, and those that were open are closed.
    Down,
    Slow,
    /// Every answer is 429.
    TooManyRequests,
}

pub(crate) struct Upstream {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    desk: Arc<Desk>,
}

struct Desk {
    content: Arc<Content>,
    weather: watch::Receiver<Weather>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Upstream {
    pub(crate) fn start(runtime: &Handle, address: SocketAddr, content: Arc<Content>) -> Outcome<Self> {
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let (weather, told) = watch::channel(Weather::Fair);
        let desk = Arc::new(Desk { content, weather: told.clone(), requests: 0.into(), bytes: 0.into() });
        runtime.spawn(serve(listener, address, told, Arc::clone(&desk)));
        Ok(Self { address, weather, desk })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    pub(crate) fn weather(&self) -> Weather {
        *self.weather.borrow()
    }

    /// Requests so far, and bytes of bodies.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.desk.requests.load(Ordering::Relaxed), self.desk.bytes.load(Ordering::Relaxed))
    }
}

async fn serve(first: TcpListener, address: SocketAddr, mut weather: watch::Receiver<Weather>, desk: Arc<Desk>) {
    let (mut listener, mut connections) = (Some(first), JoinSet::new());
    loop {
        let is_down = *weather.borrow_and_update() == Weather::Down;
        if is_down {
            listener = None;
            connections.shutdown().await;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        tokio::select! {
            changed = weather.changed() => if changed.is_err() { return },
            stream = accept(listener.as_ref()) => {
                connections.spawn(speak(stream, Arc::clone(&desk)));
            }
            Some(_) = connections.join_next() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return pending().await };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
        // No descriptor is left, or the client has gone.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn speak(stream: TcpStream, desk: Arc<Desk>) {
    // Without it the system may be no worse than slow.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(&request).await) }
    });
    // A client that goes away is no concern of an upstream.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Desk {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let weather = *self.weather.borrow();
        match weather {
            Weather::Fair | Weather::Down => {}
            Weather::Slow => tokio::time::sleep(SLOW_START).await,
            Weather::TooManyRequests => {
                return text(StatusCode::TOO_MANY_REQUESTS, r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#);
            }
        }
        let path = request.uri().path();
        if path == "/v2/" {
            return text(StatusCode::OK, "{}");
        }
        let Some((digest, blob)) = self.find(path) else {
            return text(StatusCode::NOT_FOUND, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#);
        };
        let length = blob.length();
        let (status, range) = match part(request.headers(), length) {
            Part::Whole => (StatusCode::OK, 0..length),
            Part::Of(range) => (StatusCode::PARTIAL_CONTENT, range),
            Part::Beyond => return empty(StatusCode::RANGE_NOT_SATISFIABLE),
        };
        let mut response = if *request.method() == Method::HEAD {
            empty(status)
        } else {
            self.bytes.fetch_add(range.end - range.start, Ordering::Relaxed);
            let mut response = Response::new(self.body(&blob, range.clone(), weather));
            *response.status_mut() = status;
            response
        };
        let headers = response.headers_mut();
        let mut set = |name, value: String| {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        };
        set(CONTENT_LENGTH, (range.end - range.start).to_string());
        set(CONTENT_TYPE, blob.media_type().to_owned());
        set(ACCEPT_RANGES, "bytes".to_owned());
        set(http::HeaderName::from_static("docker-content-digest"), digest);
        if status == StatusCode::PARTIAL_CONTENT {
            set(CONTENT_RANGE, format!("bytes {}-{}/{length}", range.start, range.end.saturating_sub(1)));
        }
        response
    }

    /// The digest that a path names, and what it stands for.
    fn find(&self, path: &str) -> Option<(String, Blob)> {
        let path = path.strip_prefix("/v2/")?;
        let digest = if let Some((repository, reference)) = path.rsplit_once("/manifests/") {
            if reference.starts_with("sha256:") {
                reference.to_owned()
            } else {
                self.content.tagged(repository, reference)?.to_string()
            }
        } else {
            path.rsplit_once("/blobs/")?.1.to_owned()
        };
        let blob = self.content.blob(&digest)?;
        Some((digest, blob))
    }

    fn body(&self, blob: &Blob, range: Range<u64>, weather: Weather) -> Body {
        let pieces = match blob {
            Blob::Layer { seed, .. } => self.content.pieces(*seed, range),
            Blob::Config(bytes) | Blob::Manifest(bytes) => {
                let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
                vec![bytes.slice(at(range.start)..at(range.end))]
            }
        };
        let wait = if weather == Weather::Slow { SLOW_PIECE } else { Duration::ZERO };
        let frames = stream::iter(pieces).then(move |piece: Bytes| async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            Ok(Frame::data(piece))
        });
        BodyExt::boxed(StreamBody::new(frames))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Of(Range<u64>),
    Beyond,
}

/// What of so many bytes a request asks for: one range with a beginning, or all of it.
fn part(headers: &HeaderMap, length: u64) -> Part {
    let asked = headers.get(RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes="));
    let Some((first, last)) = asked.and_then(|asked| asked.split_once('-')) else { return Part::Whole };
    let Ok(first) = first.parse::<u64>() else { return Part::Whole };
    let end =
        if last.is_empty() { Some(length) } else { last.parse::<u64>().ok().map(|last| last.saturating_add(1)) };
    match end {
        None => Part::Whole,
        Some(_) if first >= length => Part::Beyond,
        Some(end) => Part::Of(first..end.min(length).max(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_off_at_the_end() {
        let asked = |range: &str| part(&HeaderMap::from_iter([(RANGE, range.parse().unwrap())]), 100);
        assert_eq!(asked("bytes=10-19"), Part::Of(10..20));
        assert_eq!(asked("bytes=10-"), Part::Of(10..100));
        assert_eq!(asked("bytes=90-200"), Part::Of(90..100));
        assert_eq!(asked("bytes=100-"), Part::Beyond);
        assert_eq!(part(&HeaderMap::new(), 100), Part::Whole);
    }
}
