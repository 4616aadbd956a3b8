//! A layer from far away, where each connection is slow: through a cache that has nothing yet, and directly.

use std::time::Duration;

use super::fill::compared;
use crate::Result;
use crate::lab::Lab;
use crate::line::{Line, Way};
use crate::report::{Report, Row, Target};

/// How many times as fast as a direct download.
const TARGET: f64 = 7.6;

/// Connections at once. With so many no more than 8 times is possible.
const MOST_CONNECTIONS: u32 = 8;

/// Each connection has 20 Mbit/s, and bytes take 100 ms there and back.
const WAY: Way = Way { rate: 2_500_000, is_each: true, delay: Duration::from_millis(50) };

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    // 95 MiB are 100 MB.
    let mebibytes = lab.options.either(95, 32);
    let upstream = lab.upstream(mebibytes)?;
    let line = Line::start(upstream.address, WAY)?;
    let what = format!("far {mebibytes} MiB, 20 Mbit/s a connection, 100 ms");
    let (mut row, ratio) = compared(lab, &upstream, line.address, &what)?;
    // The ratio of times, the other way round.
    row.target = Some(Target::faster(TARGET, 1.0 / ratio));
    report.row(row);
    let most = line.most_open();
    report.row(Row {
        measure: "far, most connections at once".into(),
        ours: most.to_string(),
        target: Some(Target::at_most(MOST_CONNECTIONS.into(), most.into())),
        ..Row::default()
    });
    Ok(())
}
