//! Memory while clients ask for a kept blob on many HTTP/2 streams and read nothing of it.

use std::thread;
use std::time::{Duration, Instant};

use crate::h2::Unread;
use crate::lab::{Lab, OtherPort};
use crate::pull::Blob;
use crate::report::{Report, Row, Target};
use crate::service::upstream::Upstream;
use crate::stats::Spread;
use crate::{Result, process};

/// Connections, and streams of each.
const LOADS: [(u32, u32); 2] = [(64, 256), (1024, 16)];
const QUICK: [(u32, u32); 2] = [(8, 256), (64, 16)];

/// Of the blob.
const MEBIBYTES: u32 = 8;

/// Above what it has at rest, in mebibytes.
const TARGET: f64 = 128.0;

/// In seconds.
const TARGET_BACK: f64 = 30.0;

/// It has given memory back when it has so many mebibytes more than at rest, which must come within …
const LEFT: f64 = 16.0;
/// … this.
const LIMIT: Duration = Duration::from_mins(1);

/// How long the streams stay unread, when all of them are answered.
const HELD: Duration = Duration::from_secs(5);

/// Mebibytes, seconds, and streams that were answered.
struct Sample {
    above_rest: f64,
    back_after: f64,
    streams: u32,
}

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    process::open_many()?;
    let upstream = lab.upstream(MEBIBYTES)?;
    for (connections, streams) in if lab.options.quick { QUICK } else { LOADS } {
        // Each in a process of its own: a peak cannot be taken back.
        let ours = (0..lab.options.either(3, 1))
            .map(|_| sample(&lab.subject_http2(upstream.address)?, &upstream, connections, streams))
            .collect::<Result<Vec<_>>>()?;
        let nginx = sample(&lab.nginx_http2(upstream.address)?, &upstream, connections, streams)?;
        let what = format!("unread, {connections} connections × {streams} streams");
        let mut row = |measure: &str, figure: fn(&Sample) -> f64, target: fn(f64) -> Target| {
            let figures = Spread::of(ours.iter().map(figure));
            report.row(Row {
                measure: format!("{what}: {measure}"),
                ours: figures.show(1),
                nginx: format!("{:.1}", figure(&nginx)),
                ratio: lab.control_ratio(figures.median, figure(&nginx)),
                target: Some(target(figures.max)),
                ..Row::default()
            });
        };
        row("memory above rest, MiB", |sample| sample.above_rest, |most| Target::under(TARGET, "MiB", most));
        row("given back after, s", |sample| sample.back_after, |most| Target::under(TARGET_BACK, "s", most));
        for (name, sample) in ours.iter().map(|sample| ("Ours", sample)).chain([("nginx", &nginx)]) {
            if sample.streams < connections * streams {
                let (had, wanted) = (sample.streams, connections * streams);
                report.note(format!("{what}: {name} allows fewer streams, {had} in place of {wanted}."));
            }
        }
    }
    Ok(())
}

fn sample(system: &OtherPort, upstream: &Upstream, connections: u32, streams: u32) -> Result<Sample> {
    let service = &system.service;
    // Without counting: it is kept afterwards.
    Blob { address: service.address, path: &upstream.blob, length: upstream.length }.pull(1)?;
    thread::sleep(Duration::from_secs(1));
    let rest = service.resident()?;
    // One connection after the other: how many may wait for a head at once is another question.
    let clients = (0..connections)
        .map(|number| {
            let mut client = Unread::ask(number, system.address, &upstream.blob, streams)?;
            client.wait()?;
            Ok(client)
        })
        .collect::<Result<Vec<_>>>()?;
    thread::sleep(HELD);
    let above_rest = service.peak()? - rest;
    let streams = clients.iter().map(|client| client.streams).sum();
    drop(clients);
    let gone = Instant::now();
    while service.resident()? - rest > LEFT && gone.elapsed() < LIMIT {
        thread::sleep(Duration::from_millis(100));
    }
    Ok(Sample { above_rest, back_after: gone.elapsed().as_secs_f64(), streams })
}
