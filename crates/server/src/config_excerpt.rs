//! Where in the file a wrong configuration is wrong: the line and a caret, and the key that may have been meant.

use std::fmt::Write as _;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::terminal::Palette;

/// Words of lines that may hold a secret: such a line is named, and not shown.
const SECRETIVE: [&str; 4] = ["secret", "password", "key", "@"];
/// How alike a known key must be (Jaro, 0 to 1), as clap has it for commands.
const ALIKE: f64 = 0.75;

/// The line of the error, with a caret; `None`: it is no matter of one line. `place` is the path of a key, or `line N`.
pub(crate) fn excerpt(path: &str, text: &str, place: &str, what: &str, palette: Palette) -> Option<String> {
    let Palette { error, frame, off, .. } = palette;
    let span = span(text, place, what)?;
    let before = text.get(..span.start)?;
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(line_start..)?.lines().next()?;
    let (number, column) = (before.matches('\n').count() + 1, text.get(line_start..span.start)?.chars().count());
    let mut shown = format!("  {frame}-->{off} {path}:{number}:{}", column + 1);
    let lower = line.to_ascii_lowercase();
    if SECRETIVE.iter().any(|word| lower.contains(word)) || line.chars().any(|c| c.is_control() && c != '\t') {
        return Some(shown);
    }
    // Which key was meant nobody knows, so its value may be a secret.
    let line =
        if what.starts_with("unknown field ") { line.split('=').next().unwrap_or(line).trim_end() } else { line };
    let end = span.end.min(line_start + line.len());
    let width = text.get(span.start..end).map_or(1, |part| part.chars().count()).max(1);
    let margin = " ".repeat(number.to_string().len());
    let indent: String = line.chars().take(column).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    // Writing to a String cannot fail.
    let _ = write!(shown, "\n {frame}{margin} |{off}\n {frame}{number} |{off} {line}");
    let _ = write!(shown, "\n {frame}{margin} |{off} {indent}{error}{}{off}", "^".repeat(width));
    Some(shown)
}

/// `; did you mean …?`, where an unknown key looks like a known one. The message lists those known.
pub(crate) fn did_you_mean(what: &str) -> Option<String> {
    let mut quoted = what.split('`').skip(1).step_by(2);
    let unknown = quoted.next().filter(|_| what.starts_with("unknown "))?;
    let alike = quoted.map(|known| (strsim::jaro(unknown, known), known)).filter(|(score, _)| *score >= ALIKE);
    let (_, best) = alike.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    Some(format!("; did you mean `{best}`?"))
}

fn span(text: &str, place: &str, what: &str) -> Option<Range<usize>> {
    let document = match DeTable::parse(text) {
        // A fault of the syntax knows its place.
        Err(error) => return error.span(),
        Ok(document) => document,
    };
    let mut table = document.get_ref();
    let mut found = None;
    for name in place.split('.') {
        let (name, indices) = name.split_once('[').map_or((name, ""), |(name, rest)| (name, rest));
        let Some((key, value)) = table.get_key_value(name) else { break };
        let (mut span, mut inner) = (value.span(), value.get_ref());
        for index in indices.split('[').filter_map(|index| index.trim_end_matches(']').parse::<usize>().ok()) {
            let Some(item) = inner.as_array().and_then(|items| items.get(index)) else { break };
            (span, inner) = (item.span(), item.get_ref());
        }
        let is_scalar = !matches!(inner, DeValue::Table(_) | DeValue::Array(_));
        found = Some(if is_scalar { span } else { key.span() });
        match inner.as_table() {
            Some(inner) => table = inner,
            None => break,
        }
    }
    // Of an unknown key the path ends at its table.
    let unknown = what.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    let key = unknown.and_then(|unknown| table.get_key_value(unknown)).map(|(key, _)| key.span());
    key.or(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(path: &str, text: &str, place: &str, what: &str) -> Option<String> {
        excerpt(path, text, place, what, Palette::PLAIN)
    }

    #[test]
    fn the_line_is_shown_with_a_caret_below_the_fault() {
        let text = "listen = '127.0.0.1:3000'\n[clients]\n  auth = 'nobody' # who?\n";
        assert_eq!(
            plain("proxy.toml", text, "clients.auth", "unknown variant `nobody`").unwrap(),
            "  --> proxy.toml:3:10\n   |\n 3 |   auth = 'nobody' # who?\n   |          ^^^^^^^^"
        );
        let text = "[clients]\nauht = 'open'\n";
        for place in ["clients", "clients.auht"] {
            let shown = plain("proxy.toml", text, place, "unknown field `auht`, expected one of `auth`").unwrap();
            assert!(shown.ends_with(" 2 | auht\n   | ^^^^"), "{shown}");
        }
        let shown = plain("proxy.toml", "a = 1\nlisten = \n", "line 2", "string values must be quoted").unwrap();
        assert!(shown.starts_with("  --> proxy.toml:2:"), "{shown}");
        let text = "[[upstream]]\nname = 'x.test'\nurls = ['https://ok.test', 'nonsense']\n";
        let shown = plain("proxy.toml", text, "upstream[0].urls[1]", "relative URL").unwrap();
        assert!(shown.ends_with("\n   |                            ^^^^^^^^^^"), "{shown}");
    }

    #[test]
    fn a_line_that_may_hold_a_secret_is_named_and_not_shown() {
        for text in [
            "[[upstream]]\npassword = ['hunter2']\n",
            "upstream = [{ name = 'x', password = 'hunter2', nmae = 'x' }]\n",
            "[[upstream]]\nproxy = 'http://me:hunter2@p:x'\n",
            "[[upstream]]\nnmae = 'hunter2'\n",
        ] {
            for place in ["upstream[0].password", "upstream[0]", "upstream[0].proxy"] {
                let shown = plain("proxy.toml", text, place, "unknown field `nmae`").unwrap();
                assert!(shown.starts_with("  --> proxy.toml:") && !shown.contains("hunter2"), "{shown}");
            }
        }
    }

    #[test]
    fn a_key_that_was_probably_meant_is_named() {
        let known = "expected one of `auth`, `users_file`, `allow`";
        let meant = |unknown: &str| did_you_mean(&format!("unknown field `{unknown}`, {known}"));
        assert_eq!(meant("auht").as_deref(), Some("; did you mean `auth`?"));
        assert_eq!(meant("user_file").as_deref(), Some("; did you mean `users_file`?"));
        assert_eq!(meant("zzz"), None);
        assert_eq!(did_you_mean("invalid type: `auht` is not `auth`"), None);
    }
}
