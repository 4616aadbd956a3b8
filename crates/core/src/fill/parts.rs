//! How many connections a fill takes, pure.

use std::time::Duration;

use crate::config;

/// Bytes a second, of all connections, at which no more are opened.
const FAST: u64 = 16 << 20;
/// With more connections the rest should take about this long.
const AIM_MILLIS: u64 = 2000;

/// Bytes a second, of all connections, of a line that is not called slow afterwards: 200 Mbit/s, less what its headers take.
const FAST_LINE: u64 = 24_000_000;

/// When it is first judged whether more connections would help. That soon the answer may be wrong, so it costs one request
/// at most.
const FIRST_LOOK: Duration = Duration::from_millis(30);
/// The second time.
const SECOND_LOOK: Duration = Duration::from_millis(60);
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
        bytes_a_second(self.got, self.elapsed)
    }

    /// Whether the connection keeps its speed. A new one on a long line doubles what it sends with each way there and back,
    /// and between two of these sends nothing.
    fn is_steady(&self) -> bool {
        let later = self.got.saturating_sub(self.got_before);
        later > 0 && later < self.got_before.saturating_mul(2)
    }
}

/// How a fill went, of all connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FillTiming {
    /// How long it took.
    pub(super) elapsed: Duration,
    /// The time of all connections together.
    pub(super) connected: Duration,
    /// Bytes that came.
    pub(super) got: u64,
}

/// What a fill says about its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineSpeed {
    /// Slow: each connection brings so many bytes a second.
    Slow(u64),
    /// Another fill need not begin with more than one connection.
    Fast,
    /// It was too short to say.
    Unclear,
}

impl FillTiming {
    /// So many connections were open until now.
    pub(super) fn goes_on(&mut self, elapsed: Duration, connections: usize) {
        let since = elapsed.saturating_sub(self.elapsed);
        self.connected += since.saturating_mul(u32::try_from(connections).unwrap_or(u32::MAX));
        self.elapsed = elapsed;
    }

    /// What it says. A short one says nothing about a slow line: a new connection needs time to become fast.
    pub(super) fn line_speed(&self) -> LineSpeed {
        let each = bytes_a_second(self.got, self.connected);
        if each >= FAST || bytes_a_second(self.got, self.elapsed) >= FAST_LINE {
            LineSpeed::Fast
        } else if self.elapsed < Duration::from_millis(AIM_MILLIS) {
            LineSpeed::Unclear
        } else {
            LineSpeed::Slow(each)
        }
    }
}

fn bytes_a_second(bytes: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
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

    /// Connections with which a fill begins, where one is known to bring so many bytes a second.
    pub(super) fn wanted_at_once(&self, rate: u64, missing: u64) -> usize {
        self.wanted(1, &Look { elapsed: Duration::from_secs(1), got: rate, got_before: 0, missing })
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
        let is_sure = look.elapsed >= LOOK_EVERY || look.elapsed >= SECOND_LOOK && look.is_steady();
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
            (1, after(30, 75_000, 0, MISSING), 2, "20 Mbit/s: one more at once"),
            (2, after(60, 150_000, 75_000, MISSING), 8, "and all of them when it stays so"),
            (1, after(30, 750_000, 0, MISSING), 1, "200 Mbit/s"),
            (1, after(30, 14_000, 0, MISSING), 2, "200 Mbit/s with 50 ms there and back, which begins slowly"),
            (2, after(60, 42_000, 14_000, MISSING), 2, "and still becomes faster"),
            (2, after(250, 5_000_000, 42_000, MISSING), 2, "and has arrived"),
            (2, after(250, 600_000, 42_000, MISSING), 8, "or never does"),
            (
                2,
                after(60, 14_000, 14_000, MISSING),
                2,
                "with 100 ms there and back the next bytes are not here yet",
            ),
            (2, after(60, 14_000, 0, MISSING), 2, "nor does a late beginning say anything"),
        ] {
            assert_eq!(PARTS.wanted(now, &look), expected, "{why}");
        }
    }

    #[test]
    fn a_fill_begins_with_many_connections_only_where_one_is_known_to_be_slow() {
        for (rate, missing, expected, why) in [
            (2_500_000, 100_000_000, 8, "20 Mbit/s, and 40 seconds to go"),
            (2_500_000, 12_000_000, 2, "five seconds to go"),
            (2_500_000, 4 << 20, 1, "a small layer"),
            (FAST, 1 << 30, 1, "one is enough"),
            (1, 100_000_000, 8, "nearly nothing"),
        ] {
            assert_eq!(PARTS.wanted_at_once(rate, missing), expected, "{why}");
        }
    }

    #[test]
    fn a_fill_says_that_its_line_is_slow_once_it_has_taken_long_and_all_connections_were_slow_together() {
        let timing = |millis, connections, got| {
            let mut timing = FillTiming { got, ..FillTiming::default() };
            timing.goes_on(Duration::from_millis(millis / 2), connections);
            timing.goes_on(Duration::from_millis(millis), connections);
            timing.line_speed()
        };
        for (millis, connections, got, expected, why) in [
            (5000, 8, 100_000_000, LineSpeed::Slow(2_500_000), "eight with 20 Mbit/s each"),
            (4000, 8, 100_000_000, LineSpeed::Fast, "eight share 200 Mbit/s"),
            (6000, 1, 101_000_000, LineSpeed::Fast, "one is fast"),
            (1999, 8, 20_000_000, LineSpeed::Unclear, "short"),
            (0, 1, 0, LineSpeed::Unclear, "nothing came"),
        ] {
            assert_eq!(timing(millis, connections, got), expected, "{why}");
        }
    }

    #[test]
    fn it_is_judged_at_30_60_and_250_milliseconds_and_every_250_after_that() {
        let mut at = Duration::ZERO;
        let looks = std::array::from_fn::<_, 5, _>(|_| {
            at = Parts::next_look(at);
            at.as_millis()
        });
        assert_eq!(looks, [30, 60, 250, 500, 750]);
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
