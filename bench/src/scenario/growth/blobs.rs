//! With more and more cached blobs: the start, the first hit, the list of all images, and making room.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::store;
use crate::http::Connection;
use crate::lab::Lab;
use crate::options::Subject;
use crate::report::{Report, Row, Target};
use crate::service::{Service, closed_address, nginx};
use crate::stats::Spread;
use crate::{Result, process};

const COUNTS: [u32; 3] = [1_000, 100_000, 1_000_000];
const QUICK: [u32; 2] = [100, 5_000];

/// In milliseconds, until requests are taken, and for the first one after that.
const TARGET_START: f64 = 100.0;
const TARGET_HIT: f64 = 20.0;

/// In mebibytes, whatever the count.
const TARGET_MEMORY: f64 = 128.0;

/// It has come to rest when it has used no processor time for so long …
const REST: Duration = Duration::from_secs(1);

/// … which must come within this.
const LIMIT: Duration = Duration::from_mins(3);

/// Between two looks at the memory of a command.
const GLANCE: Duration = Duration::from_millis(2);

/// Of one start, in milliseconds and mebibytes.
struct Sample {
    start: f64,
    hit: f64,
    peak: f64,
}

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let counts: &[u32] = if lab.options.quick { &QUICK } else { &COUNTS };
    let cache = lab.room("cache")?;
    for &count in counts {
        eprintln!("bench: growth, {count} cached blobs …");
        let written = store::write(&cache, count)?;
        starts(lab, report, &cache, &written.blob, count)?;
        match lab.options.subject() {
            Subject::Product => {
                list(lab, report, &cache, count)?;
                evict(lab, report, &cache, &written, count)?;
            }
            // nginx only sends these files.
            Subject::Control => {}
        }
    }
    Ok(())
}

fn starts(lab: &Lab, report: &mut Report, cache: &Path, blob: &str, count: u32) -> Result<()> {
    let nginx = || sample(&nginx::kept_files(&lab.room("nginx")?, cache)?, blob);
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..lab.options.either(5, 2) {
        match lab.options.subject() {
            // Nobody is there to ask: an answer comes out of the cache.
            Subject::Product => ours.push(sample(&lab.ours_caching(cache, closed_address()?, "/healthz")?, blob)?),
            Subject::Control => {
                ours.push(nginx()?);
                beside.push(nginx()?);
            }
        }
    }
    let mut row = |measure: &str, figure: fn(&Sample) -> f64, target: fn(Spread) -> Target| {
        let of = |samples: &[Sample]| -> Vec<f64> { samples.iter().map(figure).collect() };
        let (ours, beside) = (of(&ours), of(&beside));
        let target = Some(target(Spread::of(ours.iter().copied())));
        let measure = format!("growth, {count} cached blobs: {measure}");
        report.row(Row { target, ..Row::in_turn(measure, &ours, &beside, 1) });
    };
    row("start, ms", |sample| sample.start, |times| Target::under(TARGET_START, "ms", times.median));
    row("first hit, ms", |sample| sample.hit, |times| Target::under(TARGET_HIT, "ms", times.median));
    row("memory at its peak, MiB", |sample| sample.peak, |peaks| Target::under(TARGET_MEMORY, "MiB", peaks.max));
    Ok(())
}

fn sample(service: &Service, blob: &str) -> Result<Sample> {
    let asked = Instant::now();
    Connection::open(service.address)?.download(blob)?;
    let hit = asked.elapsed();
    rest(service)?;
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    Ok(Sample { start: millis(service.started_in), hit: millis(hit), peak: service.peak()? })
}

/// `cache list`, of the store: all images.
fn list(lab: &Lab, report: &mut Report, cache: &Path, count: u32) -> Result<()> {
    let room = lab.room("list")?;
    let mut command = Command::new(lab.product()?.canonicalize()?);
    command.args(["cache", "list"]).current_dir(&room);
    command.env("REGISTRY_PROXY_CACHE__STORE", format!("file://{}", cache.display()));
    command
        .stdin(Stdio::null())
        .stdout(File::create(room.join("listed"))?)
        .stderr(File::create(room.join("said"))?);
    let (begun, mut peak) = (Instant::now(), 0.0_f64);
    let mut child = command.spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // Of one that has just ended, nothing is known.
        peak = peak.max(process::memory(child.id(), "VmHWM").unwrap_or(0.0));
        thread::sleep(GLANCE);
    };
    let took = begun.elapsed().as_secs_f64();
    let lines = std::fs::read_to_string(room.join("listed"))?.lines().count();
    if !status.success() || lines < usize::try_from(count / 10)? {
        let said = std::fs::read_to_string(room.join("said"))?;
        return Err(format!("`cache list` ended with {status} and {lines} lines\n{said}").into());
    }
    let what = format!("growth, {count} cached blobs: cache list");
    report.row(Row { measure: format!("{what}, s"), ours: format!("{took:.2}"), ..Row::default() });
    report.row(memory(format!("{what}, memory at its peak, MiB"), peak));
    Ok(())
}

/// A start with half of the room that the cache takes.
fn evict(lab: &Lab, report: &mut Report, cache: &Path, written: &store::Written, count: u32) -> Result<()> {
    let lines = format!("max_size = \"{}\"", written.bytes / 2);
    let begun = Instant::now();
    let service = lab.ours_within(cache, closed_address()?, &lines)?;
    rest(&service)?;
    let took = begun.elapsed().saturating_sub(REST).as_secs_f64();
    let (left, peak) = (store::blobs(cache)?, service.peak()?);
    if left >= usize::try_from(count)? {
        return Err(format!("with half of the room all of {count} blobs are still there").into());
    }
    let what = format!("growth, {count} cached blobs: evicting {}", usize::try_from(count)? - left);
    report.row(Row { measure: format!("{what}, s"), ours: format!("{took:.2}"), ..Row::default() });
    report.row(memory(format!("{what}, memory at its peak, MiB"), peak));
    Ok(())
}

fn memory(measure: String, peak: f64) -> Row {
    Row {
        measure,
        ours: format!("{peak:.1}"),
        target: Some(Target::under(TARGET_MEMORY, "MiB", peak)),
        ..Row::default()
    }
}

/// Waits until it does nothing any more.
fn rest(service: &Service) -> Result<()> {
    let start = Instant::now();
    let (mut used, mut since) = (service.cpu()?, Instant::now());
    while since.elapsed() < REST {
        if start.elapsed() > LIMIT {
            return Err(format!("it was still busy {LIMIT:?} after its start").into());
        }
        thread::sleep(Duration::from_millis(50));
        let now = service.cpu()?;
        if now != used {
            (used, since) = (now, Instant::now());
        }
    }
    Ok(())
}
