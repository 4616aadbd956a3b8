//! How many connections a fill takes, pure.

use std::time::Duration;

use crate::config;

/// Bytes a second, of all connections, at which no more are opened.
const FAST: u64 = 16 << 20;
/// With more connections the rest should take about this long.
const AIM_MILLIS: u64 = 2000;

/// When it is first judged whether more connections would help. That soon the answer may be wrong, so it costs one request
/// at most.
const FIRST_LOOK: Duration = Duration::from_millis(50);
/// The second time.
const SECOND_LOOK: Duration = Duration::from_millis(100);
/// How often it is judged after that.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How ranges are fetched in parallel.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    count: usize,
    /// Bytes of each, as configured.
    pub(super) length: u64,
    /// Most at once of one upstream, all blobs together.
    pub(super) per_upstream: usize,
}

/// What has come at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Since the fill began.
    pub(super) elapsed: Duration,
    /// Bytes that came, of all connections.
    pub(super) got: u64,
    /// The same at the look before; 0: this is the first.
    pub(super) got_before: u64,
    /// Bytes that have not come yet.
    pub(super) missing: u64,
}

impl Look {
    /// Bytes a second so far.
    fn rate(&self) -> u64 {
        let millis = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        self.got.saturating_mul(1000) / millis
    }

    /// Whether the connection is still becoming faster, as a new one on a long line does: the later half brought more
    /// than twice as much as the earlier one.
    fn is_ramping_up(&self) -> bool {
        let later = self.got.saturating_sub(self.got_before);
        self.got_before > 0 && later > self.got_before.saturating_mul(2)
    }
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

    /// When it is judged next, after so long.
    pub(super) fn next_look(elapsed: Duration) -> Duration {
        match elapsed {
            early if early < FIRST_LOOK => FIRST_LOOK,
            early if early < SECOND_LOOK => SECOND_LOOK,
            early if early < LOOK_EVERY => LOOK_EVERY,
            late => late.saturating_add(LOOK_EVERY),
        }
    }

    /// Connections that bring the rest in time, each as fast as the present ones.
    pub(super) fn wanted(&self, now: usize, look: &Look) -> usize {
        let rate = look.rate();
        if rate >= FAST || look.missing < 2 * self.length {
            return now;
        }
        let left_millis = look.missing.saturating_mul(1000) / rate.max(1);
        let factor = usize::try_from(left_millis / AIM_MILLIS).unwrap_or(usize::MAX);
        let wanted = now.saturating_mul(factor.max(1)).min(self.count);
        let is_sure = look.elapsed >= LOOK_EVERY || look.elapsed >= SECOND_LOOK && !look.is_ramping_up();
        if is_sure { wanted } else { wanted.min(2.max(now)) }
    }

    /// Bytes of the next part where so many connections share so many missing bytes: each pause between two parts of a
    /// connection costs a round trip, and all should end at the same time.
    pub(super) fn length_of(&self, missing: u64, connections: usize) -> u64 {
        let share = missing / u64::try_from(connections.max(1)).unwrap_or(u64::MAX);
        share.clamp((self.length / 4).max(1), self.length.saturating_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: Parts = Parts { count: 8, length: 4 << 20, per_upstream: 32 };

    fn after(millis: u64, got: u64, got_before: u64, missing: u64) -> Look {
        Look { elapsed: Duration::from_millis(millis), got, got_before, missing }
    }

    #[test]
    fn more_connections_are_opened_where_one_is_slow_and_the_way_is_long() {
        for (now, got, missing, expected, why) in [
            (1, 2 << 20, 98 << 20, 8, "2 MiB/s and 98 MiB to go"),
            (1, 100 << 20, 900 << 20, 1, "fast enough"),
            (1, 2 << 20, 7 << 20, 1, "not two parts left"),
            (1, 8 << 20, 40 << 20, 2, "five seconds to go"),
            (8, 15 << 20, 900 << 20, 8, "no more than allowed"),
            (1, 0, 98 << 20, 8, "nothing came yet"),
        ] {
            assert_eq!(PARTS.wanted(now, &after(1000, got, 0, missing)), expected, "{why}");
        }
    }

    #[test]
    fn a_slow_line_is_widened_soon_and_a_fast_one_costs_one_request_at_most() {
        const MISSING: u64 = 100_000_000;
        for (now, look, expected, why) in [
            (1, after(50, 190_000, 0, MISSING), 2, "20 Mbit/s: one more at once"),
            (2, after(100, 315_000, 190_000, MISSING), 8, "and all of them when it stays so"),
            (1, after(50, 1_250_000, 0, MISSING), 1, "200 Mbit/s"),
            (1, after(50, 44_000, 0, MISSING), 2, "200 Mbit/s with 50 ms there and back, which begins slowly"),
            (2, after(100, 164_000, 44_000, MISSING), 2, "and still becomes faster"),
            (2, after(250, 5_000_000, 164_000, MISSING), 2, "and has arrived"),
            (2, after(250, 600_000, 164_000, MISSING), 8, "or never does"),
        ] {
            assert_eq!(PARTS.wanted(now, &look), expected, "{why}");
        }
    }

    #[test]
    fn it_is_judged_at_50_100_and_250_milliseconds_and_every_250_after_that() {
        let mut at = Duration::ZERO;
        let looks = std::array::from_fn::<_, 5, _>(|_| {
            at = Parts::next_look(at);
            at.as_millis()
        });
        assert_eq!(looks, [50, 100, 250, 500, 750]);
    }

    #[test]
    fn parts_are_long_while_much_is_missing_and_short_at_the_end() {
        for (missing, connections, expected) in [
            (95 << 20, 8, 8 << 20),
            (31 << 20, 8, 4_063_232),
            (2 << 20, 8, 1 << 20),
            (0, 8, 1 << 20),
            (95 << 20, 0, 8 << 20),
        ] {
            assert_eq!(
                PARTS.length_of(missing, connections),
                expected,
                "{missing} bytes, {connections} connections"
            );
        }
    }
}
