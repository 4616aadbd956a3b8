//! As a function: the time of a cold start, and memory while ten clients pull a large layer, on each platform. The
//! functions run behind the gateway of the outer tests, which enforces what the platforms do.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use registry_proxy_outer::function::Function;
use registry_proxy_outer::gateway::rules::{CLOUD_RUN, FC, LAMBDA, Rules, SCF, SERVER};
use registry_proxy_outer::objects::Objects;
use registry_proxy_outer::process::keep_logs_quiet;
use registry_proxy_outer::proxy::{Setup, Store};
use registry_proxy_outer::worker;

use crate::lab::Lab;
use crate::report::{Report, Row};
use crate::service::nginx::AccessLog;
use crate::service::upstream::Upstream;
use crate::service::{events, node, product};
use crate::stats::Spread;
use crate::{Error, Result, http};

/// 300 MB, as near as it gets.
const MEBIBYTES: u32 = 286;
const CLIENTS: u32 = 10;
/// The longest that one of them may take, with all that it is asked to come again.
const LIMIT: Duration = Duration::from_mins(5);
const COME_AGAIN: Duration = Duration::from_secs(1);
/// As much as one wait for bytes may bring.
const WINDOW: usize = 1 << 20;

/// Where a function keeps content: as its deploy folder has it.
#[derive(Clone, Copy)]
enum Kept {
    Nowhere,
    Disk,
    Objects,
}

const TARGETS: [(&Rules, Kept); 5] = [
    (&SERVER, Kept::Disk),
    (&FC, Kept::Disk),
    (&CLOUD_RUN, Kept::Nowhere),
    (&SCF, Kept::Objects),
    (&LAMBDA, Kept::Objects),
];

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    keep_logs_quiet();
    let upstream = lab.upstream(lab.options.either(MEBIBYTES, 32))?;
    if lab.control() {
        return control(lab, &upstream, report);
    }
    node_js(lab, &upstream, report)?;
    let binary = lab.product()?;
    for (rules, kept) in TARGETS {
        if rules.name == LAMBDA.name && std::env::var_os("CARGO_LAMBDA").is_none() {
            report.note(
                "AWS Lambda was not measured: `cargo xtask bench --install` brings its emulator.".to_owned(),
            );
            continue;
        }
        eprintln!("bench: platforms: {} …", rules.name);
        row(report, rules.name, "exec to first byte, ms", Spread::of(cold_starts(lab, &binary, rules)?).show(1));
        let folder = lab.room("kept")?;
        let objects = matches!(kept, Kept::Objects).then(Objects::start).transpose()?;
        let function = Function::start(rules, || {
            let setup =
                Setup::new().binary(binary.clone()).variable("CACHE_DIRECTORY", folder.display().to_string());
            let setup = match (kept, &objects) {
                (Kept::Objects, Some(objects)) => setup.store(&objects.url()),
                (Kept::Disk, _) => setup.cache(&folder.join("blobs"), &[]),
                (Kept::Nowhere | Kept::Objects, _) => setup.keeping(Store::None),
            };
            setup.upstream("bench.test", upstream.address, &["default = true"])
        })?;
        row(report, rules.name, "memory at rest, MiB", mebibytes(function.memory_kib()?));
        pull_beside(function.address(), &upstream)?;
        let peak = mebibytes(function.peak_memory_kib()?);
        row(report, rules.name, &at_the_peak(lab), peak);
        function.ledger().expect_no_breach()?;
    }
    workers(lab, &upstream, report)
}

/// No function, but nginx as a relay, twice: how far cold starts and memory can be trusted here.
fn control(lab: &Lab, upstream: &Upstream, report: &mut Report) -> Result<()> {
    let start = || lab.nginx(upstream.address, AccessLog::Off);
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..lab.options.either(20, 5) {
        for starts in [&mut ours, &mut beside] {
            starts.push(start()?.started_in.as_secs_f64() * 1000.0);
        }
    }
    let mut row = |what: &str, ours: &[f64], beside: &[f64]| {
        report.row(Row::in_turn(format!("nginx as a relay: {what}"), ours, beside, 1));
    };
    row("exec to first byte, ms", &ours, &beside);
    let memory = || -> Result<(f64, f64)> {
        let service = start()?;
        let rest = service.resident()?;
        pull_beside(service.address, upstream)?;
        Ok((rest, service.peak()?))
    };
    let (ours, beside) = (memory()?, memory()?);
    row("memory at rest, MiB", &[ours.0], &[beside.0]);
    row(&at_the_peak(lab), &[ours.1], &[beside.1]);
    Ok(())
}

/// A relay with Fastify. It knows no platform: what it takes is the same everywhere, and where answers are capped it
/// fails.
fn node_js(lab: &Lab, upstream: &Upstream, report: &mut Report) -> Result<()> {
    let Some(folder) = node::fastify() else {
        report
            .note("Fastify is not installed, so nothing stands beside: `cargo xtask bench --install`.".to_owned());
        return Ok(());
    };
    let start = || node::start_fastify(&folder, &lab.room("fastify")?, upstream.address);
    let starts = (0..lab.options.either(20, 5))
        .map(|_| Ok(start()?.started_in.as_secs_f64() * 1000.0))
        .collect::<Result<Vec<_>>>()?;
    let service = start()?;
    let rest = service.resident()?;
    pull_beside(service.address, upstream)?;
    let peak = service.peak()?;
    for (what, figure) in [
        ("exec to first byte, ms", Spread::of(starts).show(1)),
        ("memory at rest, MiB", format!("{rest:.1}")),
        (&at_the_peak(lab), format!("{peak:.1}")),
    ] {
        report.row(Row { measure: format!("Fastify: {what}"), node: figure, ..Row::default() });
    }
    Ok(())
}

/// In milliseconds. On AWS Lambda the first byte is that of the answer to the first event.
fn cold_starts(lab: &Lab, binary: &Path, rules: &Rules) -> Result<Vec<f64>> {
    let start = || -> Result<Duration> {
        let room = lab.room("cold")?;
        if rules.name == LAMBDA.name {
            return events::first_answer(product::bare(binary, rules.environment)?, &room);
        }
        Ok(product::start_on(binary, &room, rules.environment)?.started_in)
    };
    (0..lab.options.either(20, 5)).map(|_| Ok(start()?.as_secs_f64() * 1000.0)).collect()
}

/// workerd with the Worker in it. What it is until its first answer is said beside: most of it is the emulator's.
fn workers(lab: &Lab, upstream: &Upstream, report: &mut Report) -> Result<()> {
    if std::env::var_os("WORKER_UNDER_TEST").is_none() {
        report.note("The Worker was not measured: `cargo xtask bench --install` brings workerd.".to_owned());
        return Ok(());
    }
    eprintln!("bench: platforms: cloudflare-workers …");
    let name = "cloudflare-workers";
    let mut starts = Vec::new();
    for _ in 0..lab.options.either(7, 2) {
        let worker = worker::Setup::new().start()?;
        let begun = Instant::now();
        // Its head: workerd holds the connection for seconds longer.
        http::get(worker.address(), "/v2/")?;
        starts.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    row(report, name, "first answer of workerd that listens, ms", Spread::of(starts).show(1));
    let worker = worker::Setup::new().upstream("bench.test", upstream.address).start()?;
    let rest = worker.figures()?.memory_kib;
    row(report, name, "memory at rest, workerd with all that is in it, MiB", mebibytes(rest));
    pull_beside(worker.address(), upstream)?;
    let peak = worker.figures()?.peak_kib;
    row(report, name, &at_the_peak(lab), mebibytes(peak));
    Ok(())
}

fn row(report: &mut Report, platform: &str, what: &str, figure: String) {
    report.row(Row { measure: format!("{platform}: {what}"), ours: figure, ..Row::default() });
}

fn at_the_peak(lab: &Lab) -> String {
    let mebibytes = u64::from(lab.options.either(MEBIBYTES, 32));
    format!("memory at its peak, {CLIENTS} clients, {} MB each, MiB", (mebibytes << 20) / 1_000_000)
}

fn mebibytes(kib: u64) -> String {
    format!("{}.{}", kib >> 10, (kib % 1024) * 10 / 1024)
}

/// All clients at once.
fn pull_beside(address: SocketAddr, upstream: &Upstream) -> Result<()> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(move || pull(address, upstream))).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| Error::from("a client panicked"))?)
    })
}

/// Pulls as clients do: goes where it is sent, and comes again when it is told to.
fn pull(address: SocketAddr, upstream: &Upstream) -> Result<()> {
    let begun = Instant::now();
    let (mut at, mut path) = (address, upstream.blob.clone());
    while begun.elapsed() < LIMIT {
        let mut answer = http::get(at, &path)?;
        match answer.head.status {
            200 => {
                let mut window = vec![0; WINDOW];
                // What comes in chunks says no length, is a little more, and ends with its connection.
                let (mut have, end) = (answer.head.arrived(), answer.head.length().unwrap_or(u64::MAX));
                while have < end {
                    match answer.discard(&mut window)? {
                        0 => break,
                        count => have += count,
                    }
                }
                return if have >= upstream.length {
                    Ok(())
                } else {
                    Err(format!("the blob ended after {have} bytes").into())
                };
            }
            307 => (at, path) = target(answer.head.header("location").unwrap_or_default())?,
            429 | 503 => {
                thread::sleep(COME_AGAIN);
                (at, path) = (address, upstream.blob.clone());
            }
            status => return Err(format!("the blob was answered with {status}").into()),
        }
    }
    Err(format!("no blob within {LIMIT:?}").into())
}

fn target(location: &str) -> Result<(SocketAddr, String)> {
    let parts = location.strip_prefix("http://").and_then(|rest| Some(rest.split_at(rest.find('/')?)));
    let (host, path) = parts.ok_or_else(|| format!("sent to {location:?}"))?;
    Ok((host.parse()?, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_taken_apart() {
        let (address, path) = target("http://127.0.0.3:99/bucket/a?X-Amz-Signature=b%2Fc").unwrap();
        assert_eq!(address, SocketAddr::from(([127, 0, 0, 3], 99)));
        assert_eq!(path, "/bucket/a?X-Amz-Signature=b%2Fc");
        assert!(target("https://example.com/").is_err());
    }

    #[test]
    fn mebibytes_have_one_decimal() {
        assert_eq!(mebibytes(1536), "1.5");
        assert_eq!(mebibytes(2047), "1.9");
    }
}
