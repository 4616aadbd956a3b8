//! What is measured, one scenario a file.

mod blob;
mod build;
mod cold;
mod far;
mod fill;
mod growth;
mod hit;
mod hit_manifest;
mod hit_small;
mod image;
mod manifest;
mod memory;
mod platforms;
mod requests;
mod size;
mod start;
mod tls_hit;
mod tls_manifest;
mod unread;

use std::thread;
use std::time::Duration;

use crate::Result;
use crate::lab::Lab;
use crate::options::Scenario;
use crate::report::Report;

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
        Scenario::Growth => growth::run(lab, report),
        Scenario::HitSmall => hit_small::run(lab, report),
        Scenario::Image => image::run(lab, report),
        Scenario::Cold => cold::run(lab, report),
        Scenario::TlsManifest => tls_manifest::run(lab, report),
        Scenario::TlsHit => tls_hit::run(lab, report),
        Scenario::Build => build::run(lab, report),
        Scenario::Unread => unread::run(lab, report),
        Scenario::Platforms => platforms::run(lab, report),
    }
}

/// One figure of each system, round by round.
fn figures<T>(samples: &[Vec<T>], figure: impl Fn(&T) -> f64) -> Vec<Vec<f64>> {
    samples.iter().map(|samples| samples.iter().map(&figure).collect()).collect()
}

/// Between two measurements: what the one before left to be cleared away, such as
/// closed connections, is not to be paid by the next.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures the systems in turn, A B A B …, so that a slow moment of the machine
/// does not fall on one of them only. Gives the measurements of each system.
fn in_turn<S, T>(rounds: u32, systems: &[S], mut measure: impl FnMut(&S) -> Result<T>) -> Result<Vec<Vec<T>>> {
    let mut results: Vec<Vec<T>> = systems.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (system, results) in systems.iter().zip(&mut results) {
            thread::sleep(SETTLE);
            results.push(measure(system)?);
        }
    }
    Ok(results)
}
