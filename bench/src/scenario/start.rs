//! From exec to the first answer.

use crate::Result;
use crate::lab::Lab;
use crate::report::{Report, Row, Target};
use crate::stats::Spread;

/// In milliseconds.
const TARGET: f64 = 20.0;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let upstream = lab.upstream(1)?;
    let runs = lab.options.either(20, 5);
    let times = (0..runs)
        .map(|_| Ok(lab.ours(upstream.address, "/v2/")?.started_in.as_secs_f64() * 1000.0))
        .collect::<Result<Vec<_>>>()?;
    let spread = Spread::of(times);
    report.row(Row {
        measure: format!("start to first 200 on /v2/, ms, {runs} runs"),
        ours: spread.show(1),
        target: Some(Target::under(TARGET, "ms", spread.median)),
        ..Row::default()
    });
    Ok(())
}
