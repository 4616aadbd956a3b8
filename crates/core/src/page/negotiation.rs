//! Which form of the answer a client prefers, by `Accept`, and which language, by `Accept-Language` (RFC 9110 section 12.5).

use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Most ranges of a header that are looked at.
const MAX_RANGES: usize = 64;

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

/// The same words in each language.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    pub(crate) english: &'static str,
    pub(crate) chinese: &'static str,
}

impl Language {
    /// The language of this code, as our own links have it in `lang`.
    pub(crate) fn of_code(code: &str) -> Option<Self> {
        [Self::English, Self::Chinese].into_iter().find(|language| language.code() == code)
    }

    /// The language that the client prefers; English where it says nothing of either.
    pub(crate) fn preferred(headers: &HeaderMap) -> Self {
        let asked = ranges(headers, &ACCEPT_LANGUAGE);
        let english = weight(&asked, |range| match range.to_ascii_lowercase().split('-').next() {
            Some("en") => 2,
            Some("*") => 1,
            Some(_) | None => 0,
        });
        let chinese = weight(&asked, |range| match range.to_ascii_lowercase().split('-').next() {
            Some("zh") => 2,
            Some(_) | None => 0,
        });
        if chinese > english { Self::Chinese } else { Self::English }
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    /// As HTML and HTTP write it (RFC 5646).
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    pub(crate) fn pick(self, words: &Words) -> &'static str {
        self.say(words.english, words.chinese)
    }

    pub(crate) fn say(self, english: &'static str, chinese: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }
}

/// Whether a page is preferred to plain text. A client that takes either as well as the other, as most programs do with `*/*`, is
/// no browser.
pub(crate) fn prefers_html(headers: &HeaderMap) -> bool {
    let asked = ranges(headers, &ACCEPT);
    let of = |subtype: &str| {
        weight(&asked, |range| match range.to_ascii_lowercase().split_once('/') {
            Some(("text", found)) if found == subtype => 3,
            Some(("text", "*")) => 2,
            Some(("*", "*")) => 1,
            Some(_) | None => 0,
        })
    };
    let html = of("html");
    html.is_some() && html > of("plain")
}

/// How much something is wanted: its quality, in thousandths, then how exactly it is named, then how early.
type Weight = Option<(u16, u8, usize)>;

/// The weight by the range that names it most exactly; `exactness` is 0 for one that does not name it. `None`: not wanted.
fn weight(asked: &[(&str, u16)], exactness: impl Fn(&str) -> u8) -> Weight {
    let named =
        asked.iter().enumerate().map(|(at, (range, quality))| (exactness(range), usize::MAX - at, *quality));
    let (exactness, earliness, quality) = named.filter(|(exactness, ..)| *exactness > 0).max()?;
    (quality > 0).then_some((quality, exactness, earliness))
}

/// The ranges of a header with their qualities, in thousandths. One whose quality cannot be read counts in full.
fn ranges<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<(&'a str, u16)> {
    let lines = headers.get_all(name).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    let entries = lines.flat_map(|line| line.split(',')).filter(|entry| !entry.trim().is_empty());
    let range = |entry: &'a str| {
        let mut parts = entry.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        (range, quality.and_then(thousandths).unwrap_or(1000))
    };
    entries.map(range).take(MAX_RANGES).collect()
}

/// `0.8` is 800 (RFC 9110 section 12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" if is_number => Some(1000),
        "0" if is_number => format!("{part:0<3}").parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn browsers_get_a_page_and_programs_get_text() {
        for (lines, expected) in [
            // Firefox, Chromium, Safari.
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"][..], true),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"], true),
            (&["text/html, text/plain, text/sgml, text/css, */*;q=0.01"], true), // lynx
            (&["text/html, text/*;q=0.5, image/*"], true),                       // w3m
            (&["text/html"], true),
            (&["TEXT/HTML"], true),
            (&["text/plain;q=0.5", "text/html;q=0.6"], true),
            (&["text/html;level=1"], true),
            (&["text/html, */*"], true),
            (&["*/*;q=0.5, text/plain;q=0"], true),
            (&[], false),
            (&[""], false),
            (&["*/*"], false),
            (&["text/*"], false),
            (&["application/json"], false),
            (&["text/plain, text/html"], false),
            (&["text/plain, text/html;q=0.9"], false),
            (&["text/html;q=0, */*"], false),
            (&["text/html;q=0.000"], false),
            (&["application/vnd.oci.image.index.v1+json, */*"], false),
            (&["text/htmlx"], false),
        ] {
            assert_eq!(prefers_html(&headers(&ACCEPT, lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_language_is_the_one_that_the_client_wants_more() {
        use Language::{Chinese, English};
        for (lines, expected) in [
            (&[][..], English),
            (&["zh-CN,zh;q=0.9,en;q=0.8"][..], Chinese),
            (&["zh"], Chinese),
            (&["ZH-Hans-CN"], Chinese),
            (&["zh-TW"], Chinese),
            (&["fr, zh;q=0.3"], Chinese),
            (&["en-GB,en;q=0.9,zh;q=0.8"], English),
            (&["zh, en"], Chinese),
            (&["en, zh"], English),
            (&["en;q=0.5", "zh;q=0.6"], Chinese),
            (&["zh;q=0"], English),
            (&["zh;q=0, en;q=0"], English),
            (&["*, zh;q=0.5"], English),
            (&["de"], English),
            (&["zho"], English),
        ] {
            assert_eq!(Language::preferred(&headers(&ACCEPT_LANGUAGE, lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_quality_that_is_none_does_not_count() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("1.000", Some(1000)),
            ("0", Some(0)),
            ("0.8", Some(800)),
            ("0.123", Some(123)),
            ("0.1234", None),
            ("2", None),
            ("-1", None),
            ("0.x", None),
            ("", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }
}
