//! A claim: the bytes of a spool that one connection fetches, for as long as it holds the claim.

use std::sync::Arc;

use super::claims::{RangePatience, Taken};
use super::spool::{Phase, Spool, SpoolState};
use crate::platform::Moment;

/// Bytes that one connection fetches. When it is dropped, others may claim the bytes that have not arrived.
pub(crate) struct Claim {
    spool: Arc<Spool>,
    number: u64,
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// Whether it is a part, whose answer proves that the upstream gives parts.
    pub(super) is_part: bool,
}

impl Claim {
    /// The connection asks for its bytes now.
    pub(crate) fn begin(&self, now: Moment) {
        self.spool.state().claims.begin(self.number, now);
    }

    /// Records that bytes up to `position` have arrived, and returns where the claim ends, as far as is known.
    pub(crate) fn reach(&self, position: u64) -> u64 {
        self.spool.state().claims.reach(self.number, position)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.spool.state().claims.give_back(self.number);
        self.spool.changed.notify(usize::MAX);
    }
}

impl Spool {
    /// Claims a stream of the whole, up to the first byte that is present or claimed.
    pub(crate) fn claim_stream(self: &Arc<Self>, now: Moment) -> Claim {
        let mut state = self.state();
        let SpoolState { have, claims, .. } = &mut *state;
        let taken = claims.stream(have, self.total(), now);
        self.claim(taken, false)
    }

    /// Claims all bytes from here on, also those that others claimed: the upstream gives no parts.
    pub(crate) fn claim_from(self: &Arc<Self>, first: u64, now: Moment) -> Claim {
        let taken = self.state().claims.take(first, self.total(), now);
        self.claim(taken, false)
    }

    /// Claims the next unclaimed part, of at most so many bytes.
    pub(crate) fn claim_next(self: &Arc<Self>, most: u64, now: Moment) -> Option<Claim> {
        let mut state = self.state();
        let SpoolState { have, claims, .. } = &mut *state;
        claims.next(have, self.total(), most, now).map(|taken| self.claim(taken, true))
    }

    /// Claims the bytes of a range that nobody fetches soon; to be asked for one after the other.
    pub(crate) fn claim_range(
        self: &Arc<Self>,
        first: u64,
        end: u64,
        now: Moment,
        patience: RangePatience,
    ) -> Vec<Claim> {
        let mut state = self.state();
        let SpoolState { have, claims, phase, .. } = &mut *state;
        if matches!(phase, Phase::Lost | Phase::Wrong | Phase::Whole) {
            return Vec::new();
        }
        let taken = claims.range(have, (first, end), now, patience);
        taken.into_iter().map(|taken| self.claim(taken, true)).collect()
    }

    fn claim(self: &Arc<Self>, taken: Taken, is_part: bool) -> Claim {
        let Taken { number, first, end } = taken;
        let is_part = is_part && (first, end) != (0, self.total());
        Claim { spool: Arc::clone(self), number, first, end, is_part }
    }

    /// Makes room for parts of so many bytes: cuts the longest claim after `bytes` more. `false`: no more are tried.
    pub(crate) fn split(&self, bytes: u64) -> bool {
        let mut state = self.state();
        let claims = &mut state.claims;
        if !claims.is_closed() {
            claims.split(bytes);
        }
        !claims.is_closed()
    }

    /// Releases the claims of connections that have taken too long.
    pub(crate) fn give_back_all(&self) {
        self.state().claims.give_back_all();
        self.changed.notify(usize::MAX);
    }

    /// A part has come: the upstream gives parts.
    pub(crate) fn prove_parts(&self) {
        self.state().claims.prove();
    }

    /// Whether any of it came as a part.
    pub(crate) fn has_parts(&self) -> bool {
        self.state().claims.are_proved()
    }

    /// Whether parts came, and none was refused.
    pub(crate) fn gives_parts_beside_others(&self) -> bool {
        let state = self.state();
        state.claims.are_proved() && !state.claims.is_closed()
    }

    /// A part did not come: no more are tried beside others.
    pub(crate) fn close_parts(&self) {
        self.state().claims.close();
    }

    /// The whole came where a part was asked for: nobody need ask for parts.
    pub(crate) fn lack_parts(&self) {
        self.state().claims.lack();
    }

    pub(crate) fn lacks_parts(&self) -> bool {
        self.state().claims.lacks_parts()
    }
}
