//! A fill's task: fetches the missing bytes, hashes, verifies and commits them. It belongs to no request: a client that is
//! slow or goes away changes nothing.
//!
//! A fast stream stays alone. Beside a slow one, ranges of the rest are fetched, each on a connection of its own and
//! each resuming at its own offset: from the beginning, where an earlier fill has shown that the upstream gives ranges and
//! that its line is slow.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tracing::{Instrument as _, Span};

use super::hashing::Hashing;
use super::intake::{FillStop, FillWork};
use super::parts::{FillTiming, LineSpeed, Look};
use super::spool::{Phase, Spool};
use super::{Claim, Fills, Parts};
use crate::body::Body;
use crate::cache::{Cache, Lease};
use crate::evidence::Provenance;
use crate::platform::{Clock, Draft, StoreError, within};
use crate::relay::{Relay, Source};
use crate::{spans, telemetry};

/// How often gaps that other connections left are fetched again.
const SWEEPS: usize = 8;

/// The connections of a fill.
type Connections<'a> = FuturesUnordered<BoxFuture<'a, Result<(), FillStop>>>;

/// Everything a fill needs.
pub(crate) struct Drive {
    pub(crate) spool: Arc<Spool>,
    pub(crate) fills: Arc<Fills>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) source: Source,
    /// The upstream, and the repository that was asked for.
    pub(crate) provenance: Provenance,
    pub(crate) parts: Parts,
    pub(crate) idle: Duration,
    /// Held until the fill is over.
    pub(crate) lease: Option<Lease>,
}

/// The body with which a run begins, and its claim.
pub(crate) struct Main {
    pub(crate) claim: Claim,
    pub(crate) body: Body,
}

/// The right to fetch the whole blob. When it is dropped before the end, the next request may take it.
pub(crate) struct FillRun {
    spool: Arc<Spool>,
    number: u64,
}

impl FillRun {
    /// Takes the right to fetch the rest, if nobody has it.
    pub(crate) fn begin(spool: &Arc<Spool>) -> Option<Self> {
        spool.begin_run().then(|| Self::of(spool))
    }

    /// The right with which the spool was created.
    pub(crate) fn of(spool: &Arc<Spool>) -> Self {
        Self { spool: Arc::clone(spool), number: spool.run_of_reader(false) }
    }
}

impl Drop for FillRun {
    fn drop(&mut self) {
        self.spool.abandon_run(self.number);
    }
}

impl Drive {
    /// Fetches what is missing; `main` has begun to bring some of it. A blob that came in parts and is wrong is fetched
    /// again, by one connection: some upstreams give right wholes and wrong parts.
    pub(crate) async fn run(self, run: FillRun, main: Option<Main>) {
        let span = self.span("fill");
        self.run_to_its_end(run, main).instrument(span).await;
    }

    /// The span of work on the spool, of this name.
    pub(super) fn span(&self, name: &'static str) -> Span {
        spans::fill(name, self.source.upstream.name(), self.spool.digest().as_str(), self.spool.total())
    }

    pub(super) async fn run_to_its_end(mut self, run: FillRun, main: Option<Main>) {
        let mut next = Some((run, main));
        while let Some((_run, main)) = next.take() {
            let ended = self.fetch(main).await;
            next = self.conclude(ended).await.map(|draft| self.begin_anew(draft));
        }
    }

    /// Starts the fill again, by one connection.
    fn begin_anew(&mut self, draft: Arc<dyn Draft>) -> (FillRun, Option<Main>) {
        let (now, total) = (self.clock.now(), self.spool.total());
        self.spool = Arc::new(self.spool.anew(draft));
        self.fills.replace(&self.spool, now);
        let body = Body::frames(Relay::anew(self.source.clone(), total), Some(total));
        (FillRun::of(&self.spool), Some(Main { claim: self.spool.claim_stream(now), body }))
    }

    /// Logs and counts how it ended. Returns a draft where it should be tried again.
    async fn conclude(&mut self, ended: Result<bool, FillStop>) -> Option<Arc<dyn Draft>> {
        let (upstream, spool) = (Arc::clone(self.source.upstream.label()), &self.spool);
        let digest = spool.digest().as_str();
        let result = match ended {
            Ok(true) => {
                // Readers get the tail now; the commit may take long.
                let _pending = self.cache.backend.begin_write();
                spool.end_run(Phase::Whole);
                if let Some(lease) = &self.lease {
                    lease.tell_fetched(spool.total());
                }
                match spool.commit().await {
                    Ok(()) => self.cache.blobs.committed(&self.provenance, spool.digest(), spool.total()).await,
                    Err(error) => self.cache.backend.failed("commit", &error),
                }
                self.fills.close(spool);
                "filled"
            }
            Ok(false) => {
                let (size_bytes, has_parts) = (spool.total(), spool.has_parts());
                tracing::error!(
                    upstream = &*upstream,
                    digest,
                    size_bytes,
                    has_parts,
                    "the blob from the upstream does not match its digest; it is discarded"
                );
                telemetry::filled(&upstream, "digest mismatch");
                spans::ended("digest mismatch", true);
                self.cache.backend.mismatched("download", spool.digest());
                // Before readers learn of it: a new request finds the next spool.
                let draft =
                    if has_parts { self.cache.blobs.draft(spool.digest(), size_bytes).await } else { None };
                self.fills.close(spool);
                spool.end_run(Phase::Wrong);
                return draft;
            }
            Err(FillStop::Store) => {
                self.fills.close(spool);
                spool.end_run(Phase::Lost);
                "store failed"
            }
            Err(FillStop::OtherLength) => {
                let size_bytes = spool.total();
                tracing::warn!(
                    upstream = &*upstream,
                    digest,
                    size_bytes,
                    "the upstream gives another length than before, or ended early; the received bytes are discarded"
                );
                self.fills.close(spool);
                spool.end_run(Phase::Wrong);
                "another length"
            }
            Err(FillStop::Upstream | FillStop::Unranged) => {
                // The bytes stay for the next request.
                spool.end_run(Phase::Idle);
                if spool.is_dead() {
                    self.fills.close(spool);
                }
                "broken"
            }
        };
        self.lease = None;
        telemetry::filled(&upstream, result);
        spans::ended(result, result != "filled");
        None
    }

    /// Whether all of it came and has its digest.
    async fn fetch(&self, main: Option<Main>) -> Result<bool, FillStop> {
        let tasks = Arc::clone(&self.cache.backend.tasks);
        let hash = Hashing::new(self.spool.digest(), tasks).ok_or(FillStop::Store)?;
        {
            let hashing = pin!(self.spool.hash_along(&hash));
            let fetching = pin!(self.fetch_all(main, &hash));
            // Hashing ends behind the last byte. If fetching ends first, hashing goes on to there.
            match select(fetching, hashing).await {
                Either::Left((fetched, hashing)) => {
                    fetched?;
                    hashing.await.map_err(|error| self.lose(&error))?;
                }
                Either::Right((hashed, _)) => hashed.map_err(|error| self.lose(&error))?,
            }
        }
        Ok(hash.is(self.spool.digest()))
    }

    fn lose(&self, error: &StoreError) -> FillStop {
        self.cache.backend.failed("fill", error);
        FillStop::Store
    }

    async fn fetch_all(&self, main: Option<Main>, hash: &Hashing) -> Result<(), FillStop> {
        let work = FillWork::new(&self.spool, &self.cache, Some(hash));
        let started = self.clock.now();
        let (mut next_look, mut got_before) = (Parts::next_look(Duration::ZERO), 0);
        let mut workers: Connections<'_> = FuturesUnordered::new();
        match main {
            Some(main) => workers.push(Box::pin(self.follow(main, &work))),
            None => workers.push(Box::pin(self.take_rest(&work))),
        }
        let at_once = match self.source.upstream.slow_line() {
            Some(rate) => self.parts.wanted_at_once(rate, self.missing()),
            None => 1,
        };
        self.widen(&mut workers, at_once, &work);
        let mut timing = FillTiming::default();
        loop {
            work.shared_by(workers.len());
            let connections = workers.len();
            let pause = next_look.saturating_sub(self.clock.now().since(started));
            match select(workers.next(), self.clock.sleep(pause)).await {
                Either::Left((Some(Ok(())), _)) => {}
                Either::Left((Some(Err(stop)), _)) => return Err(drain(stop, &work, workers).await),
                Either::Left((None, _)) => break,
                Either::Right(_) => {
                    let elapsed = self.clock.now().since(started);
                    let look = Look { elapsed, got: work.got(), got_before, missing: self.missing() };
                    (next_look, got_before) = (Parts::next_look(elapsed), look.got);
                    if let Some(lease) = &self.lease {
                        lease.tell(self.spool.arrived(), self.spool.total());
                    }
                    let wanted = self.parts.wanted(workers.len(), &look);
                    self.widen(&mut workers, wanted, &work);
                }
            }
            timing.goes_on(self.clock.now().since(started), connections);
        }
        self.remember(FillTiming { got: work.got(), ..timing });
        let mut sweeps = 0;
        while !self.spool.is_complete() && sweeps < SWEEPS {
            let before = self.spool.present();
            match within(&*self.clock, self.idle, self.spool.settled()).await {
                Ok(()) => {}
                // Others bring the rest.
                Err(_) if self.spool.present() > before => continue,
                // Those with claims bring nothing.
                Err(_) => self.spool.give_back_all(),
            }
            sweeps += 1;
            self.take_rest(&work).await?;
        }
        match (self.spool.is_complete(), self.spool.phase()) {
            (true, _) => Ok(()),
            (false, Phase::Lost) => Err(FillStop::Store),
            (false, _) => Err(FillStop::Upstream),
        }
    }

    /// Bytes that a reader still waits for.
    fn missing(&self) -> u64 {
        self.spool.total().saturating_sub(self.spool.arrived())
    }

    /// Opens connections until there are as many as are wanted, as far as limits and the upstream permit.
    fn widen<'a>(&'a self, workers: &mut Connections<'a>, wanted: usize, work: &'a FillWork<'_>) {
        let length = self.parts.length_of(self.missing(), wanted);
        for _ in workers.len()..wanted {
            let Some(permit) = self.source.upstream.range_permit(self.parts.per_upstream) else { break };
            if !self.spool.split(length) {
                break;
            }
            workers.push(Box::pin(async move {
                let _permit = permit;
                self.help(work).await
            }));
        }
    }

    /// Remembers for the next fill whether the line is slow, and the upstream gives parts.
    fn remember(&self, timing: FillTiming) {
        let upstream = &self.source.upstream;
        match timing.line_speed() {
            LineSpeed::Slow(rate) if self.spool.gives_parts_beside_others() => upstream.note_slow_line(Some(rate)),
            LineSpeed::Slow(_) | LineSpeed::Fast => upstream.note_slow_line(None),
            LineSpeed::Unclear => {}
        }
    }

    /// Reads the stream that has begun, up to where others take over; then fetches missing parts.
    async fn follow(&self, main: Main, work: &FillWork<'_>) -> Result<(), FillStop> {
        let Main { claim, body } = main;
        work.bring(&claim, body).await?;
        drop(claim);
        self.take_rest(work).await
    }

    /// Fetches what is missing, part by part; in one stream where the upstream gives no parts.
    async fn take_rest(&self, work: &FillWork<'_>) -> Result<(), FillStop> {
        while !work.has_failed() {
            let Some(claim) = self.next_part(work) else { break };
            match self.take_part(&claim, work).await {
                Ok(()) => {}
                Err(FillStop::Unranged) => {
                    self.spool.lack_parts();
                    let all = self.spool.claim_from(claim.first, self.clock.now());
                    drop(claim);
                    let rest = Relay::resume(self.source.clone(), all.first, Some(all.end));
                    work.bring(&all, Body::frames(rest, Some(all.end - all.first))).await?;
                    return Ok(());
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// Fetches parts beside others. If a part does not come, it is left to them, and no more are asked for: the
    /// upstream gives none, or not so many.
    async fn help(&self, work: &FillWork<'_>) -> Result<(), FillStop> {
        while !work.has_failed() {
            let Some(claim) = self.next_part(work) else { break };
            match self.take_part(&claim, work).await {
                Ok(()) => {}
                Err(stop @ (FillStop::Store | FillStop::OtherLength)) => return Err(stop),
                Err(stop @ (FillStop::Upstream | FillStop::Unranged)) => {
                    drop(claim);
                    self.leave(&stop);
                    self.spool.close_parts();
                    break;
                }
            }
        }
        Ok(())
    }

    fn next_part(&self, work: &FillWork<'_>) -> Option<Claim> {
        let missing = self.spool.total().saturating_sub(self.spool.present());
        self.spool.claim_next(self.parts.length_of(missing, work.connections()), self.clock.now())
    }

    async fn take_part(&self, claim: &Claim, work: &FillWork<'_>) -> Result<(), FillStop> {
        let (first, end) = (claim.first, claim.end);
        let part = if claim.is_part { Relay::part } else { Relay::resume };
        let body = Body::frames(part(self.source.clone(), first, Some(end)), Some(end - first));
        let position = work.bring(claim, body).await?;
        if position < claim.reach(position) && !work.has_failed() { Err(FillStop::Upstream) } else { Ok(()) }
    }
}

/// Waits for writes in progress: one that is given up would leave a hole in the spool for ever.
async fn drain(mut stop: FillStop, work: &FillWork<'_>, mut workers: Connections<'_>) -> FillStop {
    work.fail();
    while let Some(ended) = workers.next().await {
        if let Err(FillStop::Store) = ended {
            stop = FillStop::Store;
        }
    }
    stop
}
