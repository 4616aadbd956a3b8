//! What the rules of `[[warm]]` name is fetched: one rule when it is due, or all of them when a timer of the platform calls.

use std::sync::PoisonError;
use std::time::Duration;

use serde::Serialize;

use super::Proxy;
use crate::config::Config;
use crate::platform::within;
use crate::sync::Mutex;
use crate::warm_orders::{WarmEvent, WarmRequest};

/// What came of a call of the platform's timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimerReport {
    /// Rules that are done with.
    pub rules: usize,
    /// Their images.
    pub images: u64,
    /// Those of which all is cached.
    pub complete: u64,
    /// Whether no rule is left to the next call.
    pub is_ended: bool,
}

impl Proxy {
    /// Fetches the images of all rules, one after the other, for at most `limit`. What does not fit is left to the next call,
    /// which finds cached what has come. Rules without platforms are for `own_platform`.
    pub async fn warm_by_timer(&self, config: &Config, own_platform: &str, limit: Duration) -> TimerReport {
        let clock = &*self.env.platform.clock;
        let until = clock.now().after(limit);
        let mut report = TimerReport { rules: 0, images: 0, complete: 0, is_ended: true };
        for at in 0..config.warm.len() {
            let left = until.since(clock.now());
            let Ok((images, complete)) = within(clock, left, self.warm_rule(config, at, own_platform)).await
            else {
                tracing::info!(
                    rule = at,
                    limit_seconds = limit.as_secs(),
                    "the time of a timer's call is over; the next call goes on with [[warm]] where this one was"
                );
                report.is_ended = false;
                break;
            };
            report.rules += 1;
            report.images += images;
            report.complete += complete;
        }
        report
    }

    /// Fetches the images of the rule at this place, and logs what came: how many images it names, and how many are complete.
    pub(super) async fn warm_rule(&self, config: &Config, at: usize, own_platform: &str) -> (u64, u64) {
        let Some(rule) = config.warm.get(at) else { return (0, 0) };
        let running = self.admin_page.warmings().begin_rule(rule.images.len(), &*self.env.platform.clock);
        let missing = Mutex::new(None);
        let tell = |event: WarmEvent| {
            running.told(event.clone());
            if let WarmEvent::Image(image) = event
                && let Some(part) = image.missing.into_iter().next()
            {
                let mut missing = missing.lock().unwrap_or_else(PoisonError::into_inner);
                missing.get_or_insert((image.name, part));
            }
        };
        let done = self.warm(config, &WarmRequest::of_rule(rule, own_platform), &tell).await;
        let missing = missing.into_inner().unwrap_or_else(PoisonError::into_inner);
        let counted = done.as_ref().map_or((0, 0), |totals| (totals.images, totals.complete));
        match (done, missing) {
            (Ok(totals), None) => tracing::info!(
                rule = at,
                images = totals.images,
                fetched_bytes = totals.bytes_fetched,
                "the images of [[warm]] are cached"
            ),
            (Ok(totals), Some((image, part))) => tracing::warn!(
                rule = at,
                images = totals.images,
                complete = totals.complete,
                image,
                part = part.what,
                error = part.why,
                "not all images of [[warm]] are cached; the first that is missing is named"
            ),
            (Err(error), _) => {
                tracing::warn!(rule = at, error, "the images of [[warm]] were not fetched");
                running.failed(error);
            }
        }
        counted
    }
}
