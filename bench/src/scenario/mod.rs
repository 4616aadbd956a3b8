//! What is measured, one scenario a file.

mod blob;
mod far;
mod fill;
mod hit;
mod hit_manifest;
mod index;
mod manifest;
mod memory;
mod platforms;
mod size;
mod start;
mod unread;

use std::thread;
use std::time::Duration;

use crate::Result;
use crate::lab::Lab;
use crate::options::Scenario;
use crate::report::Report;
use crate::service::Service;

pub(crate) fn run(scenario: Scenario, lab: &Lab, report: &mut Report) -> Result<()> {
    match scenario {
        Scenario::Blob => blob::run(lab, report),
        Scenario::Manifest => manifest::run(lab, report),
        Scenario::Memory => memory::run(lab, report),
        Scenario::Start => start::run(lab, report),
        Scenario::Size => size::run(lab, report),
        Scenario::Hit => hit::run(lab, report),
        Scenario::HitManifest => hit_manifest::run(lab, report),
        Scenario::Fill => fill::run(lab, report),
        Scenario::Far => far::run(lab, report),
        Scenario::Index => index::run(lab, report),
        Scenario::Unread => unread::run(lab, report),
        Scenario::Platforms => platforms::run(lab, report),
    }
}

/// Between two measurements: what the one before left to be cleared away, such as
/// closed connections, is not to be paid by the next.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures the systems in turn, A B A B …, so that a slow moment of the machine
/// does not fall on one of them only. Gives the measurements of each system.
fn in_turn<T>(
    rounds: u32,
    systems: &[&Service],
    mut measure: impl FnMut(&Service) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut results: Vec<Vec<T>> = systems.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (system, results) in systems.iter().zip(&mut results) {
            thread::sleep(SETTLE);
            results.push(measure(system)?);
        }
    }
    Ok(results)
}
