//! What is known of the room between two looks at the store, the word that somebody should look, and the bound on what
//! arrives until somebody has.

use std::sync::atomic::{AtomicU64, Ordering};

use event_listener::{Event, EventListener};

/// How far the store may be beyond what it may hold, whichever is more: a part of that, or so many bytes.
const SLACK_PARTS: u64 = 20;
const SLACK_BYTES: u64 = 64 << 20;

/// Told by those who write, heard by the janitor.
pub(crate) struct EvictionPressure {
    /// How far it may go beyond.
    slack: u64,
    /// What there was when somebody last looked, with what was arriving.
    held: AtomicU64,
    /// Bytes that have begun to arrive since then.
    arrived: AtomicU64,
    /// How many may, before there must be another look.
    allowance: AtomicU64,
    /// Bytes that wait for a look before they begin.
    waiting: AtomicU64,
    /// The largest that found no room since the last look; 0: nothing.
    wanted: AtomicU64,
    wake: Event,
    looked: Event,
}

/// A look at the store that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SurveyStart {
    /// Bytes that had begun to arrive since the one before.
    arrived: u64,
    /// The largest that found no room since then; 0: nothing.
    pub(crate) wanted: u64,
}

/// Bytes that wait.
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
    /// In a store that may hold so many bytes. Nobody has looked yet, and everything may come.
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

    /// So many bytes are on their way into the store.
    pub(crate) fn add(&self, bytes: u64) {
        let before = self.arrived.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.allowance.load(Ordering::Relaxed) {
            self.wake.notify(usize::MAX);
        }
    }

    /// The same, unless that would be too far beyond what the store may hold; whether they are.
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

    /// So many bytes do not come after all.
    pub(crate) fn subtract(&self, bytes: u64) {
        let _ = self
            .arrived
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrived| Some(arrived.saturating_sub(bytes)));
    }

    /// So many bytes wait until somebody has made room for them.
    pub(crate) fn wait(&self, bytes: u64) -> WaitingBytes<'_> {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.wake.notify(usize::MAX);
        WaitingBytes { pressure: self, bytes }
    }

    /// Bytes that wait for room.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Says when somebody has looked.
    pub(crate) fn next_survey(&self) -> EventListener {
        self.looked.listen()
    }

    /// So many bytes found no room.
    pub(crate) fn report_full(&self, bytes: u64) {
        self.wanted.fetch_max(bytes.max(1), Ordering::Relaxed);
        self.wake.notify(usize::MAX);
    }

    /// Somebody looks now.
    pub(crate) fn begin_survey(&self) -> SurveyStart {
        let arrived = self.arrived.swap(0, Ordering::Relaxed);
        SurveyStart { arrived, wanted: self.wanted.swap(0, Ordering::Relaxed) }
    }

    /// The look came to nothing: what was known before it is all that is known.
    pub(crate) fn survey_failed(&self, begun: SurveyStart) {
        self.arrived.fetch_add(begun.arrived, Ordering::Relaxed);
        if begun.wanted > 0 {
            self.report_full(begun.wanted);
        }
    }

    /// Somebody has looked: so many bytes are there or arriving, and so many more may come until somebody looks again.
    pub(crate) fn survey_done(&self, held: u64, bytes: u64) {
        self.held.store(held, Ordering::Relaxed);
        self.allowance.store(bytes, Ordering::Relaxed);
        self.looked.notify(usize::MAX);
    }

    /// What is there, or arriving, as far as that is known: never less than what there is.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed).saturating_add(self.arrived.load(Ordering::Relaxed))
    }

    /// Whether it is time to look, and if not, who says when.
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
