//! From exec to the first kept blob, where there are very many, and what knowing them takes.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::lab::Lab;
use crate::options::Subject;
use crate::report::{Report, Row, Target};
use crate::service::{Service, closed_address, nginx, upstream::hex};
use crate::stats::Spread;

/// In milliseconds.
const TARGET_MILLIS: f64 = 100.0;

/// In mebibytes.
const TARGET_MEMORY: f64 = 128.0;

/// It has come to rest when it has used no processor time for so long …
const REST: Duration = Duration::from_secs(1);

/// … which must come within this.
const LIMIT: Duration = Duration::from_mins(1);

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let count = lab.options.either(200_000, 5000);
    let cache = lab.room("cache")?;
    let digest = fill(&cache, count)?;
    let path = format!("/v2/bench/blobs/sha256:{digest}");
    let runs = lab.options.either(10, 3);
    // nginx sends the same files, and knows nothing of them.
    let nginx = || sample(&nginx::kept_files(&lab.room("nginx")?, &cache, &path)?);
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        match lab.options.subject() {
            // Nobody is there to ask: an answer comes out of the cache.
            Subject::Product => ours.push(sample(&lab.ours_caching(&cache, closed_address()?, &path)?)?),
            Subject::Control => {
                ours.push(nginx()?);
                beside.push(nginx()?);
            }
        }
    }
    let mut row = |measure: String, figure: fn(&Sample) -> f64, target: fn(Spread) -> Target| {
        let of = |samples: &[Sample]| -> Vec<f64> { samples.iter().map(figure).collect() };
        let (ours, beside) = (of(&ours), of(&beside));
        let target = Some(target(Spread::of(ours.iter().copied())));
        report.row(Row { target, ..Row::in_turn(measure, &ours, &beside, 1) });
    };
    row(
        format!("start to first kept blob of {count}, ms, {runs} runs"),
        |sample| sample.millis,
        |times| Target::under(TARGET_MILLIS, "ms", times.median),
    );
    row(
        format!("memory at its peak with {count} kept blobs, MiB"),
        |sample| sample.peak,
        |peaks| Target::under(TARGET_MEMORY, "MiB", peaks.max),
    );
    Ok(())
}

/// How long it took to start, and mebibytes at the peak.
struct Sample {
    millis: f64,
    peak: f64,
}

fn sample(service: &Service) -> Result<Sample> {
    rest(service)?;
    Ok(Sample { millis: service.started_in.as_secs_f64() * 1000.0, peak: service.peak()? })
}

/// Writes so many small blobs as they are kept, and that the repository has the last of them, which is named.
fn fill(cache: &Path, count: u32) -> Result<String> {
    let blobs = cache.join("v1/blobs/sha256");
    for shard in 0..=u8::MAX {
        fs::create_dir_all(blobs.join(hex(&[shard])))?;
    }
    let mut last = String::new();
    for number in 0..count {
        let content = format!("blob {number}");
        last = hex(&Sha256::digest(&content));
        fs::write(blobs.join(&last[..2]).join(&last), content)?;
    }
    let links = cache.join("v1/links/bench.test/bench/_/sha256");
    fs::create_dir_all(&links)?;
    fs::write(links.join(&last), "shown")?;
    Ok(last)
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
