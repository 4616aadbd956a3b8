//! Warmings that were asked for by HTTP and wait for their turn, the one that runs, and the last that have ended. The platform
//! has the proxy carry them out, one after the other.

use std::collections::VecDeque;
use std::sync::PoisonError;

use serde::Serialize;

use super::request::WarmRequest;
use super::schedule::WarmSchedule;
use super::told::{WarmEvent, WarmTotals, WarmedImage};
use crate::platform::Clock;
use crate::sync::{Event, Mutex, MutexGuard};

/// Most warmings that wait.
const MAX_WAITING: usize = 16;
/// Ended warmings that are remembered.
const MAX_ENDED: usize = 16;
/// Images of a warming that are named because something of them is missing; all are counted.
const MAX_INCOMPLETE: usize = 50;

/// A warming that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WarmOrder {
    pub(crate) request: WarmRequest,
    /// No platform is named: this machine's is meant.
    pub(crate) is_for_this_machine: bool,
    /// Who asked.
    pub(crate) by: String,
}

/// How far a warming has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WarmReport {
    pub(crate) id: u64,
    by: String,
    /// When it was asked for, in seconds since 1970.
    asked: u64,
    /// When it ended.
    ended: Option<u64>,
    images: usize,
    /// What became of those that are done with.
    totals: WarmTotals,
    /// The first of those of which something is missing.
    incomplete: Vec<WarmedImage>,
    /// Why nothing could be fetched at all.
    error: Option<String>,
}

/// All that is known.
#[derive(Debug, Serialize)]
pub(crate) struct WarmQueueReport {
    running: Option<WarmReport>,
    waiting: Vec<WarmReport>,
    /// The last one first.
    ended: Vec<WarmReport>,
}

#[derive(Default)]
struct WarmQueueState {
    last_id: u64,
    waiting: VecDeque<(WarmReport, WarmOrder)>,
    running: Option<WarmReport>,
    ended: VecDeque<WarmReport>,
}

/// Warmings in the order in which they were asked for.
#[derive(Default)]
pub(crate) struct WarmQueue {
    /// Those that nobody has to ask for.
    pub(crate) schedule: WarmSchedule,
    state: Mutex<WarmQueueState>,
    asked: Event,
}

impl WarmQueue {
    /// Takes an order; its number. `None`: too many wait.
    pub(crate) fn ask(&self, order: WarmOrder, now: u64) -> Option<u64> {
        let mut state = self.state();
        if state.waiting.len() == MAX_WAITING {
            return None;
        }
        state.last_id += 1;
        let report = WarmReport {
            id: state.last_id,
            by: order.by.clone(),
            asked: now,
            ended: None,
            images: order.request.images.len(),
            totals: WarmTotals::default(),
            incomplete: Vec::new(),
            error: None,
        };
        let id = report.id;
        state.waiting.push_back((report, order));
        drop(state);
        self.asked.notify(usize::MAX);
        Some(id)
    }

    /// Waits until there is one to carry out.
    pub(crate) async fn due(&self) {
        loop {
            let listener = self.asked.listen();
            if !self.state().waiting.is_empty() {
                return;
            }
            listener.await;
        }
    }

    /// The next one, which runs from now on until this is dropped.
    pub(crate) fn begin<'a>(&'a self, clock: &'a dyn Clock) -> Option<(WarmOrder, RunningWarm<'a>)> {
        let mut state = self.state();
        let (report, order) = state.waiting.pop_front()?;
        state.running = Some(report);
        Some((order, RunningWarm { queue: self, clock }))
    }

    /// All that is known.
    pub(crate) fn report(&self) -> WarmQueueReport {
        let state = self.state();
        WarmQueueReport {
            running: state.running.clone(),
            waiting: state.waiting.iter().map(|(report, _)| report.clone()).collect(),
            ended: state.ended.iter().rev().cloned().collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, WarmQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A warming that runs.
pub(crate) struct RunningWarm<'a> {
    queue: &'a WarmQueue,
    clock: &'a dyn Clock,
}

impl RunningWarm<'_> {
    /// Notes what is told of it.
    pub(crate) fn told(&self, event: WarmEvent) {
        let mut state = self.queue.state();
        let Some(report) = &mut state.running else { return };
        match event {
            WarmEvent::Image(image) => {
                report.totals.add(&image);
                if !image.is_complete && report.incomplete.len() < MAX_INCOMPLETE {
                    report.incomplete.push(image);
                }
            }
            WarmEvent::Begin { .. }
            | WarmEvent::Arriving { .. }
            | WarmEvent::Part(_)
            | WarmEvent::Waiting { .. }
            | WarmEvent::End(_) => {}
        }
    }

    /// Nothing could be fetched.
    pub(crate) fn failed(&self, why: String) {
        if let Some(report) = &mut self.queue.state().running {
            report.error = Some(why);
        }
    }
}

impl Drop for RunningWarm<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        let Some(mut report) = state.running.take() else { return };
        report.ended = Some(self.clock.unix_seconds());
        state.ended.push_back(report);
        if state.ended.len() > MAX_ENDED {
            state.ended.pop_front();
        }
    }
}
