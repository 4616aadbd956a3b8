//! Cached small blobs per second, such as the configs of images, against nginx with a cache.

use super::requests::{self, REPOSITORIES};
use crate::Result;
use crate::lab::Lab;
use crate::report::Report;

/// Our requests per second over those of nginx.
const TARGET: f64 = 1.1;

const BLOBS: u32 = 1000;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    requests::cached(lab, report, "hit-small, 1000 blobs of 8 KB", TARGET, |content| {
        content.small_blobs(BLOBS, REPOSITORIES)
    })
}
