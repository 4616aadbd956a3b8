//! The task that fetches the ranges that clients ask for into the spool. It belongs to no request either: other clients
//! read the same bytes from the spool, and a later fill of the whole blob does not fetch them again.

use tracing::Instrument as _;

use super::Claim;
use super::drive::{Drive, FillRun};
use super::intake::{FillStop, FillWork};
use super::spool::Phase;
use crate::body::Body;
use crate::relay::Relay;

impl Drive {
    /// Fetches a range's claims one after the other; `begun`: the body of the first, if it has begun. If all of the
    /// blob is here then, it is verified and kept.
    pub(crate) async fn run_ranges(self, claims: Vec<Claim>, begun: Option<Body>) {
        let span = self.span("fill ranges");
        self.bring_ranges(claims, begun).instrument(span).await;
    }

    async fn bring_ranges(self, claims: Vec<Claim>, mut begun: Option<Body>) {
        for claim in claims {
            let body = begun.take().unwrap_or_else(|| {
                claim.begin(self.clock.now());
                let part = Relay::part(self.source.clone(), claim.first, Some(claim.end));
                Body::frames(part, Some(claim.end.saturating_sub(claim.first)))
            });
            if let Err(stop) = self.bring_range(&claim, body).await {
                return self.leave(&stop);
            }
        }
        if self.spool.is_complete()
            && let Some(run) = FillRun::begin(&self.spool)
        {
            self.run_to_its_end(run, None).await;
        }
    }

    async fn bring_range(&self, claim: &Claim, body: Body) -> Result<(), FillStop> {
        let position = FillWork::new(&self.spool, &self.cache, None).bring(claim, body).await?;
        if position < claim.reach(position) { Err(FillStop::Upstream) } else { Ok(()) }
    }

    /// Ends the task. The bytes that are present stay, and requests that wait for more fetch them themselves.
    pub(super) fn leave(&self, stop: &FillStop) {
        match stop {
            FillStop::Upstream => {}
            FillStop::Unranged => self.spool.lack_parts(),
            FillStop::Store => self.fills.close(&self.spool),
            // Whoever fetches the whole finds out by itself.
            FillStop::OtherLength if self.spool.phase() == Phase::Running => {}
            FillStop::OtherLength => {
                self.fills.close(&self.spool);
                self.spool.end_run(Phase::Lost);
            }
        }
    }
}
