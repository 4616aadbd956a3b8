//! Time, randomness, and work that outlives an answer.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Polling, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use js_sys::futures::{JsFuture, future_to_promise, spawn_local};
use registry_proxy_core::platform::{Clock, Entropy, Moment, Sleep, Tasks};
use send_wrapper::SendWrapper;
use wasm_bindgen::JsValue;

use crate::native::{self, AbortController, Context};

/// `Date.now()`. It advances only when I/O completes: Cloudflare gives no finer time, to prevent timing attacks.
#[derive(Default)]
pub(crate) struct DateClock {
    /// The latest time read, in milliseconds, since the machine's clock may be set back.
    latest: AtomicU64,
}

impl Clock for DateClock {
    fn now(&self) -> Moment {
        let latest = self.latest.fetch_max(milliseconds(), Ordering::Relaxed);
        Moment(Duration::from_millis(latest.max(milliseconds())))
    }

    fn unix_seconds(&self) -> u64 {
        milliseconds() / 1000
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        // The timer starts when it is first polled, and is cancelled when it is dropped.
        Box::pin(SendWrapper::new(async move {
            let timer = Timer(AbortController::new());
            // `setTimeout` takes 31 bits of milliseconds, more than three weeks.
            let milliseconds = duration.as_millis().min(1 << 30);
            #[expect(clippy::cast_precision_loss, reason = "bounded just now")]
            let slept = native::sleep(milliseconds as f64, timer.0.signal());
            let _ = JsFuture::from(slept).await;
        }))
    }
}

fn milliseconds() -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "after 1970, and for long")]
    let now = js_sys::Date::now() as u64;
    now
}

struct Timer(AbortController);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `crypto.getRandomValues`.
pub(crate) struct Crypto;

impl Entropy for Crypto {
    fn fill(&self, buffer: &mut [u8]) {
        // It fills at most 65,536 bytes at once; keys have 32.
        for piece in buffer.chunks_mut(65_536) {
            let length = u32::try_from(piece.len()).unwrap_or(0);
            native::random(length).copy_to(piece);
        }
    }
}

thread_local! {
    /// The request whose code is running.
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// Work for one request: everything it spawns belongs to that request. The runtime cancels I/O of one request on what
/// another has opened, so requests share no queue.
pub(crate) struct OnBehalf<F> {
    context: Context,
    work: Pin<Box<F>>,
}

impl<F: Future> OnBehalf<F> {
    pub(crate) fn of(context: Context, work: F) -> Self {
        Self { context, work: Box::pin(work) }
    }
}

impl<F: Future> Future for OnBehalf<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Polling<'_>) -> Poll<F::Output> {
        let before = CURRENT.replace(Some(self.context.clone()));
        let polled = self.work.as_mut().poll(cx);
        CURRENT.replace(before);
        polled
    }
}

/// `waitUntil` of the request that spawns: up to 30 seconds after its answer.
pub(crate) struct WaitUntil;

impl Tasks for WaitUntil {
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        let Some(context) = CURRENT.with_borrow(Clone::clone) else {
            // No request is running, so nothing could run it.
            tracing::error!("a task was started outside of any request and is dropped");
            return;
        };
        let work = OnBehalf::of(context.clone(), work);
        context.wait_until(future_to_promise(async move {
            work.await;
            Ok(JsValue::UNDEFINED)
        }));
    }
}

/// Runs work for the current request, as long as it has a client.
pub(crate) fn go_on(work: impl Future<Output = ()> + 'static) {
    match CURRENT.with_borrow(Clone::clone) {
        Some(context) => spawn_local(OnBehalf::of(context, work)),
        None => spawn_local(work),
    }
}

/// Numbers requests of this isolate.
pub(crate) fn next_id() -> u64 {
    thread_local! {
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    COUNT.with(|count| count.replace(count.get() + 1))
}
