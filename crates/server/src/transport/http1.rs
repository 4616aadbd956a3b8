//! One HTTP/1.1 connection. Whoever uses it drives it: the request while it waits for its response, then the body. It has no
//! task of its own, so a response wakes one task, once.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;
use registry_proxy_core::Body;
use tokio::task::unconstrained;

use super::dial::Dialled;
use super::width::ReadWidth;

/// The connection, on the thread that made it.
pub(super) struct Http1 {
    sender: SendRequest<Body>,
    connection: http1::Connection<MaybeHttpsStream<Dialled>, Body>,
    user: Arc<User>,
    /// Wakes `user`.
    waker: Waker,
    /// It leads to a proxy that forwards requests, and wants them in absolute form (RFC 9112 section 3.2.2).
    pub(super) is_forwarded: bool,
}

/// A response and its connection, unless that is closed already.
pub(super) type Answered = (Response<Incoming>, Option<Box<Http1>>);

/// Why there is no response; with the request, if not a byte of it was sent.
pub(super) type Unanswered = (hyper::Error, Option<Request<Body>>);

impl Http1 {
    /// Begins HTTP/1.1 on a stream.
    pub(super) async fn begin(
        stream: MaybeHttpsStream<Dialled>,
        width: ReadWidth,
    ) -> Result<Box<Self>, hyper::Error> {
        let is_forwarded = stream.connected().is_proxied();
        let (sender, connection) = http1::Builder::new().max_buf_size(width.bytes()).handshake(stream).await?;
        let user = Arc::<User>::default();
        let waker = Waker::from(Arc::clone(&user));
        Ok(Box::new(Self { sender, connection, user, waker, is_forwarded }))
    }

    /// Sends a request. A connection that the server has closed meanwhile gives the request back.
    pub(super) async fn send(self: Box<Self>, request: Request<Body>) -> Result<Answered, Unanswered> {
        let mut this = self;
        let Self { sender, user, .. } = &mut *this;
        // Not subject to tokio's budget: it is woken by nothing but `drive`, which is.
        let answer = user.without_waking(|| unconstrained(sender.try_send_request(request)));
        let (mut answer, mut open) = (pin!(answer), Some(this));
        let answered = std::future::poll_fn(|cx| {
            if open.as_mut().is_some_and(|connection| connection.drive(cx).is_ready()) {
                // Tells the request what became of it.
                open = None;
            }
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        });
        match answered.await {
            Ok(response) => Ok((response, open)),
            Err(mut error) => {
                let request = error.take_message();
                Err((error.into_error(), request))
            }
        }
    }

    /// Reads and writes what can be read and written. Ready: the connection is closed.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.user.task.register(cx.waker());
        Pin::new(&mut self.connection).poll(&mut Context::from_waker(&self.waker)).map(drop)
    }

    /// Runs `take`, which takes something out of the connection: whoever takes it is not woken for that.
    pub(super) fn taking<T>(&self, take: impl FnOnce() -> T) -> T {
        self.user.without_waking(take)
    }

    /// Whether it takes a request.
    pub(super) fn is_idle(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether it is still open, as far as the runtime has heard. Only for an idle connection: nobody is woken by it.
    pub(super) fn is_open(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// Wakes the task that uses a connection, but not for what a user does itself: it drives the connection next anyway. A request
/// that is handed to hyper would wake the task of the request before, and room that a body makes would wake its own.
#[derive(Default)]
struct User {
    task: AtomicWaker,
    is_acting: AtomicBool,
}

impl User {
    fn without_waking<T>(&self, act: impl FnOnce() -> T) -> T {
        self.is_acting.store(true, Ordering::Relaxed);
        let done = act();
        self.is_acting.store(false, Ordering::Relaxed);
        done
    }
}

impl Wake for User {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_acting.load(Ordering::Relaxed) {
            self.task.wake();
        }
    }
}
