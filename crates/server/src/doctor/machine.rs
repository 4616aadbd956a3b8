//! This machine: files, memory, the store.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use registry_proxy_core::Config;

use super::finding::Finding;
use crate::human::size;
use crate::{file_descriptors, store};

/// What the process needs besides `limits.in_flight`, as measured with 64 clients.
const BESIDES: u64 = 64 << 20;
/// A disk that takes longer for 4 KiB delays every pull.
const SLOW: Duration = Duration::from_secs(1);
const PROBE: &str = ".registry-proxy-doctor";

/// Everything that can be looked at without a network.
pub(crate) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![open_files(config.limits.connections, file_descriptors::raise())];
    findings.extend(memory_limit().map(|limit| memory(limit, config.limits.in_flight.0)));
    findings.extend(directory(config));
    findings.extend(store::warnings(&config.cache).map(|what| {
        let (what, next) = what.split_once("; run ").unwrap_or((&what, "chmod o-w on it"));
        Finding::warning("cache.store", what, format!("run {next}"))
    }));
    findings
}

fn open_files(wanted: usize, limit: Option<u64>) -> Finding {
    let allowed = file_descriptors::connections(wanted, limit);
    let shown = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    if allowed >= wanted {
        return Finding::ok("open files", format!("{shown} allowed, enough for {wanted} connections"));
    }
    Finding::warning(
        "open files",
        format!("{shown} allowed, enough for {allowed} connections of the {wanted} in limits.connections"),
        "raise it: LimitNOFILE= of the service, --ulimit nofile= of the container, or ulimit -n",
    )
}

fn memory(limit: u64, in_flight: u64) -> Finding {
    let needed = in_flight.saturating_add(BESIDES);
    if limit >= needed {
        return Finding::ok("memory", format!("{} allowed", size(limit)));
    }
    Finding::warning(
        "memory",
        format!("{} allowed, but limits.in_flight and the program may take {}", size(limit), size(needed)),
        "raise the container's memory limit, or lower limits.in_flight",
    )
}

/// The limit of our cgroup, of version 2 or 1; `None`: there is none.
fn memory_limit() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group =
        own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim_end_matches('/').to_owned();
    let places = [
        format!("/sys/fs/cgroup{group}/memory.max"),
        "/sys/fs/cgroup/memory.max".to_owned(),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned(),
    ];
    // Version 1 says an unreachable number for none.
    places
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
        .filter(|limit| *limit < 1 << 60)
}

/// The directory of the cache: opened, written to, and its room.
fn directory(config: &Config) -> Vec<Finding> {
    let subject = "cache.store";
    if let Some(place) = store::missing_for_root(&config.cache) {
        return vec![Finding::warning(
            subject,
            format!("{} is not there yet, and root would make it for itself alone", place.display()),
            "start the server, which makes it, or run doctor as the server's user: sudo -u USER registry-proxy doctor",
        )];
    }
    let opened = match store::open(&config.cache) {
        Err(error) => {
            return vec![Finding::error(
                subject,
                error.what,
                "make it writable for the user that the proxy runs as, or name another directory in cache.store",
            )];
        }
        Ok(None) if config.cache.store == registry_proxy_core::config::StoreAddress::Auto => {
            return vec![Finding::warning(
                subject,
                "nothing is cached: no cache directory can be written",
                "name a directory in CACHE_DIRECTORY or cache.store",
            )];
        }
        Ok(None) => return vec![Finding::ok(subject, "nothing is cached, as configured")],
        Ok(Some(opened)) => opened,
    };
    let Some(directory) = opened.directory else { return Vec::new() };
    let place = directory.display();
    let written = match write_and_sync(&directory) {
        Ok(taken) if taken > SLOW => Finding::warning(
            subject,
            format!("{place}: a small file takes {} ms to be written", taken.as_millis()),
            "put the cache on a local disk",
        ),
        Ok(taken) => Finding::ok(subject, format!("{place}: written and synced in {} ms", taken.as_millis())),
        Err(error) => Finding::error(
            subject,
            format!("{place} cannot be written: {error}"),
            "free space, mount it writable, or name another directory in cache.store",
        ),
    };
    vec![written, room(&directory, config.cache.min_free().0)]
}

fn write_and_sync(directory: &Path) -> std::io::Result<Duration> {
    let begun = Instant::now();
    let path = directory.join(PROBE);
    // Of a run that was killed. A link is removed, and not followed: root may run this in the directory of another user.
    let _ = fs::remove_file(&path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let done = file.write_all(&[0; 4096]).and_then(|()| file.sync_all());
    let _ = fs::remove_file(&path);
    done.map(|()| begun.elapsed())
}

fn room(directory: &Path, least: u64) -> Finding {
    let subject = "cache.store";
    match store::available(directory) {
        Err(error) => Finding::warning(subject, format!("its free space is unknown: {error}"), "df -h shows it"),
        Ok(free) => {
            if free > least {
                return Finding::ok(subject, format!("{} free, of which {} stay free", size(free), size(least)));
            }
            Finding::error(
                subject,
                format!("no room: {} free, and {} must stay free (cache.min_free)", size(free), size(least)),
                "free space on that disk, lower cache.min_free, or run registry-proxy cache purge",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn too_little_of_what_a_machine_gives_is_told_with_a_cure() {
        assert_eq!(open_files(4096, None).severity, Severity::Ok);
        let few = open_files(4096, Some(1024));
        assert_eq!(few.severity, Severity::Warning);
        assert!(few.what.contains("256 connections") && few.next.unwrap().contains("LimitNOFILE="));
        assert_eq!(memory(128 << 20, 64 << 20).severity, Severity::Ok);
        let little = memory(100 << 20, 64 << 20);
        assert!(little.what.contains("100.0 MiB allowed") && little.next.unwrap().contains("limits.in_flight"));
    }
}
