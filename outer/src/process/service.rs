//! A program that runs until its value is dropped.
//!
//! On drop it prints the end of its log to standard error. The test harness keeps that to itself
//! unless the test fails, so a failure always comes with what the programs around it had to say.
//! Who is no test harness says [`keep_logs_quiet`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Signal, wait_until};
use crate::{Context, Failure, Outcome};

const START_DEADLINE: Duration = Duration::from_secs(30);
const LOG_LINES_SHOWN: usize = 60;

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// From now on no log is printed when a program ends.
pub fn keep_logs_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// A running program.
pub struct Service {
    name: String,
    child: Child,
    log: PathBuf,
    grace: Duration,
}

impl Service {
    pub(super) fn new(name: &str, child: Child, log: &Path) -> Self {
        Self { name: name.to_owned(), child, log: log.to_owned(), grace: Duration::ZERO }
    }

    /// Asks politely first when dropped: for programs that leave mounts or children behind.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// All it has written so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for a log line with `marker` and gives what follows it in that line.
    pub fn wait_for_log(&mut self, marker: &str) -> Outcome<String> {
        let what = format!("`{}` should log `{marker}`", self.name);
        wait_until(&what, START_DEADLINE, || {
            let log = self.log();
            // A line without its end may be half written.
            let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let found = lines
                .filter_map(|line| line.split_once(marker))
                .map(|(_, rest)| rest.trim_end().to_owned())
                .next();
            match (found, self.child.try_wait()?) {
                (None, Some(status)) => Err(Failure::new(format!("it ended with {status}"))),
                (found, _) => Ok(found),
            }
        })
        .context(format_args!("{what}; its log:\n{}", self.log()))
    }

    /// The most memory that it has held at once, in KiB.
    pub fn peak_memory_kib(&self) -> Outcome<u64> {
        memory_kib(self.child.id(), "VmHWM:")
    }

    /// The memory that it holds now, in KiB.
    pub fn memory_kib(&self) -> Outcome<u64> {
        memory_kib(self.child.id(), "VmRSS:")
    }

    /// Its number, which is that of its group as well.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) -> Outcome {
        signal.send_to_group(self.child.id())
    }

    pub fn is_running(&mut self) -> Outcome<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end.
    pub fn wait(&mut self, deadline: Duration) -> Outcome<ExitStatus> {
        let what = format!("`{}` should end", self.name);
        wait_until(&what, deadline, || Ok(self.child.try_wait()?))
    }

    fn stop(&mut self) -> Outcome {
        if !self.grace.is_zero() && self.signal(Signal::Terminate).is_ok() {
            // Too late is no failure: it is killed next.
            let _ = self.wait(self.grace);
        }
        // The group may have members even when its leader has ended.
        let _ = self.signal(Signal::Kill);
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Err(failure) = self.stop() {
            eprintln!("{}: {failure:?}", self.name);
        }
        if IS_QUIET.load(Ordering::Relaxed) {
            return;
        }
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        eprintln!("--- log of {} ---\n{}", self.name, shown.join("\n"));
    }
}

/// A field of what the kernel says of a process, in KiB.
pub(crate) fn memory_kib(process: u32, field: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    Ok(line.context(format_args!("no {field}"))?.trim().trim_end_matches(" kB").parse()?)
}
