//! From exec to the first answer.

use crate::lab::Lab;
use crate::options::Subject;
use crate::report::{Report, Row, Target};
use crate::service::Service;
use crate::service::nginx::AccessLog;
use crate::stats::Spread;
use crate::{Error, Result};

/// In milliseconds.
const TARGET: f64 = 20.0;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let upstream = lab.upstream(1)?;
    let runs = lab.options.either(20, 5);
    let millis = |service: Service| service.started_in.as_secs_f64() * 1000.0;
    let nginx = || Ok::<_, Error>(millis(lab.nginx(upstream.address, AccessLog::Off)?));
    // A relay of nginx answers `/v2/` by asking its upstream, and so only another one is like it.
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        match lab.options.subject() {
            Subject::Product => ours.push(millis(lab.ours(upstream.address, "/v2/")?)),
            Subject::Control => {
                ours.push(nginx()?);
                beside.push(nginx()?);
            }
        }
    }
    report.row(Row {
        target: Some(Target::under(TARGET, "ms", Spread::of(ours.iter().copied()).median)),
        ..Row::in_turn(format!("start to first 200 on /v2/, ms, {runs} runs"), &ours, &beside, 1)
    });
    Ok(())
}
