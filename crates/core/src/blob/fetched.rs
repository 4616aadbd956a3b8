//! All of a blob that is not in the store: fetched once for all who want it, whoever of them begins.

use std::sync::Arc;
use std::time::Duration;

use http::header::RANGE;

use super::cached::{ARRIVING, Admission, BlobRequest};
use super::hit::{BYPASSED, begin_asking, found, show};
use super::window::given;
use super::{blob_unknown, chunked, length_of, passed_on, ranged};
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

/// How soon it is looked whether another process has fetched a blob, and how often at most.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const MOST_BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// How often it is looked how fast another upstream's blob comes.
const JUDGE_EVERY: Duration = Duration::from_secs(1);
/// Bytes a second below which another upstream's blob is not waited for.
const LEAST_RATE: u64 = 1 << 20;

impl BlobRequest<'_, '_> {
    /// All of it, from what is arriving or from the upstream; or the range that is all of it.
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
                    return self.pass(found(context, cache, digest, &self.ask()).await, BYPASSED).await;
                }
                FillEntry::Open(spool) => {
                    if !is_admitted {
                        show(context, cache, digest).await?;
                        is_admitted = true;
                    }
                    if let Some(answer) = self.join(&spool).await? {
                        return Ok(answer);
                    }
                    tries += 1;
                    if tries == ranged::TRIES {
                        return self.alone().await;
                    }
                }
            }
        };
        // Whoever led before may have heard that there is no such thing.
        begin_asking(context, cache, digest)?;
        let (lease, is_stored) = if is_usable { self.lease().await } else { (None, false) };
        // Another process may have fetched it meanwhile, or somebody between the look and the lead.
        if is_usable
            && (is_stored || is_admitted)
            && context.may_serve(cache, digest).await != MayServe::AfterBody
            && (is_admitted || show(context, cache, digest).await.is_ok())
        {
            let outcome = if is_stored { Outcome::new(Action::Joined, Reason::OtherProcess) } else { hit };
            if let Some(answer) = self.stored(outcome).await? {
                return Ok(answer);
            }
        }
        self.fill(lead, lease).await
    }

    /// Fetched for everybody who wants it, and kept; or passed on to this client, where that cannot be.
    async fn fill(&self, lead: FillLead, lease: Option<Lease>) -> Result<HandlerResponse, Error> {
        let Self { context, cache, digest, .. } = *self;
        let response = match found(context, cache, digest, &self.ask()).await {
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
            Given::Whole { length: None } => chunked::length(context, cache, digest).await,
            Given::Part { .. } | Given::Unusable => None,
        };
        let Some(total) = total else {
            lead.pass();
            return self.pass(Ok(response), passed_on(context)).await;
        };
        let window = self.window(total)?;
        let Some(draft) = cache.draft(digest, total).await else {
            lead.pass();
            return self.pass(Ok(response), BYPASSED).await;
        };
        let is_anonymous = context.upstream.is_asked_anonymously(context.identity, &context.target.name);
        let spool = Spool::begun(digest.clone(), total, context.upstream.name().into(), draft);
        let spool = Arc::new(spool.asked_anonymously(is_anonymous));
        let begun = FillRun::of(&spool);
        let opened = lead.open(&spool, self.now());
        // A range may have opened another one meanwhile, and somebody may be at that already.
        let run = if Arc::ptr_eq(&opened, &spool) { Some(begun) } else { FillRun::begin(&opened) };
        let outcome = if let Some(run) = run {
            let relay = Relay::new(self.source(total), response.into_body(), 0, 0, Some(total));
            let claim = opened.claim_stream(self.now());
            let main = Main { claim, body: Body::stream(relay, Some(total)) };
            self.drive(&opened, run, Some(main), lease);
            Outcome::new(Action::Filled, Reason::BlobAbsent)
        } else {
            ARRIVING
        };
        self.read_on(&opened, &window, outcome).await
    }

    /// From what is arriving; `None`: it turned out to be of no use, and is gone.
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

    /// Fetches what ranges have left. What they said of its length was one answer's word: before this client hears it, the
    /// upstream says it again. `false`: it says another.
    async fn fetch_rest(&self, spool: &Arc<Spool>, run: FillRun) -> Result<bool, Error> {
        let Self { context, cache, digest, .. } = *self;
        let total = spool.total();
        let Some(mut claim) = spool.claim_next(cache.config().fill.part_size.0, self.now()) else {
            self.drive(spool, run, None, None);
            return Ok(true);
        };
        let mut ask = self.ask();
        ask.headers.insert(RANGE, RangeSpec::Between(claim.first, claim.end.saturating_sub(1)).to_header());
        let continued = match found(context, cache, digest, &ask).await {
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
        let body = Body::stream(relay, Some(claim.end.saturating_sub(claim.first)));
        cache.count_incoming(total.saturating_sub(spool.present()));
        self.drive(spool, run, Some(Main { claim, body }), None);
        Ok(true)
    }

    /// What another upstream gives to everybody, once all of it is verified: until then nothing of it goes to clients of
    /// this one. Only where this one has it, too, and of the same length; and only while it comes fast enough.
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

    /// The right to fetch; or the word that another process has fetched it meanwhile. Whoever waits in vain fetches for
    /// itself: a lease delays, and never prevents (P-113).
    async fn lease(&self) -> (Option<Lease>, bool) {
        let Self { context, cache, digest, .. } = *self;
        let clock = &context.env.platform.clock;
        let mut pause = FIRST_LOOK;
        loop {
            match cache.lease(digest).await {
                Leased::Ours(lease) => {
                    // Between the look at the store and the lease another may have come to its end.
                    let is_stored = lease.is_some() && cache.blob_length(digest).await.is_some();
                    return (lease, is_stored);
                }
                // What takes longer than this client waits is not waited for at all: it would be fetched all the same.
                Leased::Theirs(course)
                    if self.left().is_zero() || !cache.is_worth_waiting(course, self.left()) =>
                {
                    return (None, false);
                }
                Leased::Theirs(_) => {}
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(MOST_BETWEEN_LOOKS);
            if cache.blob_length(digest).await.is_some() {
                return (None, true);
            }
        }
    }
}

/// Whether another upstream's blob is waited for, of which so many bytes came in the last second and so many are missing:
/// it must be whole in the time that is left.
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
