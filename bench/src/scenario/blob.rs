//! A large blob relayed, over one connection and over eight.

use std::time::Duration;

use super::{figures, in_turn};
use crate::lab::Lab;
use crate::pull::Blob;
use crate::report::{Report, Row, Target};
use crate::service::Service;
use crate::service::nginx::AccessLog;
use crate::service::upstream::BLOB;
use crate::stats::Spread;
use crate::{Error, Result};

/// Our throughput over that of nginx.
const TARGET: f64 = 1.0;

/// Connections at once, and how often in a row within one round: which worker
/// and core a single connection falls to is luck, which several even out.
const LOADS: [(u32, u32); 2] = [(1, 4), (8, 1)];

/// What one round came to.
struct Sample {
    mebibytes_per_second: f64,
    /// Processor time of the relay, in seconds. It says more than throughput on
    /// a machine that has other things to do.
    cpu_per_gibibyte: f64,
}

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mebibytes = lab.options.either(1024, 128);
    let upstream = lab.upstream(mebibytes)?;
    let ours = lab.subject(upstream.address, AccessLog::Off)?;
    let nginx = lab.nginx(upstream.address, AccessLog::Off)?;
    let node = lab.node(upstream.address)?;
    let systems: Vec<&Service> = [&ours, &nginx].into_iter().chain(&node).collect();

    let blob = |system: &Service| Blob { address: system.address, path: BLOB, length: upstream.length };
    // Once without counting: the file comes into the cache, code is paged in.
    for system in &systems {
        blob(system).pull(1)?;
    }
    for (connections, times) in LOADS {
        let samples = in_turn(lab.options.pairs, &systems, |system| {
            let before = system.cpu()?;
            let took = (0..times)
                .try_fold(Duration::ZERO, |sum, _| Ok::<_, Error>(sum + blob(system).pull(connections)?))?;
            Ok(Sample::new(mebibytes * connections * times, took, system.cpu()?.saturating_sub(before)))
        })?;
        let what = format!("blob {mebibytes} MiB × {connections}");
        let row = |unit: &str, figures: &[Vec<f64>], decimals, target| Row {
            node: figures.get(2).map(|node| Spread::of(node.iter().copied()).show(decimals)).unwrap_or_default(),
            target,
            ..Row::in_turn(format!("{what}, {unit}"), &figures[0], &figures[1], decimals)
        };
        let speeds = figures(&samples, |sample| sample.mebibytes_per_second);
        let met = Target::at_least(TARGET, Spread::of_ratios(&speeds[0], &speeds[1]).median);
        report.row(row("MiB/s", &speeds, 0, Some(met)));
        report.row(row("CPU s/GiB", &figures(&samples, |sample| sample.cpu_per_gibibyte), 2, None));
    }
    Ok(())
}

impl Sample {
    fn new(mebibytes: u32, took: Duration, cpu: Duration) -> Self {
        let mebibytes = f64::from(mebibytes);
        Self {
            mebibytes_per_second: mebibytes / took.as_secs_f64(),
            cpu_per_gibibyte: cpu.as_secs_f64() * 1024.0 / mebibytes,
        }
    }
}
