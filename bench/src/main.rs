//! The benchmark: registry-proxy against nginx on this machine, in one command.
//!
//! Figures of one machine say little about another, so whatever can be is a
//! ratio: both systems stand between the same client and the same upstream, and
//! are measured in turn. `bench/README.md` says what is measured and why.

mod h2;
mod http;
mod lab;
mod line;
mod machine;
mod process;
mod pull;
mod report;
mod scenario;
mod service;
mod stats;
mod tls;
mod wrk;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lab::Lab;
use options::{Options, USAGE};
use registry_proxy_bench_options as options;
use report::Report;

/// Anything that stops a measurement; it is shown and the run ends.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Measures registry-proxy, and nginx beside it, on this machine.
#[derive(Parser)]
#[command(name = "bench", max_term_width = 100, override_usage = format!("bench {USAGE}"))]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    match run(Cli::parse().options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs what was asked for; false when a target was missed and that matters.
fn run(options: Options) -> Result<bool> {
    let lab = Lab::new(options)?;
    let mut report = Report::new(&lab);
    let (begun, count) = (Instant::now(), lab.options.scenarios.len());
    let mut failed = Vec::new();
    for (&scenario, number) in lab.options.scenarios.iter().zip(1..) {
        eprintln!(
            "bench: {scenario}, {number} of {count}, after {:.1} min …",
            begun.elapsed().as_secs_f64() / 60.0
        );
        // What the others found out is worth having.
        if let Err(error) = scenario::run(scenario, &lab, &mut report) {
            eprintln!("bench: {scenario}: {error}");
            report.note(format!("`{scenario}` did not work: {error}"));
            failed.push(scenario.to_string());
        }
    }
    report::say(&report.text())?;
    if lab.options.output.record {
        report.record()?;
    }
    if !failed.is_empty() {
        return Err(format!("did not work: {}", failed.join(", ")).into());
    }
    Ok(lab.options.output.report_only || report.all_met())
}
