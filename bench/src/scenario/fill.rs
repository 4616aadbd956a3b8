//! A blob on its way into the cache: how much longer it takes than without us.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Result;
use crate::lab::Lab;
use crate::line::{Line, Way};
use crate::options::Subject;
use crate::pull::Blob;
use crate::report::{Report, Row, Target};
use crate::service::product::READY;
use crate::service::upstream::Upstream;
use crate::stats::Spread;

/// Our time over that of a direct download.
const TARGET: f64 = 1.1;

/// Bytes a second of the upstream that is held back.
const RATE: u64 = 100_000_000;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mebibytes = lab.options.either(1024, 64);
    let upstream = lab.upstream(mebibytes)?;
    let way = Way { rate: RATE, is_each: false, delay: Duration::ZERO };
    let line = Line::start(upstream.address, way)?;
    let what = format!("fill {mebibytes} MiB");
    let mut row = compared(lab, &upstream, line.address, &format!("{what} at 100 MB/s"))?;
    row.0.target = Some(Target::at_most(TARGET, row.1));
    report.row(row.0);
    report.row(compared(lab, &upstream, upstream.address, &format!("{what}, not held back"))?.0);
    Ok(())
}

/// Through a cache that has nothing yet, and directly, in turn; the row, and the median of the ratios. In a control run
/// directly, twice.
pub(super) fn compared(lab: &Lab, upstream: &Upstream, address: SocketAddr, what: &str) -> Result<(Row, f64)> {
    let pull = |address| Blob { address, path: &upstream.blob, length: upstream.length }.pull(1);
    let (mut ours, mut direct) = (Vec::new(), Vec::new());
    for _ in 0..lab.options.pairs.min(3) {
        let took = match lab.options.subject() {
            Subject::Product => {
                // Each time a new process and an empty directory, which goes when it is done.
                let cache = lab.room("cache")?;
                let product = lab.ours_caching(&cache, address, READY)?;
                let took = pull(product.address)?;
                drop(product);
                fs::remove_dir_all(cache)?;
                took
            }
            Subject::Control => pull(address)?,
        };
        ours.push(took.as_secs_f64());
        direct.push(pull(address)?.as_secs_f64());
    }
    let ratio = Spread::of_ratios(&ours, &direct);
    let row = Row {
        measure: format!("{what}, s, other: direct"),
        ours: Spread::of(ours).show(2),
        other: Spread::of(direct).show(2),
        ratio: ratio.show(2),
        ..Row::default()
    };
    Ok((row, ratio.median))
}
