//! A large cached blob over TLS 1.3, against nginx with a cache: HTTP/1.1 over one connection and over four, HTTP/2 over
//! one.

use super::{figures, in_turn};
use crate::Result;
use crate::lab::Lab;
use crate::pull::at_once;
use crate::report::{Report, Row, Target};
use crate::service::nginx::AccessLog;
use crate::stats::Spread;
use crate::tls::{Certificate, Protocol};

/// Protocol and its name, connections at once, and our throughput over that of nginx.
const LOADS: [(Protocol, &str, u32, f64); 3] = [
    (Protocol::Http1, "HTTP/1.1", 1, 1.45),
    (Protocol::Http1, "HTTP/1.1", 4, 1.35),
    (Protocol::Http2, "HTTP/2", 1, 1.2),
];

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mebibytes = lab.options.either(512, 64);
    let upstream = lab.upstream(mebibytes)?;
    let certificate = Certificate::new(&lab.room("certificate")?)?;
    let systems = [
        lab.subject_tls(upstream.address, AccessLog::Off, &certificate)?,
        lab.nginx_tls(upstream.address, AccessLog::Off, &certificate)?,
    ];
    for system in &systems {
        certificate.client(Protocol::Http1)?.download(system.address, &upstream.blob)?;
    }
    let before = upstream.requests()?;
    for (protocol, name, connections, target) in LOADS {
        let client = certificate.client(protocol)?;
        let samples = in_turn(lab.options.pairs, &systems, |system| {
            let cpu = system.service.cpu()?;
            let took = at_once(connections, |_| {
                let length = client.download(system.address, &upstream.blob)?;
                if length == upstream.length { Ok(()) } else { Err(format!("the blob has {length} bytes").into()) }
            })?;
            let cpu = system.service.cpu()?.saturating_sub(cpu).as_secs_f64();
            let mebibytes = f64::from(mebibytes * connections);
            Ok((mebibytes / took.as_secs_f64(), cpu * 1024.0 / mebibytes))
        })?;
        let (speeds, costs) = (figures(&samples, |one| one.0), figures(&samples, |one| one.1));
        let what = format!("tls-hit {mebibytes} MiB × {connections}, {name}");
        let met = Target::at_least(target, Spread::of_ratios(&speeds[0], &speeds[1]).median);
        report.row(Row { target: Some(met), ..Row::in_turn(format!("{what}, MiB/s"), &speeds[0], &speeds[1], 0) });
        report.row(Row::in_turn(format!("{what}, CPU s/GiB"), &costs[0], &costs[1], 2));
    }
    upstream.was_not_asked_since(before)
}
