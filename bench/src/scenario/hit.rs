//! A large blob that is kept, over one connection and over eight: against nginx and against docker-registry, each with
//! a cache of its own.

use std::time::Duration;

use super::in_turn;
use crate::lab::Lab;
use crate::pull::Blob;
use crate::report::{Report, Row, Target};
use crate::service::Service;
use crate::service::nginx::AccessLog;
use crate::service::product::READY;
use crate::stats::Spread;
use crate::{Error, Result};

/// Our throughput over that of nginx, which has the kernel send the file.
const TARGET_NGINX: f64 = 0.9;

/// Our throughput over that of docker-registry.
const TARGET_REGISTRY: f64 = 1.2;

/// Connections at once, and how often in a row within one round.
const LOADS: [(u32, u32); 2] = [(1, 4), (8, 1)];

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mebibytes = lab.options.either(1024, 128);
    let upstream = lab.upstream(mebibytes)?;
    let ours = lab.ours_caching(&lab.room("cache")?, upstream.address, READY)?;
    let nginx = lab.nginx_caching(upstream.address, AccessLog::Off)?;
    let registry = lab.registry_caching(upstream.address)?;
    let systems: [&Service; 3] = [&ours, &nginx, &registry];
    let blob = |system: &Service| Blob { address: system.address, path: &upstream.blob, length: upstream.length };
    // Twice without counting: once into the cache, once out of it.
    for system in systems {
        blob(system).pull(1)?;
        blob(system).pull(1)?;
    }
    let asked = upstream.requests()?;
    for (connections, times) in LOADS {
        // Throughput, and processor time of a GiB.
        let samples = in_turn(lab.options.pairs, &systems, |system| {
            let before = system.cpu()?;
            let took = (0..times)
                .try_fold(Duration::ZERO, |sum, _| Ok::<_, Error>(sum + blob(system).pull(connections)?))?;
            let cpu = system.cpu()?.saturating_sub(before);
            let mebibytes = f64::from(mebibytes * connections * times);
            Ok((mebibytes / took.as_secs_f64(), cpu.as_secs_f64() * 1024.0 / mebibytes))
        })?;
        let speeds: Vec<Vec<f64>> =
            samples.iter().map(|samples| samples.iter().map(|one| one.0).collect()).collect();
        let costs: Vec<Vec<f64>> =
            samples.iter().map(|samples| samples.iter().map(|one| one.1).collect()).collect();
        let what = format!("hit {mebibytes} MiB × {connections}");
        let show = |values: &[f64], decimals| Spread::of(values.iter().copied()).show(decimals);
        for (other, name, target) in [(1, "nginx", TARGET_NGINX), (2, "docker-registry", TARGET_REGISTRY)] {
            let ratio = Spread::of_ratios(&speeds[0], &speeds[other]);
            report.row(Row {
                measure: format!("{what}, MiB/s, other: {name}"),
                ours: show(&speeds[0], 0),
                other: show(&speeds[other], 0),
                ratio: ratio.show(2),
                target: Some(Target::at_least(target, ratio.median)),
                ..Row::default()
            });
            report.row(Row {
                measure: format!("{what}, CPU s/GiB, other: {name}"),
                ours: show(&costs[0], 2),
                other: show(&costs[other], 2),
                ratio: Spread::of_ratios(&costs[0], &costs[other]).show(2),
                ..Row::default()
            });
        }
    }
    // What each asks of the upstream beside it is small; a blob that were fetched again would be none of a cache's.
    report.note(format!(
        "While kept blobs were measured the upstream saw {} requests.",
        upstream.requests()? - asked - 1
    ));
    Ok(())
}
