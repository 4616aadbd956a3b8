//! What the kernel says of a process, and how much a folder holds.

use std::fs;
use std::path::Path;
use std::time::Duration;

use registry_proxy_outer::{Context as _, Outcome};

use crate::timetable::Instance;

/// One process at one time.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) instance: Instance,
    /// How many processes this one had before it.
    pub(crate) life: u32,
    pub(crate) memory_kib: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    /// Processor time since its start, in milliseconds.
    pub(crate) cpu_ms: u64,
    /// Answers since the last sample, and until their heads in microseconds: half of them, all but a hundredth, all.
    pub(crate) answers: usize,
    pub(crate) latency: [u32; 3],
}

#[cfg(test)]
impl Default for Sample {
    fn default() -> Self {
        Self {
            at: Duration::ZERO,
            instance: Instance::Alone,
            life: 0,
            memory_kib: 0,
            descriptors: 0,
            threads: 0,
            cpu_ms: 0,
            answers: 0,
            latency: [0; 3],
        }
    }
}

/// All processes at one time.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) at: Duration,
    pub(crate) answers: usize,
    pub(crate) latency: [u32; 3],
    /// Bytes of files in the directory, and of `SeaweedFS`.
    pub(crate) directory: u64,
    pub(crate) bucket: u64,
}

/// Resident memory in KiB, and threads.
pub(crate) fn memory_and_threads(process: u32) -> Outcome<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| -> Outcome<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context(format_args!("no {name}"))?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    Ok((field("VmRSS:")?, field("Threads:")?))
}

pub(crate) fn descriptors(process: u32) -> Outcome<u64> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64)
}

/// Processor time so far, in milliseconds.
pub(crate) fn cpu_ms(process: u32) -> Outcome<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the name, which may hold spaces; user and system time are the 14th and the 15th.
    let fields = stat.rsplit_once(')').context("no name")?.1;
    let ticks: Outcome<u64> =
        fields.split_whitespace().skip(11).take(2).map(|field| Ok(field.parse::<u64>()?)).sum();
    Ok(ticks? * 1000 / rustix::param::clock_ticks_per_second().max(1))
}

/// Bytes of the files below a folder. Files that go meanwhile count as nothing.
pub(crate) fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_in(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process() {
        let process = std::process::id();
        let (memory, threads) = memory_and_threads(process).unwrap();
        assert!(memory > 100 && threads > 0, "{memory} {threads}");
        assert!(descriptors(process).unwrap() > 2);
        cpu_ms(process).unwrap();
    }
}
