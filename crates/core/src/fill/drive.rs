//! The work of a fill: fetches what is missing, hashes, verifies, commits. It belongs to no request: a client that is
//! slow or goes away changes nothing.
//!
//! One stream that is fast stays one. Where it is slow, ranges of the rest are fetched beside it, each on a connection
//! of its own and each resuming at its own offset.

use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use event_listener::EventListener;
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::Fills;
use super::claims::Claims;
use super::spool::{Phase, Progress, Spool};
use crate::body::{Body, BodyError};
use crate::cache::{Cache, Lease};
use crate::config;
use crate::evidence::Provenance;
use crate::platform::{Clock, within};
use crate::relay::{Relay, Source};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Event, Mutex, MutexGuard};
use crate::telemetry;

/// How often it is judged whether more connections would help.
const JUDGE_EVERY: Duration = Duration::from_millis(250);
/// Bytes a second of all connections together from which on no more are opened.
const FAST: u64 = 16 << 20;
/// With more connections the rest should take about this long.
const AIM_MILLIS: u64 = 2000;
/// Times that gaps left by others are gone after.
const SWEEPS: usize = 3;

/// How ranges are fetched beside each other.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    count: usize,
    length: u64,
    per_upstream: usize,
}

impl Parts {
    pub(crate) fn new(config: &config::Fill) -> Self {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            count: count(config.parts),
            length: config.part_size.0,
            per_upstream: count(config.parts_per_upstream),
        }
    }

    /// Connections that would bring the rest in time, each as fast as those there are.
    fn wanted(&self, now: usize, got: u64, missing: u64, elapsed: Duration) -> usize {
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = got.saturating_mul(1000) / millis;
        if rate >= FAST || missing < 2 * self.length {
            return now;
        }
        let left_millis = missing.saturating_mul(1000) / rate.max(1);
        let factor = usize::try_from(left_millis / AIM_MILLIS).unwrap_or(usize::MAX);
        now.saturating_mul(factor.max(1)).min(self.count)
    }
}

/// Everything a fill needs.
pub(crate) struct Drive {
    pub(crate) spool: Arc<Spool>,
    pub(crate) fills: Arc<Fills>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) source: Source,
    /// Who gives it, and for which repository.
    pub(crate) provenance: Provenance,
    pub(crate) parts: Parts,
    pub(crate) idle: Duration,
    /// Held until the fill is over.
    pub(crate) lease: Option<Lease>,
}

/// Says, where a run was dropped half-way, that it is nobody's any more.
struct Abandoned(Arc<Spool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if self.0.phase() == Phase::Running {
            self.0.end_run(Phase::Idle);
        }
    }
}

/// Why a fill ended early.
enum Stop {
    /// The upstream gives no more.
    Upstream,
    /// It gives the whole where a part is asked for.
    Unranged,
    /// The store takes no more.
    Store,
}

/// What those share who fetch parts of it.
struct Work<'a> {
    claims: Mutex<Claims>,
    /// Bytes that came, of all connections.
    got: AtomicU64,
    progress: &'a Mutex<Progress>,
    /// One of them has failed for all: the others bring to its end what they write, and fetch no more.
    failed: AtomicBool,
    failure: Event,
}

impl Work<'_> {
    fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        self.failure.notify(usize::MAX);
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The next piece, unless another fails meanwhile. `failure` was listened to before that was asked.
    async fn piece(&self, body: &mut Body, failure: &mut EventListener) -> Option<Result<Bytes, BodyError>> {
        if self.has_failed() {
            return None;
        }
        match select(pin!(body.chunk()), failure).await {
            Either::Left((piece, _)) => piece,
            Either::Right(_) => None,
        }
    }
}

impl Drive {
    /// Fetches what is missing; `main` is the body of the whole, where it has begun. The spool's run has begun, too.
    pub(crate) async fn run(self, main: Option<Body>) {
        // Whatever ends this early, nobody waits for ever.
        let _abandoned = Abandoned(Arc::clone(&self.spool));
        let upstream = Arc::clone(self.source.upstream.label());
        let ended = self.fetch(main).await;
        let result = match ended {
            Ok(true) => {
                // Whoever waits for the tail may have it; the store takes its time.
                let _busy = self.cache.busy();
                self.spool.end_run(Phase::Whole);
                match self.spool.commit().await {
                    Ok(()) => self.cache.committed(&self.provenance, self.spool.digest()).await,
                    Err(error) => self.cache.failed("commit", &error),
                }
                self.fills.close(&self.spool);
                "filled"
            }
            Ok(false) => {
                tracing::error!(
                    upstream = &*upstream,
                    digest = self.spool.digest().as_str(),
                    size_bytes = self.spool.total(),
                    "what the upstream sent has another digest; it is thrown away"
                );
                self.fills.close(&self.spool);
                self.spool.end_run(Phase::Wrong);
                "digest mismatch"
            }
            Err(Stop::Store) => {
                self.fills.close(&self.spool);
                self.spool.end_run(Phase::Lost);
                "store failed"
            }
            Err(Stop::Upstream | Stop::Unranged) => {
                // What is here stays for the next who comes.
                self.spool.end_run(Phase::Idle);
                if self.spool.is_dead() {
                    self.fills.close(&self.spool);
                }
                "broken"
            }
        };
        drop(self.lease);
        telemetry::filled(&upstream, result);
    }

    /// Whether all of it came and has its digest.
    async fn fetch(&self, main: Option<Body>) -> Result<bool, Stop> {
        let progress = Mutex::new(Progress::new(self.spool.digest()).ok_or(Stop::Store)?);
        {
            let hashing = pin!(self.spool.hash_along(&progress));
            let fetching = pin!(self.fetch_all(main, &progress));
            // The hash ends behind the last byte. Where the fetching ends before it, it is on its way there.
            match select(fetching, hashing).await {
                Either::Left((fetched, hashing)) => {
                    fetched?;
                    hashing.await.map_err(|error| self.lose(&error))?;
                }
                Either::Right((hashed, _)) => hashed.map_err(|error| self.lose(&error))?,
            }
        }
        let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(progress.is(self.spool.digest()))
    }

    async fn fetch_all(&self, main: Option<Body>, progress: &Mutex<Progress>) -> Result<(), Stop> {
        let total = self.spool.total();
        let work = Work {
            claims: Mutex::new(Claims::new(total, main.is_some())),
            got: AtomicU64::new(0),
            progress,
            failed: AtomicBool::new(false),
            failure: Event::new(),
        };
        let started = self.clock.now();
        let mut workers: FuturesUnordered<BoxFuture<'_, Result<(), Stop>>> = FuturesUnordered::new();
        match main {
            Some(body) => workers.push(Box::pin(self.follow(body, &work))),
            None => workers.push(Box::pin(self.take_rest(&work))),
        }
        loop {
            match select(workers.next(), self.clock.sleep(JUDGE_EVERY)).await {
                Either::Left((Some(Ok(())), _)) => {}
                Either::Left((Some(Err(stop)), _)) => return Err(drain(stop, &work, workers).await),
                Either::Left((None, _)) => break,
                Either::Right(_) => {
                    let missing = total.saturating_sub(self.spool.arrived());
                    let elapsed = self.clock.now().since(started);
                    let got = work.got.load(Ordering::Relaxed);
                    let wanted = self.parts.wanted(workers.len(), got, missing, elapsed);
                    for _ in workers.len()..wanted {
                        if lock(&work.claims).is_closed() {
                            break;
                        }
                        let Some(permit) = self.source.upstream.range_permit(self.parts.per_upstream) else {
                            break;
                        };
                        lock(&work.claims).split(self.parts.length);
                        let work = &work;
                        workers.push(Box::pin(async move {
                            let _permit = permit;
                            self.help(work).await
                        }));
                    }
                }
            }
        }
        for _ in 0..SWEEPS {
            if within(&*self.clock, self.idle, self.spool.completed()).await.is_ok() {
                break;
            }
            // Somebody who was to write the rest did not.
            self.take_rest(&work).await?;
        }
        match (self.spool.is_complete(), self.spool.phase()) {
            (true, _) => Ok(()),
            (false, Phase::Lost) => Err(Stop::Store),
            (false, _) => Err(Stop::Upstream),
        }
    }

    /// The first stream, as far as no parts take over; then what is missing.
    async fn follow(&self, body: Body, work: &Work<'_>) -> Result<(), Stop> {
        self.take_stream(body, 0, work).await?;
        lock(&work.claims).end_stream();
        self.take_rest(work).await
    }

    /// A stream of all that lies behind `position`, as far as no parts take over.
    async fn take_stream(&self, mut body: Body, mut position: u64, work: &Work<'_>) -> Result<(), Stop> {
        let mut failure = work.failure.listen();
        while position < lock(&work.claims).stream_end() {
            let Some(piece) = work.piece(&mut body, &mut failure).await else { break };
            position += self.keep(position, piece.ok(), work).await?;
            lock(&work.claims).stream_at = position;
        }
        Ok(())
    }

    /// What is missing, part by part; in one stream where the upstream gives no parts.
    async fn take_rest(&self, work: &Work<'_>) -> Result<(), Stop> {
        while !work.has_failed() {
            let Some(claim) = lock(&work.claims).next(&self.spool, self.parts.length) else { break };
            let taken = self.take_part(claim, work).await;
            lock(&work.claims).give_back(claim);
            match taken {
                Ok(()) => {}
                Err(Stop::Unranged) => {
                    let (first, total) = (claim.0, self.spool.total());
                    lock(&work.claims).begin_stream(first);
                    let rest = Relay::resume(self.source.clone(), first, Some(total));
                    self.take_stream(Body::stream(rest, Some(total - first)), first, work).await?;
                    lock(&work.claims).end_stream();
                    return Ok(());
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// Fetches parts beside others. One that does not get its part leaves it to them, and the upstream in peace: it gives
    /// no parts, or not so many at once.
    async fn help(&self, work: &Work<'_>) -> Result<(), Stop> {
        while !work.has_failed() {
            let Some(claim) = lock(&work.claims).next(&self.spool, self.parts.length) else { break };
            let taken = self.take_part(claim, work).await;
            let mut claims = lock(&work.claims);
            claims.give_back(claim);
            match taken {
                Ok(()) => {}
                Err(Stop::Store) => return Err(Stop::Store),
                Err(Stop::Upstream | Stop::Unranged) => {
                    claims.close();
                    break;
                }
            }
        }
        Ok(())
    }

    async fn take_part(&self, (first, end): (u64, u64), work: &Work<'_>) -> Result<(), Stop> {
        let mut failure = work.failure.listen();
        let is_all = (first, end) == (0, self.spool.total());
        let part = if is_all { Relay::resume } else { Relay::part };
        let mut body = Body::stream(part(self.source.clone(), first, Some(end)), Some(end - first));
        let mut position = first;
        while let Some(piece) = work.piece(&mut body, &mut failure).await {
            if matches!(piece, Err(BodyError::Unranged)) {
                return Err(Stop::Unranged);
            }
            position += self.keep(position, piece.ok(), work).await?;
            lock(&work.claims).prove();
        }
        if position < end && !work.has_failed() { Err(Stop::Upstream) } else { Ok(()) }
    }

    /// Writes a piece, and hashes it if it is its turn.
    async fn keep(&self, position: u64, piece: Option<Bytes>, work: &Work<'_>) -> Result<u64, Stop> {
        let piece = piece.ok_or(Stop::Upstream)?;
        let length = piece.len() as u64;
        work.got.fetch_add(length, Ordering::Relaxed);
        if self.spool.write(position, &piece).await.map_err(|error| self.lose(&error))? {
            lock(work.progress).take(position, &piece);
        }
        Ok(length)
    }

    fn lose(&self, error: &crate::platform::StoreError) -> Stop {
        self.cache.failed("fill", error);
        Stop::Store
    }
}

/// What is being written when this ends would be nobody's, and a hole in the spool for ever: it comes to its end first.
async fn drain(
    mut stop: Stop,
    work: &Work<'_>,
    mut workers: FuturesUnordered<BoxFuture<'_, Result<(), Stop>>>,
) -> Stop {
    work.fail();
    while let Some(ended) = workers.next().await {
        if let Err(Stop::Store) = ended {
            stop = Stop::Store;
        }
    }
    stop
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_are_opened_where_one_is_slow_and_the_way_is_long() {
        let parts = Parts { count: 8, length: 4 << 20, per_upstream: 32 };
        let second = Duration::from_secs(1);
        for (now, got, missing, expected, why) in [
            (1, 2 << 20, 98 << 20, 8, "2 MiB/s and 98 MiB to go"),
            (1, 100 << 20, 900 << 20, 1, "fast enough"),
            (1, 2 << 20, 7 << 20, 1, "not two parts left"),
            (1, 8 << 20, 40 << 20, 2, "five seconds to go"),
            (8, 15 << 20, 900 << 20, 8, "no more than allowed"),
            (1, 0, 98 << 20, 8, "nothing came yet"),
        ] {
            assert_eq!(parts.wanted(now, got, missing, second), expected, "{why}");
        }
    }
}
