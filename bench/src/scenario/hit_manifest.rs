//! Kept manifests per second, against nginx with a cache.

use super::in_turn;
use crate::Result;
use crate::lab::Lab;
use crate::report::{Report, Row, Target};
use crate::service::nginx::AccessLog;
use crate::service::upstream::MANIFEST;
use crate::stats::Spread;
use crate::wrk;

/// Our requests per second over those of nginx.
const TARGET: f64 = 0.7;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let seconds = lab.options.either(5, 1);
    let upstream = lab.upstream(1)?;
    let ours = lab.subject_caching(upstream.address, AccessLog::File)?;
    let nginx = lab.nginx_caching(upstream.address, AccessLog::File)?;
    let systems = [&ours, &nginx];
    // Once without counting: it is kept afterwards.
    for system in systems {
        wrk::run(system.address, MANIFEST, 1)?;
    }
    let before = upstream.requests()?;
    let samples = in_turn(lab.options.pairs, &systems, |system| {
        let cpu = system.cpu()?;
        let run = wrk::run(system.address, MANIFEST, seconds)?;
        let micros = system.cpu()?.saturating_sub(cpu).as_secs_f64() * 1e6 / f64::from(run.requests.max(1));
        Ok((run.per_second, micros))
    })?;
    let asked = upstream.requests()? - before - 1;
    if asked > 0 {
        return Err(format!("the upstream was asked {asked} times: these are no hits").into());
    }
    let figures = |figure: fn(&(f64, f64)) -> f64| -> Vec<Vec<f64>> {
        samples.iter().map(|samples| samples.iter().map(figure).collect()).collect()
    };
    let (speeds, costs) = (figures(|one| one.0), figures(|one| one.1));
    let ratio = Spread::of_ratios(&speeds[0], &speeds[1]);
    let row = |measure: &str, figures: &[Vec<f64>], target| Row {
        measure: measure.to_owned(),
        ours: Spread::of(figures[0].iter().copied()).show(0),
        nginx: Spread::of(figures[1].iter().copied()).show(0),
        ratio: Spread::of_ratios(&figures[0], &figures[1]).show(2),
        target,
        ..Row::default()
    };
    report.row(row("hit-manifest, requests/s", &speeds, Some(Target::at_least(TARGET, ratio.median))));
    report.row(row("hit-manifest, CPU µs a request", &costs, None));
    Ok(())
}
