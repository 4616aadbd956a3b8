//! Cached small blobs per second, such as the configs of images, against nginx with a cache.

use super::requests::{self, Loaded, REPOSITORIES};
use crate::Result;
use crate::lab::Lab;
use crate::report::Report;
use crate::service::nginx::AccessLog;
use crate::service::upstream::Upstream;

/// Our requests per second over those of nginx.
const TARGET: f64 = 1.1;

const BLOBS: u32 = 1000;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mut content = lab.content(1)?;
    let paths = content.small_blobs(BLOBS, REPOSITORIES)?;
    let upstream = Upstream::start(content)?;
    let ours = lab.subject_caching(upstream.address, AccessLog::File)?;
    let nginx = lab.nginx_caching(upstream.address, AccessLog::File)?;
    for system in [&ours, &nginx] {
        requests::warm(system, &paths)?;
    }
    let systems = [&ours, &nginx].map(Loaded::from);
    let samples = requests::measure(lab, &paths, &upstream, &systems)?;
    requests::were_hits(&samples)?;
    requests::report(report, "hit-small, 1000 blobs of 8 KB", TARGET, &samples);
    Ok(())
}
