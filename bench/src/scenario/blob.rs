//! A large blob relayed, over one connection and over eight.

use std::time::Duration;

use super::in_turn;
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
        let speed = Figures::of(&samples, |sample| sample.mebibytes_per_second);
        let ratio = speed.ratio();
        report.row(Row {
            target: Some(Target::at_least(TARGET, ratio.median)),
            ..speed.row(format!("{what}, MiB/s"), 0)
        });
        let cpu = Figures::of(&samples, |sample| sample.cpu_per_gibibyte);
        report.row(cpu.row(format!("{what}, CPU s/GiB"), 2));
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

/// One figure of each system, round by round.
struct Figures(Vec<Vec<f64>>);

impl Figures {
    fn of(samples: &[Vec<Sample>], figure: impl Fn(&Sample) -> f64) -> Self {
        Self(samples.iter().map(|samples| samples.iter().map(&figure).collect()).collect())
    }

    fn ratio(&self) -> Spread {
        Spread::of_ratios(&self.0[0], &self.0[1])
    }

    fn row(&self, measure: String, decimals: usize) -> Row {
        let show = |system: usize| {
            let values = self.0.get(system)?;
            Some(Spread::of(values.iter().copied()).show(decimals))
        };
        Row {
            measure,
            ours: show(0).unwrap_or_default(),
            nginx: show(1).unwrap_or_default(),
            node: show(2).unwrap_or_default(),
            other: String::new(),
            ratio: self.ratio().show(2),
            target: None,
        }
    }
}
