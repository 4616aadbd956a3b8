//! What the kernel accounts to a process: memory and processor time.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;

/// A process with its children: nginx does its work in those.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    std::iter::once(pid).chain(children).collect()
}

/// A field of the status file that holds kibibytes, summed over the family and
/// given in mebibytes.
pub(crate) fn memory(pid: u32, field: &str) -> Result<f64> {
    let mut sum = 0.0;
    for pid in family(pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = kibibytes(&status, field).ok_or_else(|| format!("no {field} for process {pid}"))?;
        sum += f64::from(kib) / 1024.0;
    }
    Ok(sum)
}

fn kibibytes(status: &str, field: &str) -> Option<u32> {
    status.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == field).then(|| value.trim().strip_suffix("kB")?.trim().parse().ok())?
    })
}

/// The processor time the family has used so far.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let mut ticks = 0;
    for pid in family(pid) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        ticks += busy(&stat).ok_or_else(|| format!("no times for process {pid}"))?;
    }
    let hertz = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_millis(ticks * 1000 / hertz))
}

/// A thousand connections are more than a shell lets a program have.
pub(crate) fn open_many() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}

/// User and system time; they are the 14th and 15th field, and the second one,
/// the name, may hold spaces and parentheses itself.
fn busy(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t    4096 kB\n";
        assert_eq!(kibibytes(status, "VmHWM"), Some(4096));
        assert_eq!(kibibytes(status, "VmRSS"), None);
    }

    #[test]
    fn names_do_not_shift_the_times() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 5";
        assert_eq!(busy(stat), Some(42));
    }

    #[test]
    fn this_very_process() {
        let pid = std::process::id();
        assert!(memory(pid, "VmHWM").unwrap() > 0.0);
        cpu(pid).unwrap();
    }
}
