//! Manifests of more and more repositories of one upstream: requests per second, and memory.

use crate::Result;
use crate::lab::Lab;
use crate::report::{Report, Row};
use crate::scenario::requests::{self, Loaded};
use crate::service::Service;
use crate::service::nginx::AccessLog;
use crate::service::upstream::Upstream;
use crate::stats::Spread;

const REPOSITORIES: [u32; 2] = [1, 10_000];
const QUICK: [u32; 2] = [1, 1_000];

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    for repositories in if lab.options.quick { QUICK } else { REPOSITORIES } {
        let mut content = lab.content(1)?;
        let paths = content.manifests(repositories, 1)?;
        let upstream = Upstream::start(content)?;
        let relay = lab.subject(upstream.address, AccessLog::File)?;
        measure(lab, report, &format!("{repositories} repositories, relayed"), &relay, &paths, &upstream)?;
        let caching = lab.subject_caching(upstream.address, AccessLog::File)?;
        measure(lab, report, &format!("{repositories} repositories, cached"), &caching, &paths, &upstream)?;
    }
    Ok(())
}

fn measure(
    lab: &Lab,
    report: &mut Report,
    what: &str,
    service: &Service,
    paths: &[String],
    upstream: &Upstream,
) -> Result<()> {
    requests::warm(service, paths)?;
    let samples = requests::measure_for(lab, 1, paths, upstream, &[Loaded::from(service)])?;
    let speeds: Vec<f64> = samples.iter().flatten().map(|sample| sample.per_second).collect();
    let mut row = |measure: &str, ours: String| {
        report.row(Row { measure: format!("growth, {what}: {measure}"), ours, ..Row::default() });
    };
    row("requests/s", format!("{:.0}", Spread::of(speeds).median));
    row("memory at its peak, MiB", format!("{:.1}", service.peak()?));
    Ok(())
}
