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

/// Blobs on their way that are named: more than all images at once can have.
const MAX_ARRIVING: usize = 64;
/// Who asked for what a rule of the configuration names.
const RULES: &str = "[[warm]]";

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
    pub(crate) by: String,
    /// When it was asked for, in seconds since 1970.
    asked: u64,
    /// When it ended.
    pub(crate) ended: Option<u64>,
    pub(crate) images: usize,
    /// What became of those that are done with.
    pub(crate) totals: WarmTotals,
    /// The first of those of which something is missing.
    pub(crate) incomplete: Vec<WarmedImage>,
    /// Why nothing could be fetched at all.
    pub(crate) error: Option<String>,
    /// What is being done just now, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<WarmProgress>,
}

/// What a warming that runs is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct WarmProgress {
    /// How many images there are: a pattern stands for several.
    pub(crate) images: usize,
    /// The image that was begun last.
    pub(crate) image: String,
    /// Configurations and layers on their way.
    pub(crate) arriving: Vec<ArrivingBlob>,
}

/// A blob on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ArrivingBlob {
    #[serde(skip)]
    place: usize,
    pub(crate) digest: String,
    /// How much of it is here.
    pub(crate) bytes: u64,
    /// Its length.
    pub(crate) total: u64,
}

impl WarmProgress {
    /// Notes what is told.
    fn note(&mut self, event: &WarmEvent) {
        match event {
            WarmEvent::Begin { of, name, .. } => {
                self.images = *of;
                self.image.clone_from(name);
            }
            WarmEvent::Arriving { place, digest, bytes, total } => {
                if let Some(blob) = self.arriving.iter_mut().find(|blob| blob.digest == *digest) {
                    (blob.bytes, blob.total) = (*bytes, *total);
                } else if self.arriving.len() < MAX_ARRIVING {
                    let (place, digest) = (*place, digest.clone());
                    self.arriving.push(ArrivingBlob { place, digest, bytes: *bytes, total: *total });
                }
            }
            WarmEvent::Part(part) => self.arriving.retain(|blob| blob.digest != part.what),
            WarmEvent::Image(image) => self.arriving.retain(|blob| blob.place != image.place),
            WarmEvent::Waiting { .. } | WarmEvent::End(_) => {}
        }
    }
}

/// All that is known.
#[derive(Debug, Serialize)]
pub(crate) struct WarmQueueReport {
    pub(crate) running: Option<WarmReport>,
    pub(crate) waiting: Vec<WarmReport>,
    /// The last one first.
    pub(crate) ended: Vec<WarmReport>,
}

#[derive(Default)]
struct WarmQueueState {
    last_id: u64,
    waiting: VecDeque<(WarmReport, WarmOrder)>,
    running: Option<WarmReport>,
    ended: VecDeque<WarmReport>,
}

impl WarmQueueState {
    fn report(&mut self, by: String, images: usize, now: u64) -> WarmReport {
        self.last_id += 1;
        WarmReport {
            id: self.last_id,
            by,
            asked: now,
            ended: None,
            images,
            totals: WarmTotals::default(),
            incomplete: Vec::new(),
            error: None,
            progress: None,
        }
    }

    fn run(&mut self, report: WarmReport) {
        let progress = WarmProgress { images: report.images, ..WarmProgress::default() };
        self.running = Some(WarmReport { progress: Some(progress), ..report });
    }
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
        let report = state.report(order.by.clone(), order.request.images.len(), now);
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
        state.run(report);
        Some((order, RunningWarm { queue: self, clock }))
    }

    /// A rule of the configuration that names so many images runs from now on until this is dropped.
    pub(crate) fn begin_rule<'a>(&'a self, images: usize, clock: &'a dyn Clock) -> RunningWarm<'a> {
        let mut state = self.state();
        let report = state.report(RULES.to_owned(), images, clock.unix_seconds());
        state.run(report);
        RunningWarm { queue: self, clock }
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
        report.progress.get_or_insert_default().note(&event);
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
        report.progress = None;
        state.ended.push_back(report);
        if state.ended.len() > MAX_ENDED {
            state.ended.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warm_orders::{PartOutcome, WarmedPart};

    fn arriving(place: usize, digest: &str, bytes: u64) -> WarmEvent {
        WarmEvent::Arriving { place, digest: digest.to_owned(), bytes, total: 100 }
    }

    fn shown(progress: &WarmProgress) -> Vec<(&str, u64)> {
        progress.arriving.iter().map(|blob| (blob.digest.as_str(), blob.bytes)).collect()
    }

    #[test]
    fn what_arrives_is_shown_until_it_is_here_or_its_image_is_done_with() {
        let mut progress = WarmProgress::default();
        progress.note(&WarmEvent::Begin { place: 2, of: 7, name: "a/b:v1".to_owned() });
        assert_eq!((progress.images, progress.image.as_str()), (7, "a/b:v1"));
        for event in [arriving(1, "x", 10), arriving(2, "y", 20), arriving(1, "x", 30), arriving(1, "z", 5)] {
            progress.note(&event);
        }
        assert_eq!(shown(&progress), [("x", 30), ("y", 20), ("z", 5)]);
        progress.note(&WarmEvent::Part(WarmedPart {
            place: 1,
            what: "x".to_owned(),
            platform: None,
            is_manifest: false,
            bytes: Some(100),
            outcome: PartOutcome::Fetched,
        }));
        assert_eq!(shown(&progress), [("y", 20), ("z", 5)]);
        progress.note(&WarmEvent::Image(WarmedImage { place: 1, ..WarmedImage::default() }));
        assert_eq!(shown(&progress), [("y", 20)]);
    }

    #[test]
    fn more_blobs_than_can_arrive_at_once_are_not_remembered() {
        let mut progress = WarmProgress::default();
        (0..200).for_each(|n| progress.note(&arriving(1, &n.to_string(), n)));
        assert_eq!(progress.arriving.len(), 64);
    }
}
