//! Eviction pressure: how many bytes have arrived since the last survey of the store, who waits for an eviction, when the
//! next survey is due, and how far the store may exceed its limit until then.

use std::sync::atomic::{AtomicU64, Ordering};

use event_listener::{Event, EventListener};

/// How far the store may exceed its limit, whichever is more: a part of the limit, or so many bytes.
const SLACK_PARTS: u64 = 20;
const SLACK_BYTES: u64 = 64 << 20;

/// Writers report to it, the janitor acts on it.
pub(crate) struct EvictionPressure {
    /// How far the store may exceed its limit.
    slack: u64,
    /// Bytes stored or arriving at the last survey.
    held: AtomicU64,
    /// Bytes that have begun to arrive since that survey.
    arrived: AtomicU64,
    /// How many may arrive before the next survey is due.
    allowance: AtomicU64,
    /// Bytes that wait for an eviction before they arrive.
    waiting: AtomicU64,
    /// The largest write that found no room since the last survey; 0: none.
    wanted: AtomicU64,
    wake: Event,
    looked: Event,
}

/// A survey that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SurveyStart {
    /// Bytes that had begun to arrive since the survey before.
    arrived: u64,
    /// The largest write that found no room since then; 0: none.
    pub(crate) wanted: u64,
}

/// Bytes that wait for an eviction, until this is dropped.
pub(crate) struct WaitingBytes<'a> {
    pressure: &'a EvictionPressure,
    bytes: u64,
}

impl Drop for WaitingBytes<'_> {
    fn drop(&mut self) {
        self.pressure.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl EvictionPressure {
    /// Of a store that may hold so many bytes. Until the first survey any number may arrive.
    pub(crate) fn new(max_bytes: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            slack: SLACK_BYTES.max(max_bytes / SLACK_PARTS),
            held: zero(),
            arrived: zero(),
            allowance: AtomicU64::new(u64::MAX),
            waiting: zero(),
            wanted: zero(),
            wake: Event::new(),
            looked: Event::new(),
        }
    }

    /// Counts bytes that arrive.
    pub(crate) fn add(&self, bytes: u64) {
        let before = self.arrived.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.allowance.load(Ordering::Relaxed) {
            self.wake.notify(usize::MAX);
        }
    }

    /// Counts bytes that arrive, unless the store would exceed its limit too far; whether it counted them.
    pub(crate) fn try_add(&self, bytes: u64) -> bool {
        let allowance = self.allowance.load(Ordering::Relaxed);
        let limit = allowance.saturating_add(self.slack);
        let arrived = self.arrived.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if arrived > allowance {
            self.wake.notify(usize::MAX);
        }
        if arrived > limit {
            self.subtract(bytes);
        }
        arrived <= limit
    }

    /// Bytes that were counted do not arrive after all.
    pub(crate) fn subtract(&self, bytes: u64) {
        let _ = self
            .arrived
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrived| Some(arrived.saturating_sub(bytes)));
    }

    /// Bytes wait for an eviction.
    pub(crate) fn wait(&self, bytes: u64) -> WaitingBytes<'_> {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.wake.notify(usize::MAX);
        WaitingBytes { pressure: self, bytes }
    }

    /// How many bytes wait for an eviction.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Notifies at the end of the next survey.
    pub(crate) fn next_survey(&self) -> EventListener {
        self.looked.listen()
    }

    /// A write of so many bytes found no room: a survey is due.
    pub(crate) fn report_full(&self, bytes: u64) {
        self.wanted.fetch_max(bytes.max(1), Ordering::Relaxed);
        self.wake.notify(usize::MAX);
    }

    /// A survey begins.
    pub(crate) fn begin_survey(&self) -> SurveyStart {
        let arrived = self.arrived.swap(0, Ordering::Relaxed);
        SurveyStart { arrived, wanted: self.wanted.swap(0, Ordering::Relaxed) }
    }

    /// The survey failed: its counts are restored.
    pub(crate) fn survey_failed(&self, begun: SurveyStart) {
        self.arrived.fetch_add(begun.arrived, Ordering::Relaxed);
        if begun.wanted > 0 {
            self.report_full(begun.wanted);
        }
    }

    /// A survey ended: `held` bytes are stored or arriving, and `bytes` more may arrive until the next one.
    pub(crate) fn survey_done(&self, held: u64, bytes: u64) {
        self.held.store(held, Ordering::Relaxed);
        self.allowance.store(bytes, Ordering::Relaxed);
        self.looked.notify(usize::MAX);
    }

    /// Bytes stored or arriving, as far as known: never fewer than there are.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed).saturating_add(self.arrived.load(Ordering::Relaxed))
    }

    /// `None`: a survey is due. Otherwise what notifies when one may be.
    pub(crate) fn survey_due(&self) -> Option<EventListener> {
        let listener = self.wake.listen();
        let is_due = self.wanted.load(Ordering::Relaxed) > 0
            || self.waiting() > 0
            || self.arrived.load(Ordering::Relaxed) > self.allowance.load(Ordering::Relaxed);
        (!is_due).then_some(listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_goes_a_little_beyond_and_no_farther() {
        const MIB: u64 = 1 << 20;
        for (max, allowed, slack) in [(600 * MIB, 10 * MIB, 64 * MIB), (20 << 30, 10 * MIB, 1 << 30)] {
            let pressure = EvictionPressure::new(max);
            assert!(pressure.try_add(u64::MAX), "nobody has looked yet");
            pressure.begin_survey();
            pressure.survey_done(max - allowed, allowed);
            assert!(pressure.try_add(allowed) && pressure.survey_due().is_some(), "as much as there is room for");
            assert!(
                pressure.try_add(slack) && pressure.survey_due().is_none(),
                "a little beyond, and somebody is to look"
            );
            assert!(!pressure.try_add(1), "{max}");
            assert_eq!(pressure.held_bytes(), max + slack);
            let begun = pressure.begin_survey();
            pressure.survey_failed(begun);
            assert!(!pressure.try_add(1), "a look that comes to nothing makes no room");
            pressure.begin_survey();
            pressure.survey_done(max / 2, max / 2);
            assert!(pressure.try_add(1), "somebody has looked");
        }
    }

    #[test]
    fn who_waits_for_room_has_somebody_look_until_the_wait_is_over() {
        let pressure = EvictionPressure::new(0);
        pressure.begin_survey();
        pressure.survey_done(0, 1000);
        assert!(pressure.survey_due().is_some());
        let waiting = pressure.wait(7);
        assert!(pressure.survey_due().is_none());
        assert_eq!(pressure.waiting(), 7);
        drop(waiting);
        assert!(pressure.survey_due().is_some());
    }
}
