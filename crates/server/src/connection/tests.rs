//! Both protocols over a wire in memory, in virtual time.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use h2::client::SendRequest;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response};
use registry_proxy_core::body::InFlight;
use registry_proxy_core::{Body, Config};
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex, split};
use tokio::time::{Instant, sleep};

use super::handler::CloseConnection;
use super::http1::CLOSING;
use super::*;
use crate::connection_limits::ConnectionSlots;

const IDLE: Duration = Duration::from_secs(30);
/// What a slow client takes in a second.
const A_SECOND: usize = 1024;

/// The same answer to everything.
struct Always {
    body: Bytes,
    ends_connection: bool,
}

impl Always {
    fn bytes(length: usize) -> Arc<Self> {
        Arc::new(Self { body: vec![7; length].into(), ends_connection: false })
    }
}

impl RequestHandler for Always {
    fn answer(&self, _: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        let mut response = Response::new(Body::from(self.body.clone()));
        if self.ends_connection {
            response.extensions_mut().insert(CloseConnection);
        }
        std::future::ready(response).boxed()
    }
}

/// A connection that is served; what its client sees of it.
fn served(handler: Arc<Always>, slot_status: Arc<SlotStatus>) -> DuplexStream {
    let mut config = Config::default();
    config.timeouts.client_idle.0 = IDLE;
    let context = ConnectionContext::new(&config, &InFlight::new(1 << 20, true), slot_status, None);
    let (client, server) = duplex(A_SECOND);
    let stream = WriteTimeout::new(server, Arc::clone(&context.timeouts));
    let (drains, drain) = watch::channel(false);
    tokio::spawn(async move {
        speak(stream, None, handler, context, drain).await;
        drop(drains);
    });
    client
}

/// The same over a wire that brings [`A_SECOND`].
fn slowly(client: DuplexStream) -> DuplexStream {
    let (near, far) = duplex(64 << 10);
    let ((mut from_far, mut to_far), (mut from_server, mut to_server)) = (split(far), split(client));
    tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_server).await });
    tokio::spawn(async move {
        let mut some = [0; A_SECOND];
        while let Ok(read @ 1..) = from_server.read(&mut some).await {
            sleep(Duration::from_secs(1)).await;
            if to_far.write_all(&some[..read]).await.is_err() {
                return;
            }
        }
        let _ = to_far.shutdown().await;
    });
    near
}

/// An HTTP/2 client, and a task that ends with its connection.
async fn h2_client(wire: DuplexStream) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let (sender, connection) = h2::client::handshake(wire).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn h2_ask(sender: &mut SendRequest<Bytes>, method: Method) -> (Response<()>, usize) {
    let request = Request::builder().method(method).uri("http://p.test/").body(()).unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    let mut length = 0;
    while let Some(bytes) = body.data().await {
        length += bytes.expect("the body is whole").len();
    }
    (Response::from_parts(head, ()), length)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_client_takes_slowly_is_no_idle_connection() {
    const LENGTH: usize = 100 * A_SECOND;
    let mut client = slowly(served(Always::bytes(LENGTH), SlotStatus::ordinary()));
    client.write_all(b"GET / HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert!(received.len() > LENGTH, "{} bytes", received.len());
}

#[tokio::test(start_paused = true)]
async fn nor_is_it_one_of_http_2() {
    // Less than a window: all of it is handed to the connection at once.
    const LENGTH: usize = 60 * A_SECOND;
    let (mut sender, connection) = h2_client(slowly(served(Always::bytes(LENGTH), SlotStatus::ordinary()))).await;
    assert_eq!(h2_ask(&mut sender, Method::GET).await.1, LENGTH);
    let begun = Instant::now();
    let _ = connection.await.unwrap();
    assert!(begun.elapsed() >= IDLE.saturating_sub(Duration::from_secs(5)), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_gets_a_place_may_be_idle_as_long_as_others() {
    let slots = ConnectionSlots::new(1);
    let (ordinary, late) = (slots.next().await.unwrap(), slots.next().await.unwrap());
    let mut client = served(Always::bytes(1), late.status());
    let mut idle = served(Always::bytes(1), slots.next().await.unwrap().status());
    let mut ask = async || {
        client.write_all(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        client.read_exact(&mut head).await.expect("it is open");
        while client.read_u8().await.unwrap() != 7 {}
    };
    ask().await;
    drop(ordinary);
    late.become_ordinary(Duration::from_secs(1)).await.unwrap();
    for _ in 0..3 {
        sleep(IDLE.saturating_sub(Duration::from_secs(1))).await;
        ask().await;
    }
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "and others want the place of this one");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_comes_whole_has_an_end() {
    let mut client = served(Always::bytes(1), SlotStatus::ordinary());
    client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let begun = Instant::now();
    let ended = async {
        // A byte now and then does not change it.
        while client.write_all(b"o").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    ended.await;
    assert!(begun.elapsed() <= IDLE + CLOSING + Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn behind_some_answers_the_connection_ends() {
    let last = Arc::new(Always { body: Bytes::from_static(b"no place\n"), ends_connection: true });
    let begun = Instant::now();
    let mut client = served(Arc::clone(&last), SlotStatus::ordinary());
    client.write_all(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n").await.unwrap();
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    assert!(received.contains("connection: close\r\n") && received.ends_with("no place\n"), "{received}");
    let (mut sender, connection) = h2_client(served(last, SlotStatus::ordinary())).await;
    assert_eq!(h2_ask(&mut sender, Method::GET).await.1, 9);
    connection.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let (mut sender, connection) = h2_client(served(Always::bytes(3), SlotStatus::ordinary())).await;
    for (method, expected) in [(Method::HEAD, 0), (Method::GET, 3), (Method::HEAD, 0)] {
        let (head, length) = h2_ask(&mut sender, method.clone()).await;
        assert_eq!((&head.headers()[CONTENT_LENGTH], length), (&3.into(), expected), "{method}");
    }
    assert!(!connection.is_finished());
}
