//! Asks the cache which images it has, or what a purge would take. A store is listed from one end to the other for that, so
//! one such work runs at a time, its answers are bounded, and the list of images serves for a minute.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::admin::{CacheAdmin, Command, Event, HoldEntry, Image, Purge, Purged};
use crate::platform::Moment;

/// Images that are kept of each order. Readers see fewer, and perhaps not these.
const MAX_KEPT: usize = 400;
/// How long a list serves.
const LIST_LIFE: Duration = Duration::from_mins(1);

/// The images of a cache, as far as they are worth a look.
#[derive(Debug, Default)]
pub(super) struct SurveyedImages {
    pub(super) count: u64,
    /// The largest first.
    pub(super) largest: Vec<Image>,
    /// The longest unused first.
    pub(super) unused: Vec<Image>,
}

impl SurveyedImages {
    fn take(&mut self, image: Image) {
        self.count += 1;
        keep(&mut self.largest, image.clone(), |image| image.bytes);
        keep(&mut self.unused, image, |image| image.used_seconds_ago);
    }
}

/// Keeps the list in order, the highest first, and short.
fn keep(list: &mut Vec<Image>, image: Image, rank: impl Fn(&Image) -> u64) {
    let place = list.partition_point(|other| rank(other) >= rank(&image));
    if place < MAX_KEPT {
        list.insert(place, image);
        list.truncate(MAX_KEPT);
    }
}

/// What a purge takes, or has taken.
#[derive(Debug, Default)]
pub(super) struct PurgeReport {
    /// The first images of those that go.
    pub(super) images: Vec<Image>,
    pub(super) totals: Purged,
}

/// The last list, and whether a work is running.
#[derive(Default)]
pub(super) struct Surveys {
    is_busy: AtomicBool,
    last: Mutex<Option<(Moment, Arc<SurveyedImages>)>>,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum NoSurvey {
    /// Another one is running.
    Busy,
    /// The store failed.
    Failed(String),
}

/// Held while a work runs.
struct BusyPermit<'a>(&'a AtomicBool);

impl Drop for BusyPermit<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Surveys {
    /// The images, counted within the last minute.
    pub(super) async fn images(&self, admin: &CacheAdmin) -> Result<Arc<SurveyedImages>, NoSurvey> {
        let now = admin.clock.now();
        if let Some(images) = self.known(now) {
            return Ok(images);
        }
        let found = Mutex::new(SurveyedImages::default());
        let tell = |event| {
            if let Event::Image(image) = event {
                found.lock().unwrap_or_else(PoisonError::into_inner).take(image);
            }
        };
        self.run(admin, &Command::List(None), &tell).await?;
        let images = Arc::new(found.into_inner().unwrap_or_else(PoisonError::into_inner));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&images)));
        Ok(images)
    }

    /// What a purge takes; dry: nothing goes.
    pub(super) async fn purge(
        &self,
        admin: &CacheAdmin,
        what: Purge,
        dry_run: bool,
    ) -> Result<PurgeReport, NoSurvey> {
        let report = Mutex::new(PurgeReport::default());
        let tell = |event| {
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Event::Image(image) if report.images.len() < MAX_KEPT => report.images.push(image),
                Event::Purged(totals) => report.totals = totals,
                Event::Image(_)
                | Event::Held(_)
                | Event::Counted(_)
                | Event::Tag { .. }
                | Event::Led(_)
                | Event::Progress(..)
                | Event::Wrong(_)
                | Event::Unread(_)
                | Event::Stat(_)
                | Event::Listed(_)
                | Event::Verified(_) => {}
            }
        };
        self.run(admin, &Command::Purge { what, dry_run }, &tell).await?;
        if !dry_run {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first of the tags that clients get otherwise than their registries have them, in the order of names, of those that
    /// `is_shown` wants.
    pub(super) async fn held(
        &self,
        admin: &CacheAdmin,
        is_shown: &(dyn Fn(&HoldEntry) -> bool + Send + Sync),
    ) -> Result<Vec<HoldEntry>, NoSurvey> {
        let found = Mutex::new(Vec::new());
        let tell = |event| {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            if let Event::Held(tag) = event
                && found.len() < MAX_KEPT
                && is_shown(&tag)
            {
                found.push(tag);
            }
        };
        self.run(admin, &Command::Held(None), &tell).await?;
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets through what held tags have moved to; how many tags that were.
    pub(super) async fn release(&self, admin: &CacheAdmin, image: &str) -> Result<u64, NoSurvey> {
        let count = AtomicU64::new(0);
        let tell = |event| {
            if let Event::Led(led) = event {
                count.store(led, Ordering::Relaxed);
            }
        };
        self.run(admin, &Command::Release(image.to_owned()), &tell).await?;
        Ok(count.into_inner())
    }

    fn known(&self, now: Moment) -> Option<Arc<SurveyedImages>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(when, _)| now.since(*when) < LIST_LIFE).map(|(_, images)| Arc::clone(images))
    }

    async fn run(
        &self,
        admin: &CacheAdmin,
        command: &Command,
        tell: crate::admin::Tell<'_>,
    ) -> Result<(), NoSurvey> {
        if self.is_busy.swap(true, Ordering::AcqRel) {
            return Err(NoSurvey::Busy);
        }
        let _permit = BusyPermit(&self.is_busy);
        admin.run(command, tell).await.map_err(|error| NoSurvey::Failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, bytes: u64, used_seconds_ago: u64) -> Image {
        Image {
            name: name.to_owned(),
            digest: String::new(),
            confirmed_seconds_ago: 0,
            bytes,
            used_seconds_ago,
            layers: 0,
            layers_here: 0,
            is_complete: true,
        }
    }

    #[test]
    fn the_largest_and_the_longest_unused_come_first_and_no_more_are_kept_than_said() {
        let mut images = SurveyedImages::default();
        for (name, bytes, used) in [("a", 5, 1), ("b", 9, 2), ("c", 7, 3)] {
            images.take(image(name, bytes, used));
        }
        let names = |list: &[Image]| list.iter().map(|image| image.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&images.largest), ["b", "c", "a"]);
        assert_eq!(names(&images.unused), ["c", "b", "a"]);
        for number in 0..1000 {
            images.take(image("x", number, number));
        }
        assert_eq!((images.count, images.largest.len(), images.unused.len()), (1003, 400, 400));
        assert_eq!(images.largest.first().map(|image| image.bytes), Some(999));
    }
}
