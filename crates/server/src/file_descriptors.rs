//! File descriptors: as many as the system lets us have, and no more connections than they suffice for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For a connection: its socket, one to an upstream, a file of the cache.
const EACH: u64 = 3;
/// For everything else.
const OTHERS: u64 = 256;
/// However few descriptors there are.
const LEAST: usize = 16;

/// Raises the limit to the hard one, and returns what is in force; `None`: there is none. Shells and systemd begin with
/// 1,024, for programs that use `select`.
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

/// How many connections so many descriptors suffice for, of those that are wanted.
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
