//! Cached manifests per second, against nginx with a cache.

use super::requests::{self, REPOSITORIES, TAGS};
use crate::Result;
use crate::lab::Lab;
use crate::report::Report;

/// Our requests per second over those of nginx.
const TARGET: f64 = 1.1;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    requests::cached(lab, report, "hit-manifest, 2 KB, 1000 tags of 100 repositories", TARGET, |content| {
        content.manifests(REPOSITORIES, TAGS)
    })
}
