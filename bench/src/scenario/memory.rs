//! Resident memory at its peak, with slow readers among many clients.

use std::thread;
use std::time::Duration;

use crate::Result;
use crate::lab::Lab;
use crate::pull::Blob;
use crate::report::{Report, Row, Target};
use crate::service::Service;
use crate::service::nginx::AccessLog;
use crate::service::upstream::{BLOB, Upstream};
use crate::stats::Spread;

const CLIENTS: u32 = 64;

/// Those among the clients that read slowly.
const SLOW: u32 = 8;

/// Processes: single ones may need half as much again as most.
const RUNS: u32 = 20;

/// In mebibytes.
const TARGET: f64 = 48.0;

/// Long enough for closed connections to be noticed and let go.
const SETTLE: Duration = Duration::from_secs(1);

/// Resident memory in mebibytes.
struct Sample {
    rest: f64,
    peak: f64,
    after: f64,
}

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mebibytes = lab.options.either(256, 32);
    let upstream = lab.upstream(mebibytes)?;
    // Each in a process of its own: a peak cannot be taken back.
    let samples = (0..lab.options.either(RUNS, 1))
        .map(|_| sample(&lab.subject(upstream.address, AccessLog::Off)?, &upstream))
        .collect::<Result<Vec<_>>>()?;
    let nginx = sample(&lab.nginx(upstream.address, AccessLog::Off)?, &upstream)?;

    let mut row = |measure: &str, figure: fn(&Sample) -> f64, target: Option<Target>| {
        report.row(Row {
            measure: format!("memory {measure}, MiB"),
            ours: Spread::of(samples.iter().map(figure)).show(1),
            nginx: format!("{:.1}", figure(&nginx)),
            ratio: lab.control_ratio(Spread::of(samples.iter().map(figure)).median, figure(&nginx)),
            target,
            ..Row::default()
        });
    };
    row("at rest", |sample| sample.rest, None);
    // A limit is kept when the worst run keeps it.
    let worst = Spread::of(samples.iter().map(|sample| sample.peak)).max;
    let peak = format!("at its peak, {CLIENTS} clients, {SLOW} slow, {mebibytes} MiB each");
    row(&peak, |sample| sample.peak, Some(Target::under(TARGET, "MiB", worst)));
    row("afterwards", |sample| sample.after, None);
    Ok(())
}

fn sample(system: &Service, upstream: &Upstream) -> Result<Sample> {
    let rest = system.resident()?;
    let blob = Blob { address: system.address, path: BLOB, length: upstream.length };
    blob.pull_beside(CLIENTS - SLOW, SLOW)?;
    let peak = system.peak()?;
    thread::sleep(SETTLE);
    Ok(Sample { rest, peak, after: system.resident()? })
}
