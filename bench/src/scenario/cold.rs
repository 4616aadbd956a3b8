//! Large blobs on their way into an empty cache, against nginx, which verifies nothing: one, and four at once.

use std::thread;
use std::time::Duration;

use super::{figures, in_turn};
use crate::Result;
use crate::http::Connection;
use crate::lab::{CacheOf, Lab};
use crate::pull::at_once;
use crate::report::{Report, Row, Target};
use crate::service::Service;
use crate::service::upstream::Upstream;
use crate::stats::Spread;

/// Blobs at once, and their mebibytes: in a full run, and in a quick one.
const LOADS: [(u32, u32, u32); 2] = [(1, 512, 64), (4, 256, 32)];

/// Our throughput over that of nginx: the median, and where several blobs arrive at once each round.
const TARGET: f64 = 1.0;
const TARGET_EACH: f64 = 0.8;

/// Processor seconds a GiB, of one blob.
const TARGET_CPU: f64 = 1.5;

/// What is done behind the last byte costs processor time, too.
const SETTLE: Duration = Duration::from_millis(100);

/// Of one measurement.
struct Sample {
    per_second: f64,
    cpu_per_gib: f64,
}

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    for (blobs, full, quick) in LOADS {
        let mebibytes = lab.options.either(full, quick);
        let mut content = lab.content(1)?;
        let paths: Vec<String> =
            (1..=blobs).map(|number| content.blob(mebibytes, number)).collect::<Result<_>>()?;
        let upstream = Upstream::start(content)?;
        let samples = in_turn(lab.options.pairs, &CacheOf::BOTH, |cache| {
            lab.in_new_cache(*cache, upstream.address, |service| sample(service, &paths, mebibytes))
        })?;
        let what = format!("cold fill {mebibytes} MiB × {blobs}");
        let (speeds, costs) = (figures(&samples, |one| one.per_second), figures(&samples, |one| one.cpu_per_gib));
        let ratio = Spread::of_ratios(&speeds[0], &speeds[1]);
        let row = |unit: &str, figures: &[Vec<f64>], decimals, target| Row {
            target,
            ..Row::in_turn(format!("{what}, {unit}"), &figures[0], &figures[1], decimals)
        };
        report.row(row("MiB/s", &speeds, 0, Some(Target::at_least(TARGET, ratio.median))));
        if blobs > 1 {
            report.row(Row {
                measure: format!("{what}, the worst round"),
                ratio: format!("{:.2}", ratio.min),
                target: Some(Target::at_least(TARGET_EACH, ratio.min)),
                ..Row::default()
            });
        }
        let cost = Spread::of(costs[0].iter().copied()).median;
        let met = (blobs == 1).then(|| Target::at_most(TARGET_CPU, cost));
        report.row(row("CPU s/GiB", &costs, 2, met));
    }
    Ok(())
}

/// Each blob over a connection of its own.
fn sample(service: &Service, paths: &[String], mebibytes: u32) -> Result<Sample> {
    let before = service.cpu()?;
    let clients = u32::try_from(paths.len())?;
    let took = at_once(clients, |client| {
        let path = &paths[usize::try_from(client)?];
        let length = Connection::open(service.address)?.download(path)?;
        if length == u64::from(mebibytes) << 20 {
            Ok(())
        } else {
            Err(format!("{path} has {length} bytes").into())
        }
    })?;
    thread::sleep(SETTLE);
    let cpu = service.cpu()?.saturating_sub(before).as_secs_f64();
    let mebibytes = f64::from(mebibytes * clients);
    Ok(Sample { per_second: mebibytes / took.as_secs_f64(), cpu_per_gib: cpu * 1024.0 / mebibytes })
}
