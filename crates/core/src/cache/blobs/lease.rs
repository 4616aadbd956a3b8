//! Leases: which process fetches a blob, where several share a store. A lease is a record that is written only where there
//! is none. An expired one gives way to the next number (epoch), so that stores without conditional overwrites can still
//! hand a lease on.
//!
//! A lease saves downloads and decides nothing else: two that believe to hold it fetch the same blob twice, and both
//! commit the same bytes. It says how the fill gets on, so that nobody waits for one that will not end in time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::course::Course;
use crate::cache::Key;
use crate::cache::backend::CacheBackend;
use crate::digest::Digest;
use crate::platform::{Moment, Precondition, StoreError};
use crate::sync::{Event, Mutex, MutexGuard};

/// How long a lease holds without renewal: others wait so long for a dead process.
const LIFE_SECONDS: u64 = 10;
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(4);
/// When it is first renewed: by then the fill has some progress to report.
const FIRST_WORD: Duration = Duration::from_secs(2);
/// More expired leases than this on one blob are a sign that something is wrong: then each fetches for itself.
const MAX_EPOCHS: u32 = 100;
/// How long a store that failed to take a lease is not asked for one: object stores fail for a moment (503 `SlowDown`).
const BACKOFF: Duration = Duration::from_secs(10);
/// The same after repeated failures, or if it denies leases.
const MAX_BACKOFF: Duration = Duration::from_hours(1);

/// The right to fetch, until it is dropped.
pub(crate) struct Lease {
    backend: Arc<CacheBackend>,
    key: Key,
    /// Dropped with this, which ends the renewals.
    held: Arc<FillProgress>,
}

/// The progress of the fill.
struct FillProgress {
    /// In seconds since 1970.
    began: u64,
    done: AtomicU64,
    /// 0: nothing has been told yet.
    total: AtomicU64,
    /// When all of it had come, in seconds since 1970.
    fetched: AtomicU64,
}

impl FillProgress {
    fn course(&self, now: u64) -> Option<Course> {
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let total = Some(number(&self.total)).filter(|total| *total > 0)?;
        let (done, fetched) = (number(&self.done), number(&self.fetched));
        Some(Course { began: self.began, at: now, done, total, fetched })
    }
}

impl Lease {
    /// So many bytes of so many have come.
    pub(crate) fn tell(&self, done: u64, total: u64) {
        self.held.done.store(done, Ordering::Relaxed);
        self.held.total.store(total, Ordering::Relaxed);
    }

    /// All of it has come, and goes into the store.
    pub(crate) fn tell_fetched(&self, total: u64) {
        self.tell(total, total);
        self.held.fetched.store(self.backend.clock.unix_seconds(), Ordering::Relaxed);
    }
}

/// The answer to a request for a lease.
pub(crate) enum Leased {
    /// Fetch; with a lease, where the store would give one.
    Ours(Option<Lease>),
    /// Another process fetches; its progress, if it has reported any.
    Theirs(Option<Course>),
}

/// Until when a store that failed to take a lease is not asked for one.
#[derive(Default)]
struct LeaseBackoff(Mutex<BackoffState>);

#[derive(Default)]
struct BackoffState {
    until: Moment,
    /// Its last rest, unless it took a lease since.
    last: Option<Duration>,
}

impl LeaseBackoff {
    fn is_over(&self, now: Moment) -> bool {
        now >= self.state().until
    }

    /// It took a lease, or has one.
    fn end(&self) {
        self.state().last = None;
    }

    /// It took none: how long it rests. `None`: it may take the next, or rests already; requests that fail at once
    /// count once.
    fn begin(&self, now: Moment, error: &StoreError) -> Option<Duration> {
        let mut state = self.state();
        let rest = match error {
            StoreError::Denied(_) | StoreError::ReadDenied(_) => MAX_BACKOFF,
            StoreError::NoCredentials(_) => BACKOFF,
            StoreError::Failed(_) if now >= state.until => {
                state.last.map_or(BACKOFF, |last| MAX_BACKOFF.min(last * 2))
            }
            StoreError::Failed(_) | StoreError::Full | StoreError::TimedOut => return None,
        };
        *state = BackoffState { until: now.after(rest), last: Some(rest) };
        Some(rest)
    }

    fn state(&self) -> MutexGuard<'_, BackoffState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease on its way from the task that writes it to the request that wants it. If the request goes away while the
/// lease is being written, the lease is given up as soon as it is written.
#[derive(Default)]
struct Handover {
    state: Mutex<HandoverState>,
    changed: Event,
}

#[derive(Default)]
enum HandoverState {
    /// It is wanted, and not here yet.
    #[default]
    Wanted,
    Given(Leased),
    /// Nobody wants it any more.
    Gone,
}

/// The one who gives; dropped, it gives the right to fetch without a lease.
struct Giver(Arc<Handover>);

/// The one who wants.
struct Taker(Arc<Handover>);

impl Handover {
    fn state(&self) -> MutexGuard<'_, HandoverState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, leased: Leased) {
        let mut state = self.state();
        // What is not taken is dropped outside of the lock.
        let _refused = match &*state {
            HandoverState::Wanted => {
                *state = HandoverState::Given(leased);
                None
            }
            HandoverState::Given(_) | HandoverState::Gone => Some(leased),
        };
        drop(state);
        self.changed.notify(usize::MAX);
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        self.0.give(Leased::Ours(None));
    }
}

impl Taker {
    async fn take(self) -> Leased {
        loop {
            let listener = self.0.changed.listen();
            let taken = {
                let mut state = self.0.state();
                matches!(&*state, HandoverState::Given(_))
                    .then(|| std::mem::replace(&mut *state, HandoverState::Gone))
            };
            if let Some(HandoverState::Given(leased)) = taken {
                return leased;
            }
            listener.await;
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let untaken = std::mem::replace(&mut *self.0.state(), HandoverState::Gone);
        drop(untaken);
    }
}

/// The leases of this process.
pub(crate) struct Leases {
    backend: Arc<CacheBackend>,
    backoff: LeaseBackoff,
}

impl Leases {
    pub(in crate::cache) fn new(backend: &Arc<CacheBackend>) -> Self {
        Self { backend: Arc::clone(backend), backoff: LeaseBackoff::default() }
    }

    /// Asks for the right to fetch a blob. A task asks, and goes on if the request leaves: it removes a lease that was
    /// written for a request that has left.
    pub(crate) async fn lease(self: &Arc<Self>, digest: &Digest) -> Leased {
        if !self.backend.capabilities().is_shared || !self.backoff.is_over(self.backend.clock.now()) {
            return Leased::Ours(None);
        }
        let handover = Arc::<Handover>::default();
        let (giver, taker) = (Giver(Arc::clone(&handover)), Taker(handover));
        let (leases, digest) = (Arc::clone(self), digest.clone());
        self.backend.tasks.spawn(Box::pin(async move {
            let answer = leases.write_lease(&digest).await;
            giver.0.give(answer);
        }));
        taker.take().await
    }

    async fn write_lease(self: &Arc<Self>, digest: &Digest) -> Leased {
        let now = self.backend.clock.unix_seconds();
        for epoch in 1..=MAX_EPOCHS {
            let key = Key::lease(digest, epoch);
            match self
                .backend
                .ask_quietly("lease", self.backend.store.write(&key, self.record(None), Precondition::Absent))
                .await
            {
                Ok(Some(true)) => {
                    self.backoff.end();
                    return Leased::Ours(Some(self.hold(key)));
                }
                Ok(Some(false)) => self.backoff.end(),
                Ok(None) => return Leased::Ours(None),
                Err(error) => {
                    self.no_lease(&error);
                    return Leased::Ours(None);
                }
            }
            let record = self
                .backend
                .ask_quietly("lease", self.backend.store.read(&key))
                .await
                .unwrap_or_default()
                .flatten();
            let text = record.as_deref().and_then(|record| std::str::from_utf8(record).ok()).unwrap_or_default();
            let (until, course) = text.split_once(' ').unwrap_or((text, ""));
            let until = until.parse::<u64>().ok();
            // An end later than a lease can have comes from a wrong clock; nobody waits for it.
            if until.is_some_and(|until| now < until && until <= now.saturating_add(2 * LIFE_SECONDS)) {
                return Leased::Theirs(Course::parse(course));
            }
        }
        Leased::Ours(None)
    }

    /// Some stores have no conditional writes, or may not write leases: for a while they are asked for no lease, but
    /// for all else.
    fn no_lease(&self, error: &StoreError) {
        if let Some(rest) = self.backoff.begin(self.backend.clock.now(), error) {
            tracing::warn!(
                error = std::error::Error::source(error).map(tracing::field::display),
                rest_seconds = rest.as_secs(),
                "no lease could be taken in the cache: {error}; for a while this process fetches without checking whether another one does"
            );
        }
    }

    /// Holds a lease, and renews it until it is dropped.
    fn hold(self: &Arc<Self>, key: Key) -> Lease {
        let began = self.backend.clock.unix_seconds();
        let [done, total, fetched] = std::array::from_fn(|_| AtomicU64::new(0));
        let held = Arc::new(FillProgress { began, done, total, fetched });
        let (leases, renewed, while_held) = (Arc::clone(self), key.clone(), Arc::downgrade(&held));
        self.backend.tasks.spawn(Box::pin(async move {
            let mut pause = FIRST_WORD;
            loop {
                leases.backend.clock.sleep(pause).await;
                pause = RENEW_EVERY;
                let Some(told) = while_held.upgrade() else { return };
                let record = leases.record(told.course(leases.backend.clock.unix_seconds()));
                drop(told);
                let _ = leases
                    .backend
                    .ask_quietly("lease", leases.backend.store.write(&renewed, record, Precondition::Always))
                    .await;
                if while_held.strong_count() == 0 {
                    // The lease was dropped during the renewal.
                    let _ = leases.backend.ask_quietly("lease", leases.backend.store.remove(&renewed)).await;
                    return;
                }
            }
        }));
        Lease { backend: Arc::clone(&self.backend), key, held }
    }

    fn record(&self, course: Option<Course>) -> Bytes {
        let until = self.backend.clock.unix_seconds().saturating_add(LIFE_SECONDS);
        Bytes::from(course.map_or(until.to_string(), |course| format!("{until} {}", course.to_words())))
    }

    /// Whether a fill in another process will be in the store within this time, as far as can be told.
    pub(crate) fn is_worth_waiting(&self, course: Option<Course>, limit: Duration) -> bool {
        let Some(course) = course else { return true };
        let left = course.left(self.backend.clock.unix_seconds(), self.backend.capabilities().stages_locally);
        left.is_some_and(|left| left <= limit)
    }
}

impl Drop for Lease {
    /// It is over: the blob is there, or others may try.
    fn drop(&mut self) {
        let (backend, key, pending) = (Arc::clone(&self.backend), self.key.clone(), self.backend.begin_write());
        self.backend.tasks.spawn(Box::pin(async move {
            let _pending = pending;
            let _ = backend.ask_quietly("lease", backend.store.remove(&key)).await;
        }));
    }
}
