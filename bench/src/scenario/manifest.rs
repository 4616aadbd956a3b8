//! Manifests relayed per second.

use super::in_turn;
use crate::Result;
use crate::lab::Lab;
use crate::report::{Report, Row, Target};
use crate::service::nginx::AccessLog;
use crate::service::upstream::MANIFEST;
use crate::stats::Spread;
use crate::wrk;

/// Our requests per second over those of nginx.
const TARGET: f64 = 0.8;

struct Sample {
    per_second: f64,
    /// Requests the upstream saw for each one sent.
    relayed: f64,
}

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let seconds = lab.options.either(5, 1);
    let upstream = lab.upstream(1)?;
    let ours = lab.subject(upstream.address, AccessLog::File)?;
    let nginx = lab.nginx(upstream.address, AccessLog::File)?;
    let systems = [&ours, &nginx];

    // Once without counting: connections to the upstream are there afterwards.
    for system in systems {
        wrk::run(system.address, MANIFEST, 1)?;
    }
    let samples = in_turn(lab.options.pairs, &systems, |system| {
        let before = upstream.requests()?;
        let run = wrk::run(system.address, MANIFEST, seconds)?;
        // The second count counts itself.
        let seen = upstream.requests()?.wrapping_sub(before).saturating_sub(1);
        Ok(Sample { per_second: run.per_second, relayed: f64::from(seen) / f64::from(run.requests) })
    })?;

    let speeds: Vec<Vec<f64>> =
        samples.iter().map(|samples| samples.iter().map(|sample| sample.per_second).collect()).collect();
    let ratio = Spread::of_ratios(&speeds[0], &speeds[1]);
    let show = |system: usize| Spread::of(speeds[system].iter().copied()).show(0);
    report.row(Row {
        measure: "manifest, requests/s".into(),
        ours: show(0),
        nginx: show(1),
        ratio: ratio.show(2),
        target: Some(Target::at_least(TARGET, ratio.median)),
        ..Row::default()
    });

    // Answers that were not relayed are another, cheaper thing.
    let relayed = Spread::of(samples[0].iter().map(|sample| sample.relayed));
    if relayed.min < 0.99 {
        report.note(format!(
            "Of our manifest requests only {} of each 1 went to the upstream: this is not a relay's figure.",
            relayed.show(2)
        ));
    }
    Ok(())
}
