//! How connections to upstreams are used, seen from the upstream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use registry_proxy_core::body::{BodyError, Frames, Polled};
use registry_proxy_core::config::Sources;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

use super::*;

/// What the upstream does once it has the head of a request.
enum Script {
    /// It sends this.
    Say(&'static str),
    /// It sends this and closes the connection.
    SayAndClose(&'static str),
    /// It reads so many bytes after it has sent this, and tells when it has them.
    SayThenRead(&'static str, usize, oneshot::Sender<()>),
    /// It closes the connection, and says nothing.
    Close,
}

struct Upstream {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    /// Told of each connection that we closed.
    left: Arc<Notify>,
}

impl Upstream {
    /// Answers the requests one by one, on whatever connections they come.
    async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, left) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let (count, tell) = (Arc::clone(&accepted), Arc::clone(&left));
        let scripts = Arc::new(std::sync::Mutex::new(scripts.into_iter()));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (scripts, count, tell) = (Arc::clone(&scripts), Arc::clone(&count), Arc::clone(&tell));
                tokio::spawn(async move {
                    let mut is_counted = false;
                    while let Some(head) = head(&mut stream).await {
                        if !std::mem::replace(&mut is_counted, true) {
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        assert!(head.contains("\r\nhost: 127.0.0.1:"), "{head}");
                        assert!(head.split(' ').nth(1).is_some_and(|target| target.starts_with('/')), "{head}");
                        let script = scripts.lock().unwrap().next().unwrap();
                        match script {
                            Script::Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                            Script::SayAndClose(text) => return stream.write_all(text.as_bytes()).await.unwrap(),
                            Script::SayThenRead(text, bytes, read) => {
                                stream.write_all(text.as_bytes()).await.unwrap();
                                stream.read_exact(&mut vec![0; bytes]).await.unwrap();
                                let _ = read.send(());
                            }
                            Script::Close => return,
                        }
                    }
                    tell.notify_one();
                });
            }
        });
        Self { address, accepted, left }
    }

    fn transport(&self, more: &str) -> HyperTransport {
        transport(&format!("http://{}", self.address), more)
    }

    fn get(&self) -> Request<Body> {
        Request::get(format!("http://{}/v2/x?y=z", self.address)).body(Body::Empty).unwrap()
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Returns once the runtime has heard of everything that happened on other connections before.
    async fn round_trip(&self) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        self.left.notified().await;
    }
}

/// A request's head, in lower case; `None`: the connection ends before it.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap().to_ascii_lowercase())
}

fn transport(url: &str, more: &str) -> HyperTransport {
    let text = format!(
        "[[upstream]]\nname = 'up.test'\nurls = ['{url}']\ninsecure = true\ndefault = true\nproxy = 'none'\n{more}"
    );
    let sources = Sources { text: Some(&text), variables: vec![], read: &|_| Ok(String::new()) };
    HyperTransport::new(&Config::load(&sources).unwrap()).unwrap()
}

async fn send(transport: &HyperTransport, request: Request<Body>) -> Result<Response<Body>, TransportError> {
    let outgoing = Outgoing { request, upstream: 0, reach: Reach::Configured, purpose: RequestPurpose::Api };
    tokio::time::timeout(Duration::from_secs(20), transport.send(outgoing)).await.expect("an answer in time")
}

async fn text(response: Response<Body>) -> Result<Bytes, BodyError> {
    let body = response.into_body().collect(1 << 20);
    tokio::time::timeout(Duration::from_secs(20), body).await.expect("its end in time")
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn one_connection_serves_requests_one_after_the_other() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let upstream =
        Upstream::start([HELLO, chunked, empty, chunked, HELLO].map(Script::Say).into_iter().collect()).await;
    let transport = upstream.transport("");
    for expected in ["hello", "hello", "", "hello", "hello"] {
        assert_eq!(text(send(&transport, upstream.get()).await.unwrap()).await.unwrap(), expected);
    }
    assert_eq!(upstream.accepted(), 1);
}

/// Counts how often something is woken that is polled through it.
#[derive(Default)]
struct Wakes {
    count: AtomicUsize,
    task: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.task.wake();
    }
}

impl Wakes {
    fn counting<F: Future>(self: &Arc<Self>, future: F) -> impl Future<Output = F::Output> {
        let (counter, mut future) = (Arc::clone(self), Box::pin(future));
        std::future::poll_fn(move |cx| {
            counter.task.register(cx.waker());
            future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&counter))))
        })
    }
}

#[tokio::test]
async fn a_request_that_is_sent_wakes_neither_itself_nor_who_used_its_connection_before() {
    let upstream = Upstream::start(vec![Script::Say(HELLO), Script::Say(HELLO)]).await;
    let transport = upstream.transport("");
    let wakes = Arc::<Wakes>::default();
    let get = async || text(send(&transport, upstream.get()).await.unwrap()).await.unwrap();
    assert_eq!(wakes.counting(get()).await, "hello");
    let before = wakes.count.load(Ordering::Relaxed);
    let mut second = Box::pin(wakes.counting(get()));
    assert!(futures_util::poll!(&mut second).is_pending());
    assert_eq!(wakes.count.load(Ordering::Relaxed), before);
    assert_eq!((second.await, upstream.accepted()), (Bytes::from_static(b"hello"), 1));
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_replaced() {
    let timed_out = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 408 Request Timeout\r\n\r\n";
    for goodbye in [HELLO, timed_out] {
        let upstream = Upstream::start(vec![Script::SayAndClose(goodbye), Script::Say(HELLO)]).await;
        let transport = upstream.transport("");
        for _ in 0..2 {
            assert_eq!(text(send(&transport, upstream.get()).await.unwrap()).await.unwrap(), "hello");
            upstream.round_trip().await;
        }
        assert_eq!(upstream.accepted(), 2);
    }
}

/// Whether the server has acted on it is not known. Who asked may know that it does no harm to ask again.
#[tokio::test]
async fn a_request_that_was_sent_is_not_sent_again() {
    let upstream = Upstream::start(vec![Script::Say(HELLO), Script::Close, Script::Say(HELLO)]).await;
    let transport = upstream.transport("");
    assert_eq!(text(send(&transport, upstream.get()).await.unwrap()).await.unwrap(), "hello");
    let second = send(&transport, upstream.get()).await.map(drop);
    assert!(matches!(second, Err(TransportError::Broken(_))), "{second:?}");
    assert_eq!(text(send(&transport, upstream.get()).await.unwrap()).await.unwrap(), "hello");
    assert_eq!(upstream.accepted(), 2);
}

#[tokio::test]
async fn a_body_that_is_dropped_before_its_end_closes_its_connection() {
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello";
    let upstream = Upstream::start(vec![Script::Say(long), Script::Say(HELLO)]).await;
    let transport = upstream.transport("");
    let mut body = send(&transport, upstream.get()).await.unwrap().into_body();
    assert_eq!(body.chunk().await.unwrap().unwrap(), "hello");
    drop(body);
    tokio::time::timeout(Duration::from_secs(20), upstream.left.notified())
        .await
        .expect("the connection to be closed");
    assert_eq!(text(send(&transport, upstream.get()).await.unwrap()).await.unwrap(), "hello");
    assert_eq!(upstream.accepted(), 2);
}

#[tokio::test]
async fn a_short_body_that_nobody_reads_leaves_its_connection_usable() {
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}";
    let upstream = Upstream::start(vec![Script::Say(refusal), Script::Say(HELLO)]).await;
    let transport = upstream.transport("");
    drop(send(&transport, upstream.get()).await.unwrap());
    assert_eq!(text(send(&transport, upstream.get()).await.unwrap()).await.unwrap(), "hello");
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello";
    let upstream = Upstream::start(vec![Script::SayAndClose(long)]).await;
    let answer = send(&upstream.transport(""), upstream.get()).await.unwrap();
    assert!(text(answer).await.is_err());
}

/// An upload: what there is of it, then it waits, then the rest.
struct Upload {
    pieces: Vec<Bytes>,
    rest: oneshot::Receiver<Bytes>,
    is_over: bool,
}

impl Frames for Upload {
    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Polled {
        use std::task::Poll;
        if let Some(piece) = self.pieces.pop() {
            return Poll::Ready(Some(Ok(http_body::Frame::data(piece))));
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        std::pin::Pin::new(&mut self.rest).poll(cx).map(|rest| {
            self.is_over = true;
            Some(Ok(http_body::Frame::data(rest.unwrap())))
        })
    }
}

#[tokio::test]
async fn an_upload_that_is_answered_early_goes_on_and_its_connection_is_used_again() {
    let (read, has_read) = oneshot::channel();
    let created = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::start(vec![Script::SayThenRead(created, 10, read), Script::Say(HELLO)]).await;
    let transport = upstream.transport("");
    let (go_on, rest) = oneshot::channel();
    let upload = Upload { pieces: vec![Bytes::from_static(b"12345")], rest, is_over: false };
    let mut request = upstream.get().map(|_| Body::frames(upload, Some(10)));
    *request.method_mut() = Method::PUT;
    let response = send(&transport, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    drop(response);
    go_on.send(Bytes::from_static(b"67890")).unwrap();
    tokio::time::timeout(Duration::from_secs(20), has_read).await.expect("the rest of the upload").unwrap();
    upstream.round_trip().await;
    assert_eq!(text(send(&transport, upstream.get()).await.unwrap()).await.unwrap(), "hello");
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn with_a_connection_limit_a_request_waits_for_the_end_of_another_and_none_is_kept() {
    let upstream = Upstream::start(vec![Script::Say(HELLO), Script::Say(HELLO)]).await;
    let transport = upstream.transport("max_connections = 1");
    let first = send(&transport, upstream.get()).await.unwrap();
    let mut second = Box::pin(send(&transport, upstream.get()));
    assert!(futures_util::poll!(&mut second).is_pending());
    upstream.round_trip().await;
    assert!(futures_util::poll!(&mut second).is_pending());
    assert_eq!(upstream.accepted(), 1);
    assert_eq!(text(first).await.unwrap(), "hello");
    assert_eq!(text(second.await.unwrap()).await.unwrap(), "hello");
    assert_eq!(upstream.accepted(), 2);
    upstream.left.notified().await;
}

/// Serves over TLS, with these protocols offered; counts connections.
async fn tls_upstream(protocols: &[&[u8]]) -> (SocketAddr, Arc<AtomicUsize>) {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, accepted) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let serve =
                    service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello")))));
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), serve).await;
            });
        }
    });
    (address, accepted)
}

#[tokio::test]
async fn requests_that_come_at_once_share_one_connection_over_http2() {
    let (address, accepted) = tls_upstream(&[b"h2", b"http/1.1"]).await;
    let url = format!("https://{address}");
    let transport = transport(&url, "");
    let get = || Request::get(format!("{url}/v2/")).body(Body::Empty).unwrap();
    for _ in 0..2 {
        let eight = futures_util::future::join_all((0..8).map(|_| send(&transport, get()))).await;
        for response in eight {
            assert_eq!(text(response.unwrap()).await.unwrap(), "hello");
        }
        assert_eq!(accepted.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn requests_that_come_at_once_have_a_connection_each_without_http2() {
    let (address, accepted) = tls_upstream(&[b"http/1.1"]).await;
    let url = format!("https://{address}");
    let transport = transport(&url, "");
    let get = || Request::get(format!("{url}/v2/")).body(Body::Empty).unwrap();
    for _ in 0..2 {
        let eight = futures_util::future::join_all((0..8).map(|_| send(&transport, get()))).await;
        for response in eight {
            assert_eq!(text(response.unwrap()).await.unwrap(), "hello");
        }
        assert_eq!(accepted.load(Ordering::Relaxed), 8);
    }
}

/// Those who wait for one connection all hear why there is none.
#[tokio::test]
async fn a_connection_that_fails_fails_for_all_who_wait_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    drop(listener);
    let transport = transport(&url, "");
    let get = || Request::get(format!("{url}/v2/")).body(Body::Empty).unwrap();
    let four = futures_util::future::join_all((0..4).map(|_| send(&transport, get()))).await;
    for response in four {
        let response = response.map(drop);
        let refused = matches!(response, Err(TransportError::Connect { why: Unconnected::Refused, .. }));
        assert!(refused, "{response:?}");
    }
}
