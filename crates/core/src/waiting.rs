//! Limits how many requests wait for an upstream. Each upstream has `limits.waiting` permits of its own, so a slow one does not
//! block the others. A request takes a permit only when it has to wait, so cache hits, pings and logins are never refused.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::Error;

/// The permits of one upstream.
pub(crate) struct WaitingLimit {
    most: usize,
    taken: AtomicUsize,
}

impl WaitingLimit {
    /// At most `most` requests wait at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0) }
    }

    fn take(&self) -> Result<(), Error> {
        let one_more = |taken: usize| (taken < self.most).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.map(drop).map_err(|_| Error::Overloaded)
    }
}

/// One request's permit, held from its first wait until its answer begins.
pub(crate) struct WaitingPermit<'a> {
    limit: &'a WaitingLimit,
    has_place: AtomicBool,
}

impl<'a> WaitingPermit<'a> {
    /// For a request that has not waited yet.
    pub(crate) fn new(limit: &'a WaitingLimit) -> Self {
        Self { limit, has_place: AtomicBool::new(false) }
    }

    /// Takes a permit, unless this request has one.
    ///
    /// # Errors
    ///
    /// `limits.waiting` requests wait for this upstream.
    pub(crate) fn begin(&self) -> Result<(), Error> {
        if self.has_place.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.limit.take()?;
        self.has_place.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl WaitingPermit<'_> {
    /// Gives the permit back: the request no longer waits for the upstream.
    pub(crate) fn end(&self) {
        if self.has_place.swap(false, Ordering::Relaxed) {
            self.limit.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for WaitingPermit<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_one_place_however_often_it_waits_and_gives_it_back() {
        let limit = WaitingLimit::new(2);
        let (first, second, third) =
            (WaitingPermit::new(&limit), WaitingPermit::new(&limit), WaitingPermit::new(&limit));
        assert!(first.begin().is_ok() && first.begin().is_ok() && second.begin().is_ok());
        assert!(third.begin().is_err());
        first.end();
        assert!(third.begin().is_ok() && first.begin().is_err());
        drop((first, second, third));
        assert_eq!(limit.taken.load(Ordering::Relaxed), 0);
    }
}
