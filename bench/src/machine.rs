//! Where and with what the figures were taken.

use std::fs;
use std::process::Command;
use std::thread;

use crate::service::nginx;

/// One line on the machine.
pub(crate) fn describe(node: bool) -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = vec![
        format!("{cores} cores ({})", processor()),
        format!("Linux {}", kernel.trim()),
        // nginx writes its version to standard error, wrk as part of its usage.
        first_line(Command::new(nginx::program()).arg("-v")).replace("nginx version: ", ""),
        first_line(Command::new("wrk").arg("-v")).split(" Copyright").next().unwrap_or_default().to_owned(),
    ];
    // Other work on the machine is the first thing to suspect of odd figures.
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    if let Some(load) = load.split_whitespace().next() {
        parts.push(format!("load {load} at the start"));
    }
    if node {
        parts.push(format!("Node.js {}", first_line(Command::new("node").arg("-v"))));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// The date, as the system tells it.
pub(crate) fn today() -> String {
    first_line(Command::new("date").args(["-u", "+%Y-%m-%d"]))
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "model name")
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.trim().to_owned())
}

fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else {
        return String::new();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}
