//! Cached manifests per second over TLS 1.3, against nginx with a cache.

use super::requests::{self, Loaded, REPOSITORIES, TAGS};
use crate::Result;
use crate::lab::Lab;
use crate::report::Report;
use crate::service::nginx::AccessLog;
use crate::service::upstream::Upstream;
use crate::tls::{Certificate, Protocol};

/// Our requests per second over those of nginx.
const TARGET: f64 = 1.0;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mut content = lab.content(1)?;
    let paths = content.manifests(REPOSITORIES, TAGS)?;
    let upstream = Upstream::start(content)?;
    let certificate = Certificate::new(&lab.room("certificate")?)?;
    let ours = lab.subject_tls(upstream.address, AccessLog::File, &certificate)?;
    let nginx = lab.nginx_tls(upstream.address, AccessLog::File, &certificate)?;
    for system in [&ours, &nginx] {
        certificate.client(Protocol::Http1)?.warm(system.address, &paths)?;
    }
    let systems = [&ours, &nginx]
        .map(|system| Loaded { service: &system.service, origin: format!("https://{}", system.address) });
    let samples = requests::measure(lab, &paths, &upstream, &systems)?;
    requests::were_hits(&samples)?;
    requests::report(report, "tls-manifest, 2 KB, 1000 tags of 100 repositories", TARGET, &samples);
    Ok(())
}
