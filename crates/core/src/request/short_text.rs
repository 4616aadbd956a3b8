//! Short text for a log line or a header, built on the stack: each request has some, and needs no allocation for them.

use std::fmt;

/// Longest text: an IPv6 network, or the name of a request.
const MAX_BYTES: usize = 64;

/// ASCII text of few bytes; what is longer is cut.
pub(crate) struct ShortText {
    bytes: [u8; MAX_BYTES],
    length: usize,
}

impl ShortText {
    /// The text of these arguments.
    pub(crate) fn of(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self { bytes: [0; MAX_BYTES], length: 0 };
        // What does not fit is cut.
        let _ = fmt::write(&mut text, arguments);
        text
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Its bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_is_kept_and_a_piece_that_does_not_fit_is_left_out() {
        assert_eq!(ShortText::of(format_args!("{:04x}-{:x}", 0xab, 31)).as_str(), "00ab-1f");
        let [sixty, four, one] = [60, 4, 1].map(|count| "x".repeat(count));
        assert_eq!(ShortText::of(format_args!("{sixty}{four}{one}")).as_str(), "x".repeat(64));
    }
}
