//! Makes text from clients and upstreams safe for a log line: no longer than its limit, and without anything that a terminal, a
//! log collector or a reader could take for something else.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text`, cut to `limit` bytes, with a mark if it was cut. All but printable ASCII is escaped as Rust writes it
/// (`\u{1b}`, `\n`).
pub(super) fn shown(text: &[u8], limit: usize) -> Cow<'_, str> {
    // To the end in any case: without an early exit many bytes are compared at once.
    let is_plain = || text.iter().fold(true, |so_far, byte| so_far & matches!(byte, b' '..=b'~'));
    match std::str::from_utf8(text) {
        Ok(plain) if plain.len() <= limit && is_plain() => Cow::Borrowed(plain),
        // Escaping never shortens, so bytes beyond the limit need not be read.
        _ => Cow::Owned(escaped(text.get(..limit).unwrap_or(text), limit, text.len() > limit)),
    }
}

fn escaped(text: &[u8], limit: usize, is_cut: bool) -> String {
    let mut line = String::new();
    let mut is_cut = is_cut;
    for character in String::from_utf8_lossy(text).chars() {
        let before = line.len();
        match character {
            ' '..='~' => line.push(character),
            // Writing to a String cannot fail.
            other => drop(write!(line, "{}", other.escape_default())),
        }
        if line.len() > limit {
            line.truncate(before);
            is_cut = true;
            break;
        }
    }
    if is_cut {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_be_taken_for_something_else_is_escaped_and_what_is_too_long_is_cut() {
        for (text, line) in [
            (&b"docker/29.0.1 go/go1.25.3"[..], "docker/29.0.1 go/go1.25.3"),
            (b"", ""),
            (b"a\nb\r\tc", "a\\nb\\r\\tc"),
            (b"\x1b[31mred", "\\u{1b}[31mred"),
            ("\u{202e}gpj".as_bytes(), "\\u{202e}gpj"),
            (b"\xff\xfe", "\\u{fffd}\\u{fffd}"),
            ("jörg".as_bytes(), "j\\u{f6}rg"),
            (b"12345678901234567890123456", "12345678901234567890123456"),
            (b"123456789012345678901234567", "12345678901234567890123456…"),
            ("123456789012345678901234ö".as_bytes(), "123456789012345678901234…"),
        ] {
            assert_eq!(shown(text, 26), line, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_short_line(text in proptest::collection::vec(any::<u8>(), 0..200), limit in 1_usize..100) {
            let line = shown(&text, limit);
            let plain = line.strip_suffix('…').unwrap_or(&line);
            prop_assert!(plain.len() <= limit && plain.bytes().all(|b| matches!(b, b' '..=b'~')), "{}", line);
        }
    }
}
