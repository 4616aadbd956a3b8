//! The time at the beginning of a log line: `2026-11-30T13:22:33.123456Z`. Date and time of day are formatted once a second
//! for each thread, since a busy thread writes thousands of lines in it.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{self, FormatTime as _};

thread_local! {
    static SECOND: RefCell<Second> = const { RefCell::new(Second { number: 0, text: String::new() }) };
}

/// A second as text: `2026-11-30T13:22:33`.
struct Second {
    /// Since 1970.
    number: u64,
    text: String,
}

/// Writes the time.
pub(super) fn write(line: &mut String) {
    SECOND.with_borrow_mut(|second| {
        let now = since_1970();
        if second.number != now.as_secs() && !second.move_to(now.as_secs()) {
            // Writing to a String cannot fail, here and below.
            let _ = time::SystemTime.format_time(&mut Writer::new(line));
            return;
        }
        line.push_str(&second.text);
        push_micros(line, now.subsec_micros());
    });
}

/// Adds `.123456Z`.
fn push_micros(line: &mut String, micros: u32) {
    line.push('.');
    for unit in [100_000, 10_000, 1000, 100, 10, 1] {
        // A digit, as there are less than a million.
        line.push(char::from(b'0' + (micros / unit % 10) as u8));
    }
    line.push('Z');
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Second {
    /// Takes the text of this second; returns whether it could.
    fn move_to(&mut self, number: u64) -> bool {
        self.number = 0;
        self.text.clear();
        let written = time::SystemTime.format_time(&mut Writer::new(&mut self.text));
        let Some((second, _)) = self.text.split_once('.') else { return false };
        // The formatter reads the clock by itself: it may have read the next second.
        if written.is_err() || since_1970().as_secs() != number {
            return false;
        }
        self.text.truncate(second.len());
        self.number = number;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_the_time_to_the_microsecond_and_times_go_forward() {
        let mut before = String::new();
        for _ in 0..1000 {
            let mut line = String::new();
            write(&mut line);
            let shape: String = line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
            assert!(before <= line, "{before} {line}");
            before = line;
        }
    }
}
