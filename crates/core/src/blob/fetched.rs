//! A whole blob that is not in the store: fetched once for all clients that want it.

use std::sync::Arc;
use std::time::Duration;

use http::header::RANGE;

use super::hit::BYPASSED;
use super::length::{confirm, length_beforehand, length_of};
use super::relay::passed_on;
use super::request::{ARRIVING, Admission, BlobRequest, TRIES};
use super::upstream::{begin_asking, blob_unknown, fetch};
use super::window::given;
use crate::backoff::Backoff;
use crate::body::Body;
use crate::cache::{Lease, Leased};
use crate::error::Error;
use crate::evidence::MayServe;
use crate::fill::{FillEntry, FillLead, FillRun, Main, Phase, Spool};
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::within;
use crate::range::{Given, RangeSpec};
use crate::relay::{Continued, Relay};
use crate::request::HandlerResponse;
use crate::upstream::Negative;

/// Pauses between two looks at whether another process has fetched a blob: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// How often the speed of another upstream's download is measured.
const JUDGE_EVERY: Duration = Duration::from_secs(1);
/// Bytes a second below which another upstream's download is not waited for.
const LEAST_RATE: u64 = 1 << 20;

impl BlobRequest<'_, '_> {
    /// Answers with all of the blob, or with a range that is all of it: from a download in progress, or from the upstream.
    pub(super) async fn fetch_whole(&self, admission: Admission, hit: Outcome) -> Result<HandlerResponse, Error> {
        let Self { context, cache, digest, .. } = *self;
        let Admission { mut is_admitted, is_usable } = admission;
        begin_asking(context, cache, digest)?;
        if self.arriving().is_none()
            && let Some(answer) = self.joined_elsewhere().await?
        {
            return Ok(answer);
        }
        let mut tries = 0;
        let lead = loop {
            let asker = context.asker();
            let entered = context.env.fills.enter(digest, &asker, self.now());
            let entry = match self.spec {
                None => entered.await,
                Some(_) => match within(&*context.env.platform.clock, self.left(), entered).await {
                    Ok(entry) => entry,
                    Err(_) => return self.alone().await,
                },
            };
            match entry {
                FillEntry::Lead(lead) => break lead,
                FillEntry::Refused(negative) => return Err(negative.into_error(blob_unknown)),
                FillEntry::Pass => {
                    return self.pass(fetch(context, cache, digest, &self.ask()).await, BYPASSED).await;
                }
                FillEntry::Open(spool) => {
                    if !is_admitted {
                        confirm(context, cache, digest).await?;
                        is_admitted = true;
                    }
                    if let Some(answer) = self.join(&spool).await? {
                        return Ok(answer);
                    }
                    tries += 1;
                    if tries == TRIES {
                        return self.alone().await;
                    }
                }
            }
        };
        // The request that led before may have been told that there is no such blob.
        begin_asking(context, cache, digest)?;
        let (lease, is_stored) = if is_usable { self.lease().await } else { (None, false) };
        // Another process may have stored it meanwhile, or another request before this one took the lead.
        if is_usable
            && (is_stored || is_admitted)
            && context.may_serve(cache, digest).await != MayServe::AfterBody
            && (is_admitted || confirm(context, cache, digest).await.is_ok())
        {
            let outcome = if is_stored { Outcome::new(Action::Joined, Reason::OtherProcess) } else { hit };
            if let Some(answer) = self.stored(outcome).await? {
                return Ok(answer);
            }
        }
        self.fill(lead, lease).await
    }

    /// Fetches the blob into the cache for all clients that want it; relays it to this client where that is not possible.
    async fn fill(&self, lead: FillLead, lease: Option<Lease>) -> Result<HandlerResponse, Error> {
        let Self { context, cache, digest, .. } = *self;
        let response = match fetch(context, cache, digest, &self.ask()).await {
            Ok(response) => response,
            Err(negative) => {
                if negative.is_outage() {
                    lead.fail(negative.clone());
                }
                return Err(negative.into_error(blob_unknown));
            }
        };
        let is_empty = digest.is_of_nothing() == Some(true);
        let total = match given(&response) {
            Given::Whole { length: Some(length) } => Some(length).filter(|total| *total > 0 || is_empty),
            Given::Whole { length: None } if is_empty => Some(0),
            Given::Whole { length: None } => length_beforehand(context, cache, digest).await,
            Given::Part { .. } | Given::Unusable => None,
        };
        let Some(total) = total else {
            lead.pass();
            return self.pass(Ok(response), passed_on(context)).await;
        };
        let window = self.window(total)?;
        let Some(draft) = cache.blobs.draft(digest, total).await else {
            lead.pass();
            return self.pass(Ok(response), BYPASSED).await;
        };
        let is_anonymous = context.upstream.is_asked_anonymously(context.identity, &context.target.name);
        let spool = Spool::begun(digest.clone(), total, context.upstream.name().into(), draft);
        let spool = Arc::new(spool.asked_anonymously(is_anonymous));
        let begun = FillRun::of(&spool);
        let opened = lead.open(&spool, self.now());
        // A range may have opened another spool meanwhile, and another request may already be filling that.
        let run = if Arc::ptr_eq(&opened, &spool) { Some(begun) } else { FillRun::begin(&opened) };
        let outcome = if let Some(run) = run {
            let relay = Relay::new(self.source(total), response.into_body(), 0, 0, Some(total));
            let claim = opened.claim_stream(self.now());
            let main = Main { claim, body: Body::frames(relay, Some(total)) };
            self.drive(&opened, run, Some(main), lease);
            Outcome::new(Action::Filled, Reason::BlobAbsent)
        } else {
            ARRIVING
        };
        self.read_on(&opened, &window, outcome).await
    }

    /// Answers from a download in progress; `None`: it turned out to be useless, and is closed.
    pub(super) async fn join(&self, spool: &Arc<Spool>) -> Result<Option<HandlerResponse>, Error> {
        let window = self.window(spool.total())?;
        let Some(run) = FillRun::begin(spool) else {
            return self.read(spool, &window, ARRIVING).await.map(Some);
        };
        if !self.fetch_rest(spool, run).await? {
            return Ok(None);
        }
        self.read_on(spool, &window, Outcome::new(Action::Filled, Reason::BlobRest)).await.map(Some)
    }

    /// Fetches the bytes that ranges have left out. The length comes from a single answer, so the upstream has to repeat it
    /// before this client is told. `false`: the upstream names another length.
    async fn fetch_rest(&self, spool: &Arc<Spool>, run: FillRun) -> Result<bool, Error> {
        let Self { context, cache, digest, .. } = *self;
        let total = spool.total();
        let Some(mut claim) = spool.claim_next(cache.config().fill.part_size.0, self.now()) else {
            self.drive(spool, run, None, None);
            return Ok(true);
        };
        let mut ask = self.ask();
        ask.headers.insert(RANGE, RangeSpec::Between(claim.first, claim.end.saturating_sub(1)).to_header());
        let continued = match fetch(context, cache, digest, &ask).await {
            Ok(response) => Continued::of(response, claim.first, Some(total)),
            Err(Negative::Unsatisfiable { .. }) => Continued::OtherLength,
            Err(negative) => return Err(negative.into_error(blob_unknown)),
        };
        let (skip, body) = match continued {
            Continued::Part(body) => (0, body),
            Continued::Whole(body) => {
                spool.lack_parts();
                let first = claim.first;
                claim = spool.claim_from(first, self.now());
                (first, body)
            }
            Continued::OtherLength | Continued::Unusable => {
                context.env.fills.close(spool);
                spool.end_run(Phase::Lost);
                return Ok(false);
            }
        };
        let relay = Relay::new(self.source(total), body, skip, claim.first, Some(claim.end));
        let body = Body::frames(relay, Some(claim.end.saturating_sub(claim.first)));
        cache.backend.count_incoming(total.saturating_sub(spool.present()));
        self.drive(spool, run, Some(Main { claim, body }), None);
        Ok(true)
    }

    /// Waits for another upstream's download of a public blob, while it is fast enough. Its bytes go to clients of this
    /// upstream once all are verified, if this upstream has the blob too, with the same length.
    async fn joined_elsewhere(&self) -> Result<Option<HandlerResponse>, Error> {
        let Self { context, digest, .. } = *self;
        let Some(spool) = context.env.fills.find_elsewhere(digest, context.upstream.name()) else {
            return Ok(None);
        };
        if length_of(context, digest).await.ok().flatten() != Some(spool.total()) {
            return Ok(None);
        }
        let window = self.window(spool.total())?;
        let clock = &*context.env.platform.clock;
        while spool.phase() == Phase::Running {
            let before = spool.present();
            if within(clock, JUDGE_EVERY.min(self.left()), spool.run_over()).await.is_err() {
                let got = spool.present().saturating_sub(before);
                if !is_worth_waiting(got, spool.total().saturating_sub(spool.present()), self.left()) {
                    return Ok(None);
                }
            }
        }
        if spool.phase() != Phase::Whole {
            return Ok(None);
        }
        self.read_on(&spool, &window, ARRIVING).await.map(Some)
    }

    /// Takes the lease, or waits until another process has fetched the blob. A request that waits in vain fetches the blob
    /// itself: a lease delays a download and never prevents it (P-113).
    async fn lease(&self) -> (Option<Lease>, bool) {
        let Self { context, cache, digest, .. } = *self;
        let clock = &context.env.platform.clock;
        let mut backoff = Backoff::new(FIRST_LOOK, LONGEST_BETWEEN_LOOKS);
        loop {
            match cache.leases.lease(digest).await {
                Leased::Ours(lease) => {
                    // Another process may have finished between the look at the store and the lease.
                    let is_stored = lease.is_some() && cache.blobs.blob_length(digest).await.is_some();
                    return (lease, is_stored);
                }
                // That download takes longer than this client waits: it would wait in vain.
                Leased::Theirs(course)
                    if self.left().is_zero() || !cache.leases.is_worth_waiting(course, self.left()) =>
                {
                    return (None, false);
                }
                Leased::Theirs(_) => {}
            }
            clock.sleep(backoff.pause()).await;
            if cache.blobs.blob_length(digest).await.is_some() {
                return (None, true);
            }
        }
    }
}

/// Whether another upstream's download is worth waiting for: at the speed of the last second, in which `got` bytes came, the
/// `missing` bytes must come in the time that is left.
fn is_worth_waiting(got: u64, missing: u64, left: Duration) -> bool {
    let rate = got / JUDGE_EVERY.as_secs();
    rate >= LEAST_RATE && missing / rate <= left.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_upstreams_blob_is_waited_for_while_it_comes_fast_enough() {
        const MB: u64 = 1 << 20;
        for (got, missing, left, expected, why) in [
            (10 * MB, 50 * MB, 15, true, "five seconds to go"),
            (10 * MB, 200 * MB, 15, false, "twenty seconds to go, and fifteen left"),
            (10, 1000, 15, false, "it drips"),
            (MB - 1, MB, 15, false, "below the least rate"),
            (MB, MB, 1, true, "just so"),
            (0, 1, 15, false, "nothing comes"),
        ] {
            assert_eq!(is_worth_waiting(got, missing, Duration::from_secs(left)), expected, "{why}");
        }
    }
}
