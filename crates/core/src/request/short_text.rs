//! Short text for a log line or a header, built on the stack: each request has some, and needs no allocation for them.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use crate::config::LoggedClient;

/// Longest text: an IPv6 network, or the name of a request.
const MAX_BYTES: usize = 64;

/// ASCII text of few bytes; what is longer is cut.
pub(crate) struct ShortText {
    bytes: [u8; MAX_BYTES],
    length: usize,
}

impl ShortText {
    /// These pieces, one after the other.
    pub(crate) fn joined(pieces: &[&str]) -> Self {
        let mut text = Self { bytes: [0; MAX_BYTES], length: 0 };
        for piece in pieces {
            // What does not fit is left out.
            let _ = text.write_str(piece);
        }
        text
    }

    /// A client's address as the log has it.
    pub(crate) fn of_client(client: LoggedClient) -> Self {
        let LoggedClient::Address(IpAddr::V4(address)) = client else { return Self::of(format_args!("{client}")) };
        let [a, b, c, d] = address.octets();
        let mut digits = [itoa::Buffer::new(); 4];
        let [one, two, three, four] = &mut digits;
        Self::joined(&[one.format(a), ".", two.format(b), ".", three.format(c), ".", four.format(d)])
    }

    /// The text of these arguments. It takes some hundred instructions more than [`Self::joined`].
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
        for address in ["127.0.0.1", "203.0.113.255", "2001:db8::1"] {
            let client = LoggedClient::Address(address.parse().unwrap());
            assert_eq!(ShortText::of_client(client).as_str(), address);
        }
        assert_eq!(ShortText::joined(&["GET", " ", "200"]).as_str(), "GET 200");
        assert_eq!(ShortText::joined(&[&sixty, &four, &one]).as_str(), "x".repeat(64));
    }
}
