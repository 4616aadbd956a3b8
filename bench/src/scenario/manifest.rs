//! Manifests relayed per second, beside nginx and the bare relay, which is the limit.

use super::requests::{self, Loaded, REPOSITORIES, TAGS};
use crate::Result;
use crate::lab::Lab;
use crate::report::Report;
use crate::service::nginx::AccessLog;
use crate::service::upstream::Upstream;

/// Our requests per second over those of nginx.
const TARGET: f64 = 1.0;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mut content = lab.content(1)?;
    let paths = content.manifests(REPOSITORIES, TAGS)?;
    let upstream = Upstream::start(content)?;
    let ours = lab.subject(upstream.address, AccessLog::File)?;
    let nginx = lab.nginx(upstream.address, AccessLog::File)?;
    let bare = lab.bare_relay(upstream.address)?;
    let systems: Vec<Loaded<'_>> =
        [Some(&ours), Some(&nginx), bare.as_ref()].into_iter().flatten().map(Loaded::from).collect();
    let samples = requests::measure(lab, &paths, &upstream, &systems)?;
    requests::were_relayed(&samples)?;
    requests::report(report, "manifest, 2 KB, 1000 tags of 100 repositories", TARGET, &samples);
    if bare.is_none() {
        report.note("There is no bare relay: `cargo xtask bench` builds it.".into());
    }
    Ok(())
}
