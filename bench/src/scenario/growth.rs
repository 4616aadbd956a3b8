//! What things cost as they become more: cached blobs, clients of one fill, and repositories of an upstream.

mod blobs;
mod clients;
mod repositories;
mod store;

use crate::Result;
use crate::lab::Lab;
use crate::report::Report;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    blobs::run(lab, report)?;
    clients::run(lab, report)?;
    repositories::run(lab, report)
}
