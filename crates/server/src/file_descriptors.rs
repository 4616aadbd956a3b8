//! Raises the limit of open files, and limits connections to what the open files allow.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors per connection: its socket, one to an upstream, a file of the cache.
const EACH: u64 = 3;
/// File descriptors for everything else.
const OTHERS: u64 = 256;
/// Minimum number of connections.
const LEAST: usize = 16;

/// Raises the soft limit to the hard one and returns the limit now in force; `None`: unlimited. Shells and systemd start
/// programs with 1,024, for the sake of `select`.
pub(crate) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            tracing::warn!(%error, "cannot raise the limit of open files (RLIMIT_NOFILE)");
        }
    }
    getrlimit(Resource::Nofile).current
}

/// How many of the wanted connections this many file descriptors allow.
pub(crate) fn connections(wanted: usize, descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return wanted };
    let suffices = usize::try_from(descriptors.saturating_sub(OTHERS) / EACH).unwrap_or(usize::MAX);
    wanted.min(suffices.max(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_by_descriptors() {
        for (wanted, descriptors, expected) in [
            (4096, None, 4096),
            (4096, Some(1_048_576), 4096),
            (4096, Some(1024), 256),
            (100, Some(1024), 100),
            (4096, Some(100), 16),
            (4, Some(100), 4),
        ] {
            assert_eq!(connections(wanted, descriptors), expected, "{wanted} {descriptors:?}");
        }
    }
}
