//! How many connections a fill takes, pure.

use std::time::Duration;

use crate::config;

/// Bytes a second, of all connections, at which no more are opened.
const FAST: u64 = 16 << 20;
/// With more connections the rest should take about this long.
const AIM_MILLIS: u64 = 2000;

/// How ranges are fetched in parallel.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    count: usize,
    /// Bytes of each.
    pub(super) length: u64,
    /// Most at once of one upstream, all blobs together.
    pub(super) per_upstream: usize,
}

impl Parts {
    pub(crate) fn new(config: &config::Fill) -> Self {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            count: count(config.parts),
            length: config.part_size.0,
            per_upstream: count(config.parts_per_upstream),
        }
    }

    /// Connections that bring the rest in time, each as fast as the present ones.
    pub(super) fn wanted(&self, now: usize, got: u64, missing: u64, elapsed: Duration) -> usize {
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = got.saturating_mul(1000) / millis;
        if rate >= FAST || missing < 2 * self.length {
            return now;
        }
        let left_millis = missing.saturating_mul(1000) / rate.max(1);
        let factor = usize::try_from(left_millis / AIM_MILLIS).unwrap_or(usize::MAX);
        now.saturating_mul(factor.max(1)).min(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_are_opened_where_one_is_slow_and_the_way_is_long() {
        let parts = Parts { count: 8, length: 4 << 20, per_upstream: 32 };
        let second = Duration::from_secs(1);
        for (now, got, missing, expected, why) in [
            (1, 2 << 20, 98 << 20, 8, "2 MiB/s and 98 MiB to go"),
            (1, 100 << 20, 900 << 20, 1, "fast enough"),
            (1, 2 << 20, 7 << 20, 1, "not two parts left"),
            (1, 8 << 20, 40 << 20, 2, "five seconds to go"),
            (8, 15 << 20, 900 << 20, 8, "no more than allowed"),
            (1, 0, 98 << 20, 8, "nothing came yet"),
        ] {
            assert_eq!(parts.wanted(now, got, missing, second), expected, "{why}");
        }
    }
}
