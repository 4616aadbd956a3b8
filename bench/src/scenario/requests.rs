//! What scenarios of small answers share: the load of `wrk` on each system in turn, and the rows of it.

use super::{figures, in_turn};
use crate::Result;
use crate::http::Connection;
use crate::lab::Lab;
use crate::report::{Report, Row, Target};
use crate::service::Service;
use crate::service::nginx::AccessLog;
use crate::service::upstream::{Content, Upstream};
use crate::stats::Spread;
use crate::wrk::Load;

/// What many scenarios rotate over: this many repositories …
pub(super) const REPOSITORIES: u32 = 100;
/// … with so many tags each.
pub(super) const TAGS: u32 = 10;

/// Seconds of one measurement.
pub(super) const SECONDS: u32 = 4;

/// A system under the load of `wrk`.
pub(super) struct Loaded<'a> {
    pub(super) service: &'a Service,
    /// Where `wrk` finds it.
    pub(super) origin: String,
}

impl<'a> From<&'a Service> for Loaded<'a> {
    fn from(service: &'a Service) -> Self {
        Self { service, origin: format!("http://{}", service.address) }
    }
}

/// One measurement.
pub(super) struct Sample {
    pub(super) per_second: f64,
    pub(super) micros: f64,
    /// Requests that were sent, and those that the upstream saw.
    pub(super) sent: u32,
    pub(super) relayed: u32,
}

/// Fails where an answer came from the upstream.
pub(super) fn were_hits(samples: &[Vec<Sample>]) -> Result<()> {
    match samples.iter().flatten().map(|sample| sample.relayed).sum() {
        0_u32 => Ok(()),
        asked => Err(format!("the upstream was asked {asked} times: these are no hits").into()),
    }
}

/// Fails where an answer came without the upstream: those are another, cheaper thing.
pub(super) fn were_relayed(samples: &[Vec<Sample>]) -> Result<()> {
    // Those that `wrk` no longer waits for at its end may count on one side only.
    match samples.iter().flatten().find(|sample| f64::from(sample.relayed) < 0.99 * f64::from(sample.sent)) {
        None => Ok(()),
        Some(Sample { sent, relayed, .. }) => {
            Err(format!("of {sent} requests only {relayed} went to the upstream: this is no relay").into())
        }
    }
}

/// Requests per second for cached content, against nginx with a cache; `fill` makes the content and gives its paths.
pub(super) fn cached(
    lab: &Lab,
    report: &mut Report,
    what: &str,
    target: f64,
    fill: impl FnOnce(&mut Content) -> Result<Vec<String>>,
) -> Result<()> {
    let mut content = lab.content(1)?;
    let paths = fill(&mut content)?;
    let upstream = Upstream::start(content)?;
    let ours = lab.subject_caching(upstream.address, AccessLog::File)?;
    let nginx = lab.nginx_caching(upstream.address, AccessLog::File)?;
    for system in [&ours, &nginx] {
        warm(system, &paths)?;
    }
    let samples = measure(lab, &paths, &upstream, &[&ours, &nginx].map(Loaded::from))?;
    were_hits(&samples)?;
    self::report(report, what, target, &samples);
    Ok(())
}

/// Asks for each path once, and once more: whatever keeps them has them afterwards.
pub(super) fn warm(service: &Service, paths: &[String]) -> Result<()> {
    let mut connection = Connection::open(service.address)?;
    paths.iter().chain(paths).try_for_each(|path| connection.download(path).map(drop))
}

/// The load on each system in turn; gives the measurements of each system.
pub(super) fn measure(
    lab: &Lab,
    paths: &[String],
    upstream: &Upstream,
    systems: &[Loaded<'_>],
) -> Result<Vec<Vec<Sample>>> {
    measure_for(lab, lab.options.either(SECONDS, 1), paths, upstream, systems)
}

/// The same for so many seconds each time.
pub(super) fn measure_for(
    lab: &Lab,
    seconds: u32,
    paths: &[String],
    upstream: &Upstream,
    systems: &[Loaded<'_>],
) -> Result<Vec<Vec<Sample>>> {
    let load = Load::new(&lab.room("wrk")?, paths)?;
    for system in systems {
        load.run(&system.origin, 1)?;
    }
    in_turn(lab.options.pairs, systems, |system| {
        let (before, cpu) = (upstream.requests()?, system.service.cpu()?);
        let run = load.run(&system.origin, seconds)?;
        let micros =
            system.service.cpu()?.saturating_sub(cpu).as_secs_f64() * 1e6 / f64::from(run.requests.max(1));
        let relayed = upstream.requests_since(before)?;
        Ok(Sample { per_second: run.per_second, micros, sent: run.requests, relayed })
    })
}

/// Figures of ours, nginx and, if it was measured, the bare relay, as rows: requests a second with a target, and
/// processor time.
pub(super) fn report(report: &mut Report, what: &str, target: f64, samples: &[Vec<Sample>]) {
    let (speeds, costs) = (figures(samples, |one| one.per_second), figures(samples, |one| one.micros));
    let row = |unit: &str, figures: &[Vec<f64>], decimals| Row {
        bare: figures.get(2).map(|bare| Spread::of(bare.iter().copied()).show(decimals)).unwrap_or_default(),
        ..Row::in_turn(format!("{what}, {unit}"), &figures[0], &figures[1], decimals)
    };
    let met = Target::at_least(target, Spread::of_ratios(&speeds[0], &speeds[1]).median);
    report.row(Row { target: Some(met), ..row("requests/s", &speeds, 0) });
    report.row(row("CPU µs a request", &costs, 1));
    if let Some(bare) = speeds.get(2) {
        let [limit, ours] = [(bare, &speeds[1]), (&speeds[0], bare)].map(|(a, b)| Spread::of_ratios(a, b).show(2));
        report
            .note(format!("{what}: the bare relay is at {limit} of nginx, and ours at {ours} of the bare relay."));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(relayed: [u32; 3]) -> [Vec<Sample>; 2] {
        let sample = |relayed| Sample { per_second: 1.0, micros: 1.0, sent: 1000, relayed };
        let [first, second, third] = relayed.map(sample);
        [vec![first], vec![second, third]]
    }

    #[test]
    fn one_answer_of_the_upstream_spoils_hits() {
        assert!(were_hits(&samples([0, 0, 0])).is_ok());
        assert!(were_hits(&samples([0, 0, 1])).is_err());
    }

    #[test]
    fn answers_without_the_upstream_are_not_relayed() {
        assert!(were_relayed(&samples([1000, 1032, 995])).is_ok());
        assert!(were_relayed(&samples([1000, 1000, 980])).is_err());
    }
}
