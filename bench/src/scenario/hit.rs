//! A large blob that is kept, over one connection and over eight: against nginx and against docker-registry, each with
//! a cache of its own.

use std::time::Duration;

use super::{figures, in_turn};
use crate::lab::Lab;
use crate::pull::Blob;
use crate::report::{Report, Row, Target};
use crate::service::Service;
use crate::service::nginx::AccessLog;
use crate::stats::Spread;
use crate::{Error, Result};

/// Our throughput over that of nginx, which has the kernel send the file.
const TARGET_NGINX: f64 = 1.0;

/// Our throughput over that of docker-registry.
const TARGET_REGISTRY: f64 = 1.2;

/// How often it is pulled until it is kept, at most.
const MOST_PULLS: u32 = 20;

/// Connections at once, and how often in a row within one round.
const LOADS: [(u32, u32); 2] = [(1, 4), (8, 1)];

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mebibytes = lab.options.either(1024, 128);
    let upstream = lab.upstream(mebibytes)?;
    let ours = lab.subject_caching(upstream.address, AccessLog::Off)?;
    let nginx = lab.nginx_caching(upstream.address, AccessLog::Off)?;
    let registry = lab.registry_caching(upstream.address)?;
    let systems: [&Service; 3] = [&ours, &nginx, &registry];
    let blob = |system: &Service| Blob { address: system.address, path: &upstream.blob, length: upstream.length };
    // Without counting, until it comes out of the cache: docker-registry puts it there behind the answer.
    for system in systems {
        let mut is_kept = false;
        for _ in 0..MOST_PULLS {
            let asked = upstream.requests()?;
            blob(system).pull(1)?;
            // The question itself counts.
            is_kept = upstream.requests()? == asked + 1;
            if is_kept {
                break;
            }
        }
        if !is_kept {
            return Err(format!("not kept after {MOST_PULLS} pulls").into());
        }
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
        let (speeds, costs) = (figures(&samples, |one| one.0), figures(&samples, |one| one.1));
        let what = format!("hit {mebibytes} MiB × {connections}");
        let show = |values: &[f64], decimals| Spread::of(values.iter().copied()).show(decimals);
        for (other, name, target) in [(1, "nginx", TARGET_NGINX), (2, "docker-registry", TARGET_REGISTRY)] {
            let row = |unit: &str, figures: &[Vec<f64>], decimals, target| Row {
                measure: format!("{what}, {unit}, other: {name}"),
                ours: show(&figures[0], decimals),
                other: show(&figures[other], decimals),
                ratio: Spread::of_ratios(&figures[0], &figures[other]).show(2),
                target,
                ..Row::default()
            };
            let ratio = Spread::of_ratios(&speeds[0], &speeds[other]);
            report.row(row("MiB/s", &speeds, 0, Some(Target::at_least(target, ratio.median))));
            report.row(row("CPU s/GiB", &costs, 2, None));
        }
    }
    upstream.was_not_asked_since(asked)
}
