//! Ranges of blobs that are not in the store. Only the bytes that ranges ask for are fetched, each once for all clients that
//! want it; a range waits for bytes that another request fetches, but never long (P-104).

use std::sync::Arc;

use http::header::RANGE;

use super::hit::BYPASSED;
use super::length::confirm;
use super::relay::relay;
use super::request::{BlobRequest, JOINED, TRIES};
use super::upstream::{begin_asking, blob_unknown, fetch};
use super::window::{ServedRange, accept, given};
use crate::body::Body;
use crate::error::Error;
use crate::evidence::MayServe;
use crate::fill::{Claim, FillEntry, FillLead, FillRun, Main, Phase, RangePatience, Spool};
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::within;
use crate::range::{ByteRange, Given, RangeSpec};
use crate::relay::{Continued, Relay};
use crate::request::HandlerResponse;
use crate::upstream::Negative;

/// Fetched for a range, and kept for later requests.
const FETCHED: Outcome = Outcome::new(Action::Relayed, Reason::AbsentRange);
/// What the upstream's answer gives the spool.
enum RangeStart {
    /// The bytes that were asked for come to the spool.
    Comes,
    /// The spool is closed: the upstream names another length than before.
    Gone,
    /// Nothing of use to the spool.
    Unusable,
}

impl BlobRequest<'_, '_> {
    /// Answers with a range, from a download in progress or from the upstream.
    pub(super) async fn fetch_range(&self, spec: RangeSpec) -> Result<HandlerResponse, Error> {
        let Self { context, cache, digest, .. } = *self;
        begin_asking(context, cache, digest)?;
        for _ in 0..TRIES {
            let spool = if let Some(spool) = self.arriving() {
                spool
            } else {
                let asker = context.asker();
                let entered = context.env.fills.enter(digest, &asker, self.now());
                match within(&*context.env.platform.clock, self.left(), entered).await {
                    Ok(FillEntry::Open(spool)) => spool,
                    Ok(FillEntry::Lead(lead)) => return self.begin_range(spec, Some(lead)).await,
                    Ok(FillEntry::Refused(negative)) => return Err(negative.into_error(blob_unknown)),
                    Ok(FillEntry::Pass) => return self.alone().await,
                    Err(_) => return self.begin_range(spec, None).await,
                }
            };
            if context.may_serve(cache, digest).await != MayServe::Yes {
                confirm(context, cache, digest).await?;
            }
            let Some(range) = spec.within(spool.total()) else {
                // The length comes from a single answer, which is not enough for a 416.
                return self.begin_range(spec, None).await;
            };
            if let Some(answer) = self.share(&spool, range).await? {
                return Ok(answer);
            }
        }
        self.alone().await
    }

    /// Answers from a spool that has some of the blob, or is getting it; `None`: it turned out to be useless.
    async fn share(&self, spool: &Arc<Spool>, range: ByteRange) -> Result<Option<HandlerResponse>, Error> {
        let Self { context, .. } = *self;
        if range == ByteRange::whole(spool.total()) {
            return self.join(spool).await;
        }
        if spool.is_complete()
            && let Some(run) = FillRun::begin(spool)
        {
            // Ranges have brought all of it: time to verify it.
            self.drive(spool, run, None, None);
        }
        let window = ServedRange::part(range);
        let claims = spool.claim_range(range.first, range.end, self.now(), RangePatience::Waits);
        if claims.first().is_some_and(|claim| claim.first == range.first) {
            let begun = self.fetch_claims(spool, claims).await?;
            return self.read_begun(spool, &window, begun).await;
        }
        if !claims.is_empty() {
            // The first bytes are being fetched; nobody fetches the bytes behind them yet.
            if spool.phase() == Phase::Running {
                context.env.platform.tasks.spawn(Box::pin(self.work(spool, None).run_ranges(claims, None)));
            } else {
                // While nobody fetches the whole, its length comes from a single answer: the next one has to repeat it.
                match self.fetch_claims(spool, claims).await? {
                    RangeStart::Comes => {}
                    begun @ (RangeStart::Gone | RangeStart::Unusable) => {
                        return self.read_begun(spool, &window, begun).await;
                    }
                }
            }
        }
        match within(&*context.env.platform.clock, self.left(), spool.begins(range.first, range.end, 0)).await {
            Ok(true) => self.read(spool, &window, JOINED).await.map(Some),
            Ok(false) => Ok(None),
            Err(_) => {
                let claims = spool.claim_range(range.first, range.end, self.now(), RangePatience::IsOver);
                if claims.first().is_some_and(|claim| claim.first == range.first) {
                    let begun = self.fetch_claims(spool, claims).await?;
                    return self.read_begun(spool, &window, begun).await;
                }
                self.bridge(spool, &window).await.map(Some)
            }
        }
    }

    /// Answers from the spool, if the bytes come there; `None`: the spool is closed.
    async fn read_begun(
        &self,
        spool: &Arc<Spool>,
        window: &ServedRange,
        begun: RangeStart,
    ) -> Result<Option<HandlerResponse>, Error> {
        match begun {
            RangeStart::Comes => self.read_on(spool, window, FETCHED).await.map(Some),
            RangeStart::Gone => Ok(None),
            RangeStart::Unusable => self.alone().await.map(Some),
        }
    }

    /// Asks for the claimed bytes, which nobody else fetches.
    async fn fetch_claims(&self, spool: &Arc<Spool>, claims: Vec<Claim>) -> Result<RangeStart, Error> {
        let Self { context, cache, digest, .. } = *self;
        let Some((first, end)) = claims.first().map(|claim| (claim.first, claim.end)) else {
            return Ok(RangeStart::Comes);
        };
        let mut ask = self.ask();
        ask.headers.insert(RANGE, RangeSpec::Between(first, end.saturating_sub(1)).to_header());
        let continued = match fetch(context, cache, digest, &ask).await {
            Ok(response) => Continued::of(response, first, Some(spool.total())),
            Err(Negative::Unsatisfiable { .. }) => Continued::OtherLength,
            Err(negative) => return Err(negative.into_error(blob_unknown)),
        };
        Ok(match continued {
            Continued::Part(body) => {
                self.spawn_ranges(spool, claims, body);
                RangeStart::Comes
            }
            Continued::Whole(body) => {
                drop(claims);
                self.begin_whole(spool, body);
                RangeStart::Comes
            }
            // The request that fetches the whole finds out which length is right.
            Continued::OtherLength if spool.phase() == Phase::Running => RangeStart::Unusable,
            Continued::OtherLength => {
                context.env.fills.close(spool);
                spool.end_run(Phase::Lost);
                RangeStart::Gone
            }
            Continued::Unusable => RangeStart::Unusable,
        })
    }

    /// Begins a blob of which nothing is stored: the upstream's answer to this range says how long it is.
    async fn begin_range(&self, spec: RangeSpec, lead: Option<FillLead>) -> Result<HandlerResponse, Error> {
        let Self { context, cache, digest, .. } = *self;
        // The request that led before may have been told that there is no such blob.
        begin_asking(context, cache, digest)?;
        let mut ask = self.ask();
        ask.headers.insert(RANGE, spec.to_header());
        let found = fetch(context, cache, digest, &ask).await;
        let lead = match (&found, lead) {
            (Err(negative), Some(lead)) if negative.is_outage() => {
                lead.fail(negative.clone());
                None
            }
            (_, lead) => lead,
        };
        let is_whole = found.as_ref().is_ok_and(|response| matches!(given(response), Given::Whole { .. }));
        let (window, response) = accept(context, digest, Some(spec), found).await?;
        let Some(range) = window.range else { return relay(context, digest, ask, window, response).await };
        let Some(spool) = self.open(range.total, lead).await.filter(|spool| spool.total() == range.total) else {
            let passed = relay(context, digest, ask, window, response).await?;
            return Ok(HandlerResponse { outcome: BYPASSED, ..passed });
        };
        let window = ServedRange::part(range);
        if is_whole {
            self.begin_whole(&spool, response.into_body());
            return self.read_on(&spool, &window, FETCHED).await;
        }
        let claims = spool.claim_range(range.first, range.end, self.now(), RangePatience::Waits);
        if claims.first().is_none_or(|claim| claim.first != range.first) {
            // Another request was faster.
            drop(response);
            if !claims.is_empty() {
                let work = self.work(&spool, None).run_ranges(claims, None);
                context.env.platform.tasks.spawn(Box::pin(work));
            }
            return self.read(&spool, &window, JOINED).await;
        }
        self.spawn_ranges(&spool, claims, response.into_body());
        self.read_on(&spool, &window, FETCHED).await
    }

    /// Opens a spool for this upstream; `None`: the store has no room for it.
    async fn open(&self, total: u64, lead: Option<FillLead>) -> Option<Arc<Spool>> {
        let Self { context, cache, digest, .. } = *self;
        let Some(draft) = cache.blobs.sparse_draft(digest, total).await else {
            if let Some(lead) = lead {
                lead.pass();
            }
            return None;
        };
        let is_anonymous = context.upstream.is_asked_anonymously(context.identity, &context.target.name);
        let spool = Spool::new(digest.clone(), total, context.upstream.name().into(), draft);
        let spool = Arc::new(spool.asked_anonymously(is_anonymous));
        Some(match lead {
            Some(lead) => lead.open(&spool, self.now()),
            None => context.env.fills.open(&spool, self.now()),
        })
    }

    /// Fetches the claimed bytes in the background; the answer with the first of them has begun.
    fn spawn_ranges(&self, spool: &Arc<Spool>, claims: Vec<Claim>, body: Body) {
        let Some((first, end)) = claims.first().map(|claim| (claim.first, claim.end)) else { return };
        let relay = Relay::new(self.source(spool.total()), body, 0, first, Some(end));
        let body = Body::frames(relay, Some(end.saturating_sub(first)));
        self.context.env.platform.tasks.spawn(Box::pin(self.work(spool, None).run_ranges(claims, Some(body))));
    }

    /// Fills the spool from an answer with the whole blob, which the upstream gives instead of parts.
    fn begin_whole(&self, spool: &Arc<Spool>, body: Body) {
        spool.lack_parts();
        // Perhaps somebody has begun that already.
        if let Some(run) = FillRun::begin(spool) {
            let total = spool.total();
            self.cache.backend.count_incoming(total.saturating_sub(spool.present()));
            let relay = Relay::new(self.source(total), body, 0, 0, Some(total));
            let main = Main { claim: spool.claim_from(0, self.now()), body: Body::frames(relay, Some(total)) };
            self.drive(spool, run, Some(main), None);
        }
    }
}
