//! A future that is polled only when something has happened to it. A task polls all its futures whenever it is woken for one:
//! a connection is woken by each request, and what ends it from elsewhere would be polled each time, under locks that all
//! connections share.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The future, on the heap.
pub(super) struct WhenWoken<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
    /// Notes that the future was woken.
    waker: Waker,
    /// Who waits for it; the same as in `woken`.
    task: Waker,
}

struct Woken {
    is_woken: AtomicBool,
    task: Mutex<Waker>,
}

impl Woken {
    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future> WhenWoken<F> {
    pub(super) fn new(future: F) -> Self {
        // It must be polled once to be woken at all.
        let task = Waker::noop().clone();
        let woken = Arc::new(Woken { is_woken: AtomicBool::new(true), task: Mutex::new(task.clone()) });
        Self { future: Box::pin(future), waker: Waker::from(Arc::clone(&woken)), woken, task }
    }
}

impl<F: Future> Future for WhenWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if !this.task.will_wake(cx.waker()) {
            this.task.clone_from(cx.waker());
            this.woken.task().clone_from(cx.waker());
        }
        if !this.woken.is_woken.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Before it is polled: what happens meanwhile is another reason to poll it.
        this.woken.is_woken.store(false, Ordering::Release);
        this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In this order: the task that is woken finds it.
        self.is_woken.store(true, Ordering::Release);
        self.task().wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_polled_when_it_is_woken_and_not_with_what_stands_beside_it() {
        let (sender, mut receiver) = watch::channel(0);
        let polls = Cell::new(0);
        let mut change = Box::pin(receiver.wait_for(|value| *value == 2));
        let mut counted = WhenWoken::new(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            change.as_mut().poll(cx).map(drop)
        }));
        for _ in 0..10 {
            tokio::select! {
                biased;
                () = &mut counted => panic!("nothing has changed"),
                () = sleep(Duration::from_secs(1)) => {}
            }
        }
        assert_eq!(polls.get(), 1);
        sender.send_replace(1);
        tokio::select! {
            biased;
            () = &mut counted => panic!("that is another value"),
            () = sleep(Duration::from_secs(1)) => {}
        }
        assert_eq!(polls.get(), 2);
        let begun = Instant::now();
        let later = async {
            sleep(Duration::from_secs(7)).await;
            sender.send_replace(2);
        };
        tokio::join!(counted, later);
        assert_eq!((polls.get(), begun.elapsed().as_secs()), (3, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_it_last_is_woken() {
        let mut slept = WhenWoken::new(sleep(Duration::from_secs(5)));
        assert!(Pin::new(&mut slept).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let begun = Instant::now();
        tokio::spawn(slept).await.expect("it ends");
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}
