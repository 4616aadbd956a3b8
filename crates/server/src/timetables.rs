//! The timetables of `[[warm]] at`.

#[cfg(feature = "cron")]
mod cron;

use std::sync::Arc;

use registry_proxy_core::Config;
use registry_proxy_core::config::ConfigError;
use registry_proxy_core::platform::Timetable;

/// Reads the timetables of the rules, in their order; `None` for a rule with `every`. None at all where a timer of the platform
/// decides.
#[cfg(feature = "cron")]
pub(crate) fn load(config: &Config) -> Result<Vec<Option<Arc<dyn Timetable>>>, ConfigError> {
    use std::time::{SystemTime, UNIX_EPOCH};

    if !config.platform.runs_by_itself() {
        return Ok(Vec::new());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let read = |(i, rule): (usize, &registry_proxy_core::config::WarmRule)| {
        let Some(cron) = &rule.at else { return Ok(None) };
        let read = cron::CronTimetable::of(cron, rule.time_zone.as_deref().unwrap_or("UTC"));
        let read = read.and_then(|timetable| match timetable.next_after(now) {
            Some(_) => Ok(Some(Arc::new(timetable) as Arc<dyn Timetable>)),
            None => Err(("at", format!("{cron} never comes"))),
        });
        read.map_err(|(key, what)| ConfigError { place: format!("warm[{i}].{key}"), what })
    };
    config.warm.iter().enumerate().map(read).collect()
}

/// This build reads no cron expressions, so a rule with `at` would promise what nobody does.
#[cfg(not(feature = "cron"))]
pub(crate) fn load(config: &Config) -> Result<Vec<Option<Arc<dyn Timetable>>>, ConfigError> {
    match config.warm.iter().position(|rule| rule.at.is_some()) {
        Some(i) if config.platform.runs_by_itself() => {
            let what =
                "this build has no calendar: use a packaged one, build with --features cron, or write every";
            Err(ConfigError { place: format!("warm[{i}].at"), what: what.to_owned() })
        }
        Some(_) | None => Ok(Vec::new()),
    }
}
