//! An image of many layers, as clients pull it: its manifest, its config, and six layers at once. Into an empty cache,
//! and out of it, against nginx with a cache.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{figures, in_turn};
use crate::http::Connection;
use crate::lab::{CacheOf, Lab};
use crate::pull::at_once;
use crate::report::{Report, Row, Target};
use crate::service::nginx::AccessLog;
use crate::service::upstream::{Image, Upstream};
use crate::stats::Spread;
use crate::{Error, Result};

const LAYERS: u32 = 40;
const MEBIBYTES: u32 = 4;

/// Layers that a client fetches at once, each over a connection that it keeps.
const AT_ONCE: u32 = 6;

/// Pulls of one measurement: each into a new cache, or in a row out of one.
const PULLS: u32 = 3;

/// Our throughput over that of nginx.
const TARGET: f64 = 1.0;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mut content = lab.content(1)?;
    let image = content.image(LAYERS, MEBIBYTES)?;
    let upstream = Upstream::start(content)?;
    let cold = in_turn(lab.options.pairs, &CacheOf::BOTH, |cache| {
        (0..PULLS).try_fold(Duration::ZERO, |sum, _| {
            let cold = lab.in_new_cache(*cache, upstream.address, |service| pull(service.address, &image))?;
            Ok::<_, Error>(sum + cold)
        })
    })?;
    report.row(row("cold", &cold));

    let systems = [
        lab.subject_caching(upstream.address, AccessLog::Off)?,
        lab.nginx_caching(upstream.address, AccessLog::Off)?,
    ];
    for system in &systems {
        pull(system.address, &image)?;
    }
    let before = upstream.requests()?;
    let warm = in_turn(lab.options.pairs, &systems, |system| {
        (0..PULLS).try_fold(Duration::ZERO, |sum, _| Ok::<_, Error>(sum + pull(system.address, &image)?))
    })?;
    upstream.was_not_asked_since(before)?;
    report.row(row("warm", &warm));
    Ok(())
}

fn pull(address: SocketAddr, image: &Image) -> Result<Duration> {
    let mut first = Connection::open(address)?;
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    first.download(&image.manifest)?;
    first.download(&image.config)?;
    at_once(AT_ONCE, |_| {
        let mut connection = Connection::open(address)?;
        while let Some(layer) = image.layers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let length = connection.download(layer)?;
            if length != u64::from(MEBIBYTES) << 20 {
                return Err(format!("a layer has {length} bytes").into());
            }
        }
        Ok(())
    })?;
    Ok(start.elapsed())
}

fn row(what: &str, times: &[Vec<Duration>]) -> Row {
    let mebibytes = f64::from(LAYERS * MEBIBYTES * PULLS);
    let speeds = figures(times, |time| mebibytes / time.as_secs_f64());
    let measure = format!("image, {LAYERS} layers × {MEBIBYTES} MiB, {AT_ONCE} at once, {what}, MiB/s");
    let met = Target::at_least(TARGET, Spread::of_ratios(&speeds[0], &speeds[1]).median);
    Row { target: Some(met), ..Row::in_turn(measure, &speeds[0], &speeds[1], 0) }
}
